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
from tests.optics4f.test_bundle import CONFIG, made, sign_again


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
    refused(r"exposure must be in 0 \.\.\. 1, got 2", path, simulated(), exposure=2)
    refused("exposure must be in", path, simulated(), exposure=-1)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_nan_and_a_transposed_mask_in_the_file_are_refused(path, tmp_path, bad):
    other = tmp_path / "nan.h5"
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        file["phase"][0, 0] = bad
        sign_again(file)
    refused("phase has NaN or inf in it", other, simulated())
    other.write_bytes(path.read_bytes())
    with h5py.File(other, "r+") as file:
        for name in ("exposures/001/phase", "exposures/001/display"):
            values, attributes = file[name][()].T, dict(file[name].attrs)
            del file[name]
            file[name] = values
            file[name].attrs.update(attributes)
        sign_again(file)
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


def test_pixels_that_are_not_square_are_refused(bundle):
    slm = simulated()
    slm.pitch_um = np.array([16.0, 16.1])
    refused("pitch of panel must be square", bundle, slm)


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
