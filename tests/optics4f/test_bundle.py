"""The mask bundle: what is written is what was simulated, and nothing else gets through."""

import json
import math
import random
import shutil
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from optics4f import bundle as module
from optics4f.bundle import Bundle, BundleError, frames_of, predict_frames, read_bundle, verify_bundle, write_bundle
from optics4f.config import bench_from, read_toml
from tests.optics4f.benches import smooth_masks

# A device whose panel is not known: the panel is then the used area, and the file small.
CONFIG = """\
[bench]
wavelength = "532 nm"
route = "fourier_lens"
[bench.object]
shape = [6, 5]
pitch = "32 um"
[bench.lens1]
focal_length = "100 mm"
[bench.slm]
device = "holoeye-eris-1.1"
pitch = "16 um"
fill_factor = 0.9
shape = [24, 18]
masks = 2
[bench.lens2]
focal_length = "150 mm"
[bench.camera]
device = "basler-aca2440-75um"
shape = [4, 7]
binning = 14
exposure = 0.5
dark_electrons = 3
"""
DATASETS = [
    "display",
    "phase",
    "exposures/001/display",
    "exposures/001/phase",
    "config",
    "expected/images",
    "expected/frames",
    "expected/frames_noise_free",
]


def made(folder: Path, text: str = CONFIG) -> tuple[Bundle, torch.nn.Module]:
    """A bundle, and the bench in memory whose continuous masks it holds."""
    (folder / "made.toml").write_text(text)
    specification = bench_from(read_toml(folder / "made.toml")[0], source="made.toml")
    bench = specification.build()
    bench.slm.set_values(smooth_masks(*(specification.slm.masks, specification.slm.shape)).float())
    images = torch.rand(3, *specification.object.shape, generator=torch.Generator().manual_seed(3))
    frames, noise_free = frames_of(bench, specification, images, noise_seed=11)
    return Bundle(bench.slm.levels(), text, images, frames, noise_free, noise_seed=11), bench


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder / "masks.h5", made(folder)[0])
    return folder / "masks.h5"


@pytest.fixture
def path(original, tmp_path) -> Path:
    return Path(shutil.copy(original, tmp_path / "masks.h5"))


def sign_again(file: h5py.File) -> None:
    """New checksums: a forgery that only its content can give away."""
    for _, dataset in module._datasets(file):
        dataset.attrs["sha256"] = module._sha256(dataset)
    file.attrs["attributes_sha256"] = module._attributes_sha256(file)


def refused(path: Path, message: str, check=read_bundle) -> None:
    with pytest.raises(BundleError, match=message) as error:
        check(path)
    assert "\n" not in str(error.value)
    assert str(path) in str(error.value)


# --- what is written ---


def test_a_bundle_survives_the_file(original, tmp_path):
    wanted, _ = made(tmp_path)
    actual = verify_bundle(original)
    for name in ("levels", "images", "frames", "frames_noise_free"):
        assert torch.equal(getattr(actual, name), getattr(wanted, name)), name
    assert (actual.config, actual.noise_seed) == (wanted.config, wanted.noise_seed)
    assert actual.specification == wanted.specification
    assert actual.levels.unique().numel() > 100  # not a trivial mask


@pytest.mark.parametrize("route", ["fourier_lens", "angular_spectrum", "psf"])
def test_the_levels_of_the_file_alone_give_the_frames_of_training_bit_for_bit(route, tmp_path):
    text = CONFIG.replace("fourier_lens", route)
    if route == "angular_spectrum":
        text = text.replace('pitch = "32 um"', 'pitch = "16 um"')
    if route == "psf":
        text = text.replace("binning = 14", 'pitch = "4 um"\nbinning = 12')
    bundle, bench = made(tmp_path, text)
    write_bundle(tmp_path / "masks.h5", bundle)
    read = read_bundle(tmp_path / "masks.h5")
    noisy, noise_free = predict_frames(read.specification, read.levels, read.images, read.noise_seed)
    again = frames_of(bench, read.specification, bundle.images, 11)  # the masks in memory, never rounded
    assert torch.equal(noisy, again[0])
    assert torch.equal(noise_free, again[1])
    assert torch.equal(noisy, read.frames)
    assert not torch.equal(noisy, noise_free)
    assert noise_free.max() > 100  # there is light on the camera


