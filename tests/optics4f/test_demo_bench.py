"""The demo's own bench, with masks as its training starts them, by both routes on its grid and on a finer one."""

from pathlib import Path

import pytest
import torch
from sklearn.datasets import load_digits

from optics4f.config import load_bench
from optics4f.design import kinoform
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute
from tests.optics4f.benches import relative

DEMO = Path(__file__).resolve().parents[2] / "experiments" / "configs" / "demo.toml"


@pytest.mark.parametrize(
    ("samples", "window", "limit"),
    # Measured 4e-4 and 1.2e-4: what leaves the window, and what the paraxial transform leaves out.
    [(1, None, 1e-2), (2, (1024, 1024), 1e-3)],
    ids=["the demo's grid", "twice as fine"],
)
def test_the_routes_agree_on_the_demo_bench(samples, window, limit):
    specification = load_bench(DEMO)
    parts = {
        "object": specification.object.model_copy(update={"samples_per_pixel": samples}),
        "slm": specification.slm.model_copy(update={"samples_per_pixel": samples, "masks": 1}),
    }
    bench = specification.model_copy(update=parts).build(dtype=torch.complex128)
    kernels = torch.randn(1, 5, 5, dtype=torch.complex128, generator=torch.Generator().manual_seed(0))
    bench.slm.set_values(kinoform(bench, kernels))
    digit = torch.tensor(load_digits().images[:1] / 16)[:, None]
    images = torch.nn.functional.interpolate(digit, size=(32, 32), mode="bilinear", align_corners=False)
    with torch.no_grad():
        wanted = FourierLensRoute(bench)(images).intensity
        actual = AngularSpectrumRoute(bench, window=window)(images).intensity
    assert relative(actual, wanted) < limit
