"""Forged bundles: every checksum is made new, so that only what the file says can give it away."""

import math
import re
import shutil
from pathlib import Path

import h5py
import numpy as np
import pytest

from optics4f.bundle import BundleError, read_bundle, verify_bundle, write_bundle
from tests.optics4f.test_bundle import CONFIG, forged, made, refused, same


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("forged")
    write_bundle(folder / "masks.h5", made(folder)[0])
    return folder / "masks.h5"


@pytest.fixture
def path(original, tmp_path) -> Path:
    return Path(shutil.copy(original, tmp_path / "masks.h5"))


def test_a_phase_that_is_not_the_gray_level_is_refused(path):
    with forged(path) as file:
        file["exposures/001/phase"][3, 4] += 2 * math.pi / 256
    refused(path, r"exposures/001/display is 1 levels away from .*exposures/001/phase")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_phase_that_is_no_number_is_refused(path, bad):
    with forged(path) as file:
        file["phase"][3, 4] = bad
    refused(path, "phase has NaN or inf in it")


def test_a_level_beyond_the_bit_depth_is_refused(path):
    with forged(path) as file:
        file["display"].attrs["bit_depth"] = 7
    refused(path, r"display has level \d+, 7 bits end at 127")


@pytest.mark.parametrize(
    ("name", "value"), [("wavelength_m", 633e-9), ("device_slug", "holoeye-luna"), ("active_shape_px", [18, 24])]
)
def test_a_header_for_another_bench_is_refused(path, name, value):
    with forged(path) as file:
        file.attrs[name] = value
    refused(path, f"{name} is .*, but the configuration that made it says")


def test_a_root_mask_that_is_not_the_first_exposure_is_refused(path):
    with forged(path) as file:
        other = file["exposures/001/display"]
        del file["display"]
        file["display"] = other
    refused(path, "display is not exposures/000/display")


@pytest.mark.parametrize("name", ["frames", "frames_noise_free"])
def test_frames_that_this_mask_does_not_make_are_refused(path, name):
    with forged(path) as file:
        frames = file[f"expected/{name}"]
        peak = np.unravel_index(frames[()].argmax(), frames.shape)
        frames[peak] = frames[peak] + int(12 * math.sqrt(frames[peak]))  # more than 7 deviations; fewer counts than e-
    read_bundle(path)  # nothing wrong with the file by itself
    refused(path, f"expected/{name} ", verify_bundle)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_images_that_no_display_can_show_are_refused(path, bad):
    with forged(path) as file:
        file["expected/images"][0, 2, 3] = bad
    refused(path, "expected/", verify_bundle)


def test_a_mask_swapped_for_another_gives_itself_away_by_its_frames(path):
    with forged(path) as file:
        for name in ("display", "phase"):
            first, second = (file[f"exposures/00{k}/{name}"] for k in (0, 1))
            first[...], second[...] = second[()], first[()]
    refused(path, "expected/frames_noise_free differs from the simulation of display by up to", verify_bundle)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "bench"),
        ("[bench]\n", "bench.wavelength"),
        ("no toml", "is not a complete optics4f-mask-bundle"),
        (CONFIG.replace("100 mm", "100 kg"), "bench.lens1.focal_length"),
    ],
)
def test_a_configuration_that_describes_no_bench_is_refused(path, text, message):
    with forged(path) as file:
        del file["config"]
        file["config"] = np.bytes_(text.encode() or b" ")
        file["config"].attrs["format"] = np.bytes_(b"TOML")
    refused(path, message)


# What a reader has no use for: who wrote the file and with what; the noise of another seed is noise as well.
FREE = {"producer", "producer_version", "device_serial", "torch_version", "noise_seed"}
WORDS = {"schema_version": "schema.version", "gray_at_zero_phase": "gray_at_zero_phase|levels away from"}


def attributes_of(path: Path) -> list[tuple[str, str]]:
    """Places and names of all attributes but the checksums."""
    with h5py.File(path) as file:
        places = ["/"]
        file.visit(places.append)
        names = [(place, name) for place in places for name in sorted(file[place].attrs)]
    return [(place, name) for place, name in names if name not in ("sha256", "attributes_sha256")]


def altered(value: object) -> object:
    if isinstance(value, bytes):
        return np.bytes_(value + b"!")
    return not value if isinstance(value, bool | np.bool_) else np.asarray(value) * 3 + 1


@pytest.mark.parametrize("way", ["deleted", "changed"])
def test_every_attribute_that_a_reader_relies_on_is_refused_by_its_name(original, path, way):
    accepted, names = set(), attributes_of(original)
    assert len(names) > 60
    for place, name in names:
        path.write_bytes(original.read_bytes())
        with forged(path) as file:
            value = file[place].attrs[name]
            del file[place].attrs[name]
            if way == "changed":
                file[place].attrs[name] = altered(value)
        try:
            read_bundle(path)
        except BundleError as error:
            assert re.search(WORDS.get(name, name), str(error)) and "\n" not in str(error), (place, name, str(error))
        else:
            accepted.add(name)
    assert accepted == (FREE if way == "changed" else set())


@pytest.mark.parametrize(
    ("place", "name", "value"),
    [
        ("phase", "units", b"deg"),
        ("phase", "sign", b"exp(-i phase)"),
        ("encoding", "kind", b"double_phase"),
        ("optics", "fourier_stop_m", np.array([1e-3, 1e-3])),
        ("optics", "f2_m", 0.151),
        ("expected", "exposure", 0.25),
        ("/", "fft_convention", b"forward exp(+2 pi i x f), DC at (0, 0)"),
        ("/", "parity", b"upright"),
        ("/", "device", b"HOLOEYE LUNA"),
        ("/", "pixel_pitch_m", np.array([8e-6, 8e-6])),
        ("/", "shape", np.array([48, 36])),
    ],
)
def test_a_forgery_that_says_something_else_is_refused_by_verify(path, place, name, value):
    with forged(path) as file:
        file[place].attrs[name] = np.bytes_(value) if isinstance(value, bytes) else value
    refused(path, name, verify_bundle)


def test_gray_values_of_the_other_slope_are_refused(path):
    with forged(path) as file:
        for number in (0, 1):
            display = file[f"exposures/00{number}/display"]
            display[...] = 255 - display[()]
            display.attrs.update({"gray_slope": 1, "gray_at_zero_phase": 0, "gray_at_2pi": 0})
    refused(path, "gray_slope of exposures/000/display is 1, but the configuration that made it says -1")


def test_a_larger_panel_than_the_device_has_is_refused(path):
    with forged(path) as file:
        for exposure in ("exposures/000", "exposures/001"):
            for name, around in (("phase", 0), ("display", 255)):
                dataset = file[f"{exposure}/{name}"]
                values, attributes = np.pad(dataset[()], ((3, 3), (2, 2)), constant_values=around), dict(dataset.attrs)
                del file[f"{exposure}/{name}"]
                file[f"{exposure}/{name}"] = values
                file[f"{exposure}/{name}"].attrs.update(attributes)
        for name in ("phase", "display"):
            del file[name]
            file[name] = file[f"exposures/000/{name}"]
        file.attrs.update({"shape": np.array([30, 22]), "active_origin_px": np.array([3, 2])})
    refused(path, r"shape is \[30, 22\], but the configuration that made it says \[24, 18\]", verify_bundle)


def test_a_forgery_without_a_change_is_the_file(original, path):
    with forged(path):
        pass
    assert same(verify_bundle(path), verify_bundle(original))
