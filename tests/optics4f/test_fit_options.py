"""optics4f fit: what its options about intervals do to them."""

import json

import pytest
from typer.testing import CliRunner

from optics4f.bundle import write_arrays
from optics4f.cli import app
from optics4f.twin import toml_text
from tests.optics4f.twin_benches import CONTENT, frames_of, shown


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fit")
    levels, images = shown(20, images=2)
    arrays = {"frames": frames_of(CONTENT, levels, images.float().double(), seed=8).numpy()}
    arrays |= {"images": images.float().double().numpy(), "levels": levels.numpy()}
    write_arrays(folder / "measured.h5", arrays, wavelength_m=532e-9)
    (folder / "bench.toml").write_text(toml_text(CONTENT))
    return folder


def fitted(files, *options):
    arguments = ["fit", files / "bench.toml", files / "measured.h5", "--out", files / "twin.toml"]
    arguments += ["--free", "brightness,offset", *options]
    result = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "160"})
    assert result.exit_code == 0, result.output
    return result.stdout


# Half widths in standard deviations, from the table of the normal distribution: of 95 % and 50 % alone 1.960 and
# 0.6745; of two together (Sidak) each holds with the root, 97.47 % and 70.71 %, which is 2.236 and 1.052. Student's
# distribution of a few hundred pixels is a little wider.
@pytest.mark.parametrize(
    ("options", "width", "words"),
    [
        ((), 2.236, "95 % interval, all together"),
        (("--pointwise",), 1.960, "95 % interval, alone"),
        (("--confidence", "0.5"), 1.052, "50 % interval, all together"),
        (("--confidence", "0.5", "--pointwise"), 0.6745, "50 % interval, alone"),
    ],
)
def test_intervals_are_as_wide_as_the_options_ask(files, options, width, words):
    assert words in fitted(files, *options)
    record = json.loads(fitted(files, *options, "--json"))
    assert json.loads((files / "twin.json").read_text())["parameters"] == record["parameters"]
    assert [p["name"] for p in record["parameters"]] == ["brightness", "offset"]
    for parameter in record["parameters"]:
        low, high = parameter["interval"]
        assert (high - low) / 2 / parameter["deviation"] == pytest.approx(width, rel=5e-3), parameter["name"]
    assert record["joint"] == ("--pointwise" not in options)
    assert record["confidence"] == (0.5 if "0.5" in options else 0.95)
