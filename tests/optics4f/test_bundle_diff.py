"""Two bundles differ in what differs, and in nothing else."""

import numpy as np
import pytest
from PIL import Image

from optics4f.bench import contact_sheet, diff, summary, write_contact_sheet
from optics4f.bundle import Bundle, BundleError, read_bundle, write_bundle
from tests.optics4f.test_bundle import CONFIG, made


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return made(tmp_path_factory.mktemp("diff"))[0]


def changed(bundle: Bundle, **parts: object) -> Bundle:
    return Bundle(**{**vars(bundle), **parts})


def test_the_same_bundle_written_twice_does_not_differ(bundle, tmp_path):
    for name in ("a.h5", "b.h5"):
        write_bundle(tmp_path / name, bundle)
    assert (tmp_path / "a.h5").read_bytes() != (tmp_path / "b.h5").read_bytes()  # uuid
    assert diff(tmp_path / "a.h5", tmp_path / "b.h5") == []
    assert diff(tmp_path / "a.h5", bundle) == []


def test_each_difference_is_named(bundle):
    levels, frames = bundle.levels.clone(), bundle.frames.clone()
    levels[1, 2, 3] = (levels[1, 2, 3] + 255) % 256  # the other way round the circle: one level
    frames[0, 0, 0, 0] += 4
    found = diff(bundle, changed(bundle, levels=levels, frames=frames, noise_seed=12))
    assert [str(difference) for difference in found] == [
        "noise_seed: 11 | 12",
        "exposures/001: 1 of 432 levels differ, phases by up to 0.0245 rad",
        "expected/frames: 1 of 168 numbers differ, by up to 4 DN",
    ]


def test_a_configuration_differs_by_its_keys(bundle, tmp_path):
    text = CONFIG.replace('"100 mm"', '"101 mm"').replace("masks = 2", "masks = 2\ngray_slope = 1")
    found = {difference.name: difference.text for difference in diff(bundle, made(tmp_path, text)[0])}
    assert found["bench.lens1.focal_length"] == "'100 mm' | '101 mm'"
    assert found["bench.slm.gray_slope"] == "not stated | 1"
    assert not any(name.startswith("exposures") for name in found)


def test_attributes_of_files_are_compared(bundle, tmp_path):
    write_bundle(tmp_path / "a.h5", bundle)
    write_bundle(tmp_path / "b.h5", made(tmp_path, CONFIG.replace("532 nm", "633 nm"))[0])
    found = {difference.name: (difference.first, difference.second) for difference in diff(*tmp_path.glob("?.h5"))}
    assert set(found["wavelength_m"]) == {532e-9, 633e-9}
    assert "uuid" not in found


def test_other_shapes_are_a_difference_and_other_files_an_error(bundle, tmp_path):
    one = changed(bundle, levels=bundle.levels[:1], frames=bundle.frames[:, :1])
    texts = [str(difference) for difference in diff(bundle, one)]
    assert texts == ["levels: shape (2, 24, 18) | (1, 24, 18)", "expected/frames: shape (3, 2, 4, 7) | (3, 1, 4, 7)"]
    (tmp_path / "no.h5").write_text("text")
    with pytest.raises(BundleError, match=r"no\.h5 cannot be read as HDF5"):
        diff(bundle, tmp_path / "no.h5")


def test_a_lut_changes_the_phase_of_the_same_levels(bundle, tmp_path):
    table = ", ".join(str(0.02 * level) for level in range(256))
    text = CONFIG.replace("[bench.lens2]", f"[bench.slm.effects.lut]\nphase = [{table}]\n[bench.lens2]")
    found = [str(difference) for difference in diff(bundle, changed(bundle, config=text))]
    assert any("0 of 432 levels differ, phases by up to" in line for line in found)


def test_the_summary_says_what_the_bench_must_know(bundle, tmp_path):
    write_bundle(tmp_path / "a.h5", bundle)
    rows = dict(summary(read_bundle(tmp_path / "a.h5")))
    assert rows["device"] == "HOLOEYE ERIS-1.1 (holoeye-eris-1.1)"
    assert rows["wavelength"] == "532 nm"
    assert rows["panel"] == "24 x 18 pixels of 16 um"
    assert rows["levels"] == "8 bits, phase 0 is gray 255, slope -1"
    assert rows["focal lengths"] == "100 mm and 150 mm"
    assert rows["predicted frames"] == "3 images x 2 masks of 4 x 7 pixels"
    assert (rows["LUT"], rows["flatness accounted for"]) == ("none", "False")
    assert "uuid" not in dict(summary(bundle))


def test_the_contact_sheet_shows_gray_values_above_frames(bundle, tmp_path):
    sheet = contact_sheet(bundle, side=24)
    assert sheet.shape == (24 + 4 + 24 * 4 // 7 + 4, 2 * (24 + 4))
    assert np.array_equal(sheet[:24, :18], 255 - bundle.levels[0].numpy())
    frame = bundle.frames[0, 1].numpy()
    wide = sheet[28:41, 28:52]
    assert (wide.max(), wide.min()) == (255, frame.min() * 255 // frame.max())
    write_contact_sheet(tmp_path / "sheet.png", bundle)
    with Image.open(tmp_path / "sheet.png") as image:
        assert image.mode == "L"