@pytest.mark.parametrize("bits", [4, 8, 10])
@pytest.mark.parametrize("slope", [-1, 1])
def test_the_gray_levels_are_those_of_slmsuite(bits, slope, tmp_path):
    text = CONFIG.replace("masks = 2", f"masks = 2\nbit_depth = {bits}\ngray_slope = {slope}")
    bundle, _ = made(tmp_path, text)
    write_bundle(tmp_path / "masks.h5", bundle)
    with h5py.File(tmp_path / "masks.h5") as file:
        phase, display = file["phase"][()].astype(float), file["display"][()].astype(int)
        assert file["__version__"].asstr()[()].startswith("0.5")
        assert np.array_equal(phase, file["exposures/000/phase"][()])
        assert np.array_equal(display, file["exposures/000/display"][()])
    turns = np.rint(phase * 2**bits / (2 * math.pi)).astype(int)
    wanted = (-turns - 1) % 2**bits if slope == -1 else turns % 2**bits
    assert np.array_equal(display, wanted)
    assert np.array_equal(turns % 2**bits, bundle.levels[0].numpy())
    assert torch.equal(verify_bundle(tmp_path / "masks.h5").levels, bundle.levels)


def test_the_masks_stand_in_the_middle_of_the_panel(tmp_path):
    text = CONFIG.replace('"holoeye-eris-1.1"', '"meadowlark-1920x1152"')
    bundle, _ = made(tmp_path, text)
    write_bundle(tmp_path / "masks.h5", bundle)
    with h5py.File(tmp_path / "masks.h5") as file:
        phase, origin = file["phase"][()], file.attrs["active_origin_px"]
        assert phase.shape == (1152, 1920)
    assert origin.tolist() == [564, 951]
    inside = phase[564 : 564 + 24, 951 : 951 + 18] * 256 / (2 * math.pi)
    np.testing.assert_allclose(inside, bundle.levels[0].numpy(), atol=1e-4)
    phase[564 : 564 + 24, 951 : 951 + 18] = 0
    assert not phase.any()
    assert torch.equal(read_bundle(tmp_path / "masks.h5").levels, bundle.levels)


def test_an_interrupted_writing_leaves_the_old_file(path, tmp_path, monkeypatch):
    before = path.read_bytes()
    folder = tmp_path / "new"
    folder.mkdir()
    bundle, _ = made(folder)

    def interrupt(file):
        raise KeyboardInterrupt

    monkeypatch.setattr(module, "_attributes_sha256", interrupt)  # the last thing that is written
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, bundle)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks.h5", "new"]


def test_frames_of_other_masks_are_not_written(tmp_path):
    bundle, _ = made(tmp_path)
    with pytest.raises(BundleError, match=r"frames must be \(images, masks, \.\.\.\)"):
        write_bundle(tmp_path / "masks.h5", Bundle(**{**vars(bundle), "frames": bundle.frames[:2]}))
    with pytest.raises(ValueError, match=r"levels must be in 0 \.\.\. 255"):
        write_bundle(tmp_path / "masks.h5", Bundle(**{**vars(bundle), "levels": bundle.levels + 200}))
    assert not (tmp_path / "masks.h5").exists()


# --- what is refused ---


@pytest.mark.parametrize("name", [name for name in DATASETS if name != "config"])
def test_one_changed_number_is_refused_by_the_name_of_its_dataset(path, name):
    with h5py.File(path, "r+") as file:
        place = (0,) * file[name].ndim
        file[name][place] = file[name][place] + 1
    refused(path, f"{name} differs from its checksum")


def test_a_changed_configuration_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["config"][()] = CONFIG.replace("100 mm", "101 mm")
    refused(path, "config differs from its checksum")


