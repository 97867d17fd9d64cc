"""A mask is shown as it is, or refused by the name of what is wrong with it."""

import math
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from optics4f.bench import check_panel, export_images, panel_of, show, to_slmsuite
from optics4f.bundle import Bundle, BundleError, write_bundle
from optics4f.vendors import Panel, read_image_levels
from tests.optics4f.test_bundle import CONFIG, forged, made


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("client")
    write_bundle(folder / "masks.h5", made(folder)[0])
    return folder / "masks.h5"


@pytest.fixture(scope="module")
def bundle(tmp_path_factory) -> Bundle:
    return made(tmp_path_factory.mktemp("client"))[0]


def simulated(shape: tuple[int, int] = (24, 18), *, pitch: float = 16.0, wavelength: float = 0.532, bits: int = 8):
    from slmsuite.hardware.slms.simulated import SimulatedSLM

    return SimulatedSLM(shape[::-1], pitch_um=(pitch, pitch), wav_um=wavelength, bitdepth=bits, name="panel")


def refused(message: str, *arguments, **options) -> None:
    with pytest.raises(BundleError, match=message) as error:
        show(*arguments, **options)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("exposure", [0, 1])
def test_the_panel_gets_the_gray_values_of_the_file(path, exposure):
    slm = simulated()
    with h5py.File(path) as file:
        wanted = file[f"exposures/{exposure:03d}/display"][()]
    assert np.array_equal(show(path, slm, exposure=exposure), wanted)
    assert np.array_equal(slm.display, wanted)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"wavelength": 0.633}, "wavelength must be 633 nm on panel, got masks for 532 nm"),
        ({"pitch": 8.0}, "pitch must be 8 um on panel, got masks for 16 um"),
        ({"shape": (18, 24)}, r"must be \(height, width\) = \(18, 24\) .* got \(24, 18\): it is transposed"),
        ({"shape": (20, 18)}, r"must be \(height, width\) = \(20, 18\) for panel, got \(24, 18\). Nothing is cropped"),
        ({"shape": (25, 19)}, r"got \(24, 18\). Nothing is cropped or padded"),
        ({"bits": 10}, "bit_depth must be 10 on panel, got masks of 8"),
    ],
)
def test_a_bundle_for_another_panel_is_refused_by_name(path, options, message):
    slm = simulated(**options)
    before = slm.display.copy()
    refused(message, path, slm)
    assert np.array_equal(slm.display, before)  # nothing was sent


def test_a_bundle_for_another_device_and_a_mask_that_is_not_there_are_refused(path):
    refused("device must be holoeye-luna, got a bundle for holoeye-eris-1.1", path, simulated(), device="holoeye-luna")
    show(path, simulated(), device="holoeye-eris-1.1")
    refused(r"exposure must be a whole number in 0 \.\.\. 1, got 2", path, simulated(), exposure=2)
    refused("exposure must be a whole number in", path, simulated(), exposure=-1)
    refused("exposure must be a whole number in .* got 1.5", path, simulated(), exposure=1.5)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_a_transposed_mask_in_the_file_are_refused(path, tmp_path, bad):
    other = tmp_path / "nan.h5"
    other.write_bytes(path.read_bytes())
    with forged(other) as file:
        file["phase"][0, 0] = bad
    refused("phase has NaN or inf in it", other, simulated())
    other.write_bytes(path.read_bytes())
    with forged(other) as file:
        for name in ("exposures/001/phase", "exposures/001/display"):
            values, attributes = file[name][()].T, dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attributes)
    refused(r"exposures/001/display has shape \(18, 24\), .*the panel \(24, 18\)", other, simulated())


def test_a_panel_whose_lut_the_masks_do_not_know_is_refused(path):
    slm = simulated()
    slm.set_gamma(1.1 * np.arange(256) / 256)
    refused(r"the LUT of panel must be the one that the masks were made for, got 0\.\d+ rad between them", path, slm)
    slm.set_gamma(np.arange(256) / 256 + 0.3)  # the same but for a piston
    show(path, slm)
    slm.gamma = slm.gamma[:128]
    refused(r"the LUT must have 2\^8 = 256 entries for panel, got 128", path, slm)


def test_masks_made_for_a_lut_want_that_lut(tmp_path):
    table = [2.2 * math.pi * (level / 255) ** 1.3 for level in range(256)]
    text = CONFIG.replace("[bench.lens2]", f"[bench.slm.effects.lut]\nphase = {table}\n[bench.lens2]")
    bundle, _ = made(tmp_path, text)
    refused("the LUT of panel must be the one", bundle, simulated())
    twin = to_slmsuite(bundle)
    assert np.array_equal(show(bundle, twin.slm), twin.display(bundle.levels[0]))


def test_a_wavefront_correction_is_added_once(bundle, tmp_path):
    slm = simulated()
    slm.source["phase"] = np.full((24, 18), np.float32(2 * np.pi * 10 / 256))
    assert np.array_equal(show(bundle, slm), (panel_of(bundle.specification).gray(bundle.levels[0]) - 10.0) % 256)
    text = CONFIG.replace("[bench.lens2]", "[bench.slm.effects]\nflatness = {4 = 0.3}\n[bench.lens2]")
    accounted, _ = made(tmp_path, text)  # its masks contain the correction
    shown = show(accounted, slm)
    assert np.array_equal(shown, panel_of(accounted.specification).gray(accounted.levels[0]))


