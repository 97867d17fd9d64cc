"""optics4f compare: predicted frames find their measured ones, and a page says how alike they are."""

import copy
import json
import re

import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from optics4f.bundle import Bundle, predict_frames, read_bundle, write_arrays, write_bundle
from optics4f.calibration import Measured
from optics4f.cli import app
from optics4f.compare import compare, run_compare
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, frames_of, shown, specified

PIXEL = 27.6e-6
SHIFT = (1.4, -0.7)  # pixels, down and to the right


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("compare")
    levels, images = shown(40)
    images = images.float()
    frames = predict_frames(specified(), levels, images, 0)
    write_bundle(folder / "masks.h5", Bundle(levels, toml_text(CONTENT), images, *frames, 0))
    content = copy.deepcopy(CONTENT)
    # A picture moves down where the camera moves up.
    content["bench"]["camera_position"] = {"shift": [-SHIFT[0] * PIXEL, -SHIFT[1] * PIXEL]}
    content["bench"]["camera"]["exposure"] *= 0.8
    measured = frames_of(content, levels, images.double(), seed=11)
    write_arrays(folder / "measured.h5", {"frames": measured.numpy()}, wavelength_m=532e-9)
    more = frames_of(content, *shown(40, images=5), seed=12)
    write_arrays(folder / "more.h5", {"frames": more.numpy(), "images": shown(40, images=5)[1].numpy()})
    return folder


@pytest.fixture(scope="module")
def found(folder):
    return run_compare(folder / "masks.h5", folder / "measured.h5", folder / "page.html")


def test_a_displaced_camera_and_dimmer_light_are_found(found):
    # Pixels as coarse as these leave splines a tenth of a pixel.
    assert found.registration.shift == pytest.approx(SHIFT, abs=0.1)
    assert found.registration.gain == pytest.approx(0.8, rel=0.03)
    assert found.registration.margin == 2
    assert found.mean("correlation_before") < 0.9
    assert found.mean("correlation") > 0.99


def test_frames_of_the_bundle_itself_are_alike_but_for_noise(folder):
    bundle = read_bundle(folder / "masks.h5")
    alike = compare(bundle, Measured(bundle.frames.double()))
    assert alike.registration.shift == pytest.approx((0, 0), abs=0.02)
    assert alike.registration.gain == pytest.approx(1, abs=0.005)
    left = alike.residuals[~alike.residuals.isnan()]
    # Noise alone: 1.0 to a few percent, from some thousand pixels.
    assert left.std().item() == pytest.approx(1, abs=0.08)
    assert alike.mean("ssim") is None or alike.mean("ssim") > 0.99


def test_before_and_after_are_judged_by_the_same_pixels(folder, found):
    bundle = read_bundle(folder / "masks.h5")
    alike = compare(bundle, Measured(bundle.frames.double()))
    # Noise moves the registration by hundredths of a pixel: no edge is left out, and least squares does not make it
    # worse but by what splines do to coarse pixels.
    assert alike.registration.margin == 0
    assert alike.mean("correlation") > alike.mean("correlation_before") - 1e-3
    seen, expected = (found.registration.inside(v)[2, 1].numpy() for v in (found.measured, found.predicted))
    assert found.rows[7]["correlation_before"] == pytest.approx(np.corrcoef(seen.ravel(), expected.ravel())[0, 1])


@pytest.mark.parametrize(
    ("happened", "change"),
    [
        ("turned by 180 degrees", lambda frames: frames.flip(-1, -2)),
        ("flipped left-right", lambda frames: frames.flip(-1)),
        ("flipped up-down", lambda frames: frames.flip(-2)),
        ("negated", lambda frames: frames.max() - frames),
    ],
)
def test_frames_that_arrived_otherwise_are_said_to(folder, happened, change):
    bundle = read_bundle(folder / "masks.h5")
    warnings = compare(bundle, Measured(change(bundle.frames.double()))).warnings
    assert any(f"look like the predicted ones {happened}: correlation 0.9" in text for text in warnings), warnings