@pytest.mark.parametrize("name", DATASETS)
def test_a_missing_dataset_is_refused_by_its_name(path, name):
    with h5py.File(path, "r+") as file:
        del file[name]
    refused(path, name.split("/")[-1])


@pytest.mark.parametrize(
    ("where", "name", "value"),
    [
        ("/", "wavelength_m", 633e-9),
        ("/", "flip_lr", True),
        ("exposures/000/display", "gray_slope", 1),
        ("exposures/001/phase", "sign", "exp(-i phase)"),
        ("expected", "noise_seed", 12),
        ("optics", "magnification", 1.5),
        ("/", "something", "new"),
    ],
)
def test_a_changed_attribute_is_refused(path, where, name, value):
    with h5py.File(path, "r+") as file:
        file[where].attrs[name] = value
    refused(path, "attributes differ from their checksum")


def test_another_schema_and_a_newer_version_are_refused(path):
    with h5py.File(path, "r+") as file:
        file.attrs["schema_version"] = "2.0"
    refused(path, r"schema version 2\.0, this program reads 1\.0\. Install optics4f")
    with h5py.File(path, "r+") as file:
        file.attrs["schema"] = "holograms"
    refused(path, r"is not an optics4f-mask-bundle, its schema is 'holograms'")
    with h5py.File(path, "w"):
        pass
    refused(path, r"its schema is 'missing'")


@pytest.mark.parametrize("content", [b"", b"[bench]\n", b"\x89HDF\r\n\x1a\n", b"\x00" * 4096])
def test_what_is_no_hdf5_is_refused(tmp_path, content):
    path = tmp_path / "masks.h5"
    path.write_bytes(content)
    refused(path, "cannot be read as HDF5")


@pytest.mark.parametrize("share", [0.02, 0.3, 0.7, 0.99])
def test_a_file_cut_short_is_refused(path, share):
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    refused(path, "cannot be read as HDF5")


def test_a_file_that_is_not_there_and_a_folder_are_refused(tmp_path):
    refused(tmp_path / "none.h5", r"none\.h5 does not exist")
    refused(tmp_path, "cannot be read")


def same(first: Bundle, second: Bundle) -> bool:
    tensors = ("levels", "images", "frames", "frames_noise_free")
    return all(torch.equal(getattr(first, name), getattr(second, name)) for name in tensors) and (
        first.config,
        first.noise_seed,
        first.attributes,
    ) == (second.config, second.noise_seed, second.attributes)


def read_flipped(original: str, flipped: str, flips: list[tuple[int, int]]) -> None:
    """Read the file with one bit flipped, flip by flip; print how many were refused. Runs in a process of its own."""
    raw, wanted, refusals = Path(original).read_bytes(), read_bundle(original), 0
    for place, bit in flips:
        print(f"bit {bit} of byte {place}", flush=True)  # the last line tells where it ended
        Path(flipped).write_bytes(raw[:place] + bytes([raw[place] ^ 1 << bit]) + raw[place + 1 :])
        try:
            actual = read_bundle(flipped)
        except BundleError as error:
            assert "\n" not in str(error)
            refusals += 1
        else:
            assert same(actual, wanted)  # free space of the file
    print(refusals)


def refusals_of(original: Path, flipped: Path, flips: list[tuple[int, int]]) -> int:
    """In a process of its own: the HDF5 library may fall over what is damaged, or never come back."""
    command = "import sys, json; from tests.optics4f.test_bundle import read_flipped as r; r(*json.load(sys.stdin))"
    root, output = Path(__file__).parents[2], flipped.with_suffix(".log")
    with output.open("w") as log:
        child = subprocess.Popen(
            [sys.executable, "-c", command], cwd=root, text=True, stdin=subprocess.PIPE, stdout=log, stderr=log
        )
        try:
            child.communicate(json.dumps([str(original), str(flipped), flips]), timeout=40 + len(flips) / 20)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()
    last = output.read_text().splitlines()[-1]
    if child.returncode:
        pytest.fail(f"reading ended with exit code {child.returncode} at {last}", pytrace=False)
    return int(last)