@pytest.mark.parametrize("slope", [-1, 1])
def test_a_panel_of_the_other_sense_is_not_sent_the_conjugate(slope, tmp_path):
    bundle, _ = made(tmp_path, CONFIG.replace("masks = 2", f"masks = 2\ngray_slope = {slope}"))
    slm = simulated()
    slm._gamma_sign = -slope  # +1 is slmsuite's word for TI's panels
    before = slm.display.copy()
    conjugated = f"gray_slope must be {-slope} on panel, got {slope}: the masks would be conjugated"
    refused(conjugated, bundle, slm)
    slm.set_gamma(np.arange(256) / 256)
    refused(conjugated, bundle, slm)
    slm.source["phase"] = np.zeros((24, 18))
    refused(conjugated, bundle, slm)
    assert np.array_equal(slm.display, before)

    slm._gamma_sign = 0
    refused("panel must say whether more gray is less delay", bundle, slm)


@pytest.mark.parametrize("slope", [-1, 1])
@pytest.mark.parametrize("how", ["plain", "gamma", "correction"])
def test_a_panel_of_the_same_sense_shows_the_phase_of_the_levels(slope, how, tmp_path):
    bundle, _ = made(tmp_path, CONFIG.replace("masks = 2", f"masks = 2\ngray_slope = {slope}"))
    slm = simulated()
    slm._gamma_sign = slope
    if how == "gamma":
        slm.set_gamma(np.arange(256) / 256)
    if how == "correction":
        slm.source["phase"] = np.zeros((24, 18))
    gray = show(bundle, slm)
    off = np.exp(1j * (slope * 2 * np.pi * gray / 256 - 2 * np.pi * bundle.levels[0].numpy() / 256))
    np.testing.assert_allclose(off, off[0, 0], atol=1e-9)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_correction_that_is_no_number_or_of_another_shape_is_refused(bundle, bad):
    slm = simulated()
    before = slm.display.copy()
    slm.source["phase"] = np.zeros((24, 18))
    slm.source["phase"][3, 4] = bad
    refused("the correction .*source.* must be finite numbers", bundle, slm)
    slm.source["phase"] = np.zeros((18, 24))
    refused(
        r"the correction .* must be \(height, width\) = \(24, 18\) for panel, got \(18, 24\): it is transp", bundle, slm
    )
    slm.source["phase"] = np.zeros(18)
    refused(r"the correction .* got \(18,\)", bundle, slm)
    assert np.array_equal(slm.display, before)
    slm.source["phase"] = None
    show(bundle, slm)


def test_each_limit_is_where_it_is_said_to_be(bundle):
    show(bundle, simulated(wavelength=0.53299))
    refused("wavelength must be 533 nm", bundle, simulated(wavelength=0.53301))
    show(bundle, simulated(pitch=16.015))
    refused("pitch must be 16.02 um", bundle, simulated(pitch=16.017))
    for off, message in ((1e-3, ""), (1.1e-3, "pitch of panel must be square")):
        slm = simulated()
        slm.pitch_um = np.array([16.0, 16.0 * (1 + 0.99 * off)])
        refused(message, bundle, slm) if message else show(bundle, slm)


# A table stretched by e is off by pi e (255 / 256) at both ends once the piston is gone; half a level is pi / 256.
@pytest.mark.parametrize(("stretch", "accepted"), [(0.0038, True), (0.0041, False), (-0.0038, True), (-0.0041, False)])
def test_a_lut_may_be_off_by_half_a_level(bundle, stretch, accepted):
    with_table, scaled = simulated(), simulated()
    with_table.set_gamma((1 + stretch) * np.arange(256) / 256)
    scaled.wav_design_um = scaled.wav_um * (1 + stretch)  # slmsuite's phase_scaling is 1 / (1 + stretch)
    for slm in (with_table, scaled):
        if accepted:
            show(bundle, slm)
        else:
            refused("the LUT of panel must be the one that the masks were made for", bundle, slm)


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_numbers_of_the_panel_that_cannot_be_are_refused(bundle, bad):
    slm = simulated()
    slm.wav_um = bad
    refused("wavelength of panel must be positive", bundle, slm)
    for pitch in ((bad, 16.0), (16.0, bad), (bad, bad)):
        slm = simulated()
        slm.pitch_um = np.array(pitch)
        refused("pitch of panel must be", bundle, slm)


def test_an_image_does_not_take_the_place_of_its_bundle(path, tmp_path):
    bundle = tmp_path / "mask_001.png"
    bundle.write_bytes(path.read_bytes())
    with pytest.raises(ValueError, match=r"the output must be another file than the input .*mask_001\.png"):
        export_images(bundle, tmp_path)
    assert [file.name for file in tmp_path.iterdir()] == ["mask_001.png"]
    assert bundle.read_bytes() == path.read_bytes()


def test_images_for_a_vendor_come_back_as_the_levels(path, bundle, tmp_path):
    paths = export_images(path, tmp_path / "out")
    assert [path.name for path in paths] == ["mask_000.png", "mask_001.png"]
    for file, levels in zip(paths, bundle.levels, strict=True):
        assert np.array_equal(read_image_levels(file, panel_of(bundle.specification)), levels.numpy())
    with pytest.raises(BundleError, match="gray_slope must be 1 on the panel, got -1: the masks would be conjugated"):
        export_images(path, tmp_path, panel=Panel((24, 18), "16 um", "532 nm", gray_slope=1))
    with pytest.raises(BundleError, match="wavelength must be 633 nm"):
        check_panel(bundle, Panel((24, 18), "16 um", "633 nm"))
    assert torch.equal(bundle.levels[0], torch.from_numpy(read_image_levels(paths[0], panel_of(bundle.specification))))