def test_good_frames_give_no_warning_and_frames_of_something_else_do(folder, found):
    assert found.warnings == ()
    bundle = read_bundle(folder / "masks.h5")
    assert compare(bundle, Measured(bundle.frames.double())).warnings == ()
    far = torch.zeros_like(bundle.frames).double()
    far[..., 6:, :] = bundle.frames[..., :-6, :]  # 6 of 14 rows down, of which a quarter is looked for
    warnings = compare(bundle, Measured(far)).warnings
    assert any("is the largest that is looked for" in text for text in warnings)


def test_the_command_warns_on_stderr_and_on_the_page(folder):
    frames = read_bundle(folder / "masks.h5").frames.numpy()
    write_arrays(folder / "turned.h5", {"frames": frames[..., ::-1, ::-1]})
    arguments = ["compare", *(str(folder / name) for name in ("masks.h5", "turned.h5")), "--out"]
    result = CliRunner().invoke(app, [*arguments, str(folder / "turned.html"), "--json"])
    assert result.exit_code == 0
    assert "warning: " in result.stderr and "turned by 180 degrees" in result.stderr
    assert "turned by 180 degrees" in " ".join(json.loads(result.stdout)["warnings"])
    assert "turned by 180 degrees" in (folder / "turned.html").read_text()


@pytest.mark.parametrize("name", ["masks.h5", "measured.h5"])
def test_the_page_does_not_take_the_place_of_what_is_compared(folder, name):
    before = (folder / name).read_bytes()
    arguments = ["compare", str(folder / "masks.h5"), str(folder / "measured.h5"), "--out", str(folder / name)]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and "must be another file than the input" in result.output
    assert (folder / name).read_bytes() == before


def test_figures_of_merit_are_those_of_the_frames(found):
    row, inside = found.rows[4], found.registration.inside  # image 1, mask 1
    assert (row["image"], row["mask"]) == (1, 1)
    seen, expected = (inside(values)[1, 1].numpy() for values in (found.measured, found.registered))
    assert row["correlation"] == pytest.approx(np.corrcoef(seen.ravel(), expected.ravel())[0, 1])
    peak = found.peak * found.registration.gain
    assert row["psnr_db"] == pytest.approx(10 * np.log10(peak**2 / ((seen - expected) ** 2).mean()))
    assert row["ssim"] is None  # 10 x 12 pixels are less than its window
    assert len(found.rows) == 9


def test_images_of_ones_own_are_simulated(folder):
    more = run_compare(folder / "masks.h5", folder / "more.h5", folder / "more.html")
    assert len(more.rows) == 15
    assert more.mean("correlation") > 0.99


def test_the_page_asks_the_network_for_nothing(found, folder):
    page = (folder / "page.html").read_text()
    assert not re.findall(r"(?:src|href)=\"(?!data:|#)", page)
    assert page.count("data:image/png;base64") == 3
    assert "image 2, mask 2" in page and "SSIM" in page
    assert read_bundle(folder / "masks.h5").attributes["uuid"] in page


def test_the_command_prints_what_it_found(folder):
    arguments = ["compare", str(folder / "masks.h5"), str(folder / "measured.h5"), "--out", str(folder / "again.html")]
    result = CliRunner().invoke(app, [*arguments, "--json"])
    assert result.exit_code == 0, result.output
    printed = json.loads(result.output)
    assert printed["registration"]["shift_px"] == pytest.approx(SHIFT, abs=0.1)
    assert len(printed["frames"]) == 9
    words = CliRunner().invoke(app, arguments).output
    assert "9 frames" in words and "registered 0.99" in words


def test_frames_of_something_else_are_refused(folder):
    bundle = read_bundle(folder / "masks.h5")
    frames = bundle.frames.double()
    for measured, message in (
        (Measured(frames, attributes={"bundle_uuid": "another"}), "must be of bundle"),
        (Measured(frames[:2]), "bundle's 3 images, got 2"),
        (Measured(frames[:, :2]), "frames must be of 3 masks, got 2"),
        (Measured(frames[..., :-1]), "a measured frame"),
        (Measured(frames, images=torch.zeros(3, 6, 5)), "images must be"),
        (Measured(torch.full_like(frames, 7.0)), "must show something"),
    ):
        with pytest.raises(ValueError, match=message):
            compare(bundle, measured)
    arguments = ["compare", str(folder / "none.h5"), str(folder / "measured.h5"), "--out", str(folder / "no.html")]
    result = CliRunner().invoke(app, arguments)
    assert result.exit_code == 2 and result.output.count("\n") == 1