def test_a_flipped_bit_anywhere_is_refused_or_changes_nothing(original, path):
    size, draw = original.stat().st_size, random.Random(0)
    flips = [(draw.randrange(size), draw.randrange(8)) for _ in range(150)]
    assert refusals_of(original, path, flips) > 30


@pytest.mark.slow
def test_a_flipped_bit_in_every_eighth_byte_is_refused_or_changes_nothing(original, path):
    draw = random.Random(1)
    flips = [(place, draw.randrange(8)) for place in range(0, original.stat().st_size, 8)]
    assert refusals_of(original, path, flips) > len(flips) / 4


@pytest.mark.parametrize("name", [b"wavelength_m", b"sha256"])
def test_a_flipped_bit_in_the_type_of_an_attribute_is_refused_or_changes_nothing(original, path, name):
    place = original.read_bytes().index(name) + len(name)  # behind the name: how HDF5 describes the value
    flips = [(byte, bit) for byte in range(place, place + 28) for bit in range(8)]
    assert refusals_of(original, path, flips) > 0


# --- forgeries: checksums made new, the content at odds with itself ---


def test_a_phase_that_is_not_the_gray_level_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["exposures/001/phase"][3, 4] += 2 * math.pi / 256
        sign_again(file)
    refused(path, r"exposures/001/display is 1 levels away from .*exposures/001/phase")


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_phase_that_is_no_number_is_refused(path, bad):
    with h5py.File(path, "r+") as file:
        file["phase"][3, 4] = bad
        sign_again(file)
    refused(path, "phase has NaN or inf in it")


def test_a_level_beyond_the_bit_depth_is_refused(path):
    with h5py.File(path, "r+") as file:
        file["display"].attrs["bit_depth"] = 7
        sign_again(file)
    refused(path, r"display has level \d+, 7 bits end at 127")


@pytest.mark.parametrize(
    ("name", "value"), [("wavelength_m", 633e-9), ("device_slug", "holoeye-luna"), ("active_shape_px", [18, 24])]
)
def test_a_header_for_another_bench_is_refused(path, name, value):
    with h5py.File(path, "r+") as file:
        file.attrs[name] = value
        sign_again(file)
    refused(path, f"{name} is .*, but the configuration that made it says")


def test_a_root_mask_that_is_not_the_first_exposure_is_refused(path):
    with h5py.File(path, "r+") as file:
        other = file["exposures/001/display"]
        del file["display"]
        file["display"] = other
        sign_again(file)
    refused(path, "display is not exposures/000/display")


@pytest.mark.parametrize("name", ["frames", "frames_noise_free"])
def test_frames_that_this_mask_does_not_make_are_refused(path, name):
    with h5py.File(path, "r+") as file:
        frames = file[f"expected/{name}"]
        peak = np.unravel_index(frames[()].argmax(), frames.shape)
        frames[peak] = frames[peak] + int(12 * math.sqrt(frames[peak]))  # more than 7 deviations; fewer counts than e-
        sign_again(file)
    read_bundle(path)  # nothing wrong with the file by itself
    refused(path, f"expected/{name} ", verify_bundle)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -1.0])
def test_images_that_no_display_can_show_are_refused(path, bad):
    with h5py.File(path, "r+") as file:
        file["expected/images"][0, 2, 3] = bad
        sign_again(file)
    refused(path, "expected/", verify_bundle)


def test_a_mask_swapped_for_another_gives_itself_away_by_its_frames(path):
    with h5py.File(path, "r+") as file:
        for name in ("display", "phase"):
            first, second = (file[f"exposures/00{k}/{name}"] for k in (0, 1))
            first[...], second[...] = second[()], first[()]
        sign_again(file)
    refused(path, "expected/frames_noise_free differs from the simulation of display by up to", verify_bundle)


@pytest.mark.parametrize("text", ["", "[bench]\n", "no toml", CONFIG.replace("100 mm", "100 kg")])
def test_a_configuration_that_describes_no_bench_is_refused(path, text):
    with h5py.File(path, "r+") as file:
        del file["config"]
        file["config"] = text
        sign_again(file)
    refused(path, ".")
