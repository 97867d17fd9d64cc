"""The mask bundle: what is written is what was simulated, and nothing else gets through."""

import json
import math
import random
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from optics4f.bundle import (
    Bundle,
    BundleError,
    frames_of,
    predict_frames,
    read_bundle,
    verify_bundle,
    write_bundle,
    writing,
)
from optics4f.bundle.checksums import attributes_sha256, dataset_sha256, datasets, header_of
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
    """New checksums of datasets and attributes; that in the header is renewed by :func:`sign_header`."""
    for _, dataset in datasets(file):
        dataset.attrs["sha256"] = dataset_sha256(dataset)
    file.attrs["attributes_sha256"] = attributes_sha256(file)


def sign_header(path: str | Path) -> None:
    with Path(path).open("r+b") as file:
        header = header_of(file)
        file.seek(0)
        file.write(header)


@contextmanager
def forged(path: str | Path) -> Iterator[h5py.File]:
    """A file to change, every checksum of which is then renewed: only its content can give it away."""
    with h5py.File(path, "r+") as file:
        yield file
        sign_again(file)
    sign_header(path)


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

    monkeypatch.setattr(writing, "attributes_sha256", interrupt)  # the last thing that is written
    with pytest.raises(KeyboardInterrupt):
        write_bundle(path, bundle)
    assert path.read_bytes() == before
    assert sorted(p.name for p in tmp_path.iterdir()) == ["masks.h5", "new"]


def other(bundle: Bundle, **parts: object) -> Bundle:
    return Bundle(**{**vars(bundle), **parts})


def with_one(values: torch.Tensor, value: float) -> torch.Tensor:
    changed = values.clone()
    changed[(0,) * values.ndim] = value
    return changed


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("levels", lambda levels: levels + 0.5, r"levels must be whole numbers, got torch\.float32"),
        ("levels", lambda levels: levels + 200, r"levels must be in 0 \.\.\. 255, got 2\d\d \.\.\. 4\d\d"),
        ("levels", lambda levels: levels.mT, r"levels must have shape \(2, 24, 18\) .* got \(2, 18, 24\)"),
        ("levels", lambda levels: levels[:1], r"levels must have shape \(2, 24, 18\)"),
        ("levels", lambda levels: levels.flip(0), "expected/frames_noise_free differs from the simulation of display"),
        ("images", lambda images: with_one(images, math.nan), r"images must lie in \[0, 1\]"),
        ("images", lambda images: with_one(images, 1.5), r"images must lie in \[0, 1\]"),
        ("images", lambda images: images.mT, r"images must have shape \(3, 6, 5\) .* got \(3, 5, 6\)"),
        ("images", lambda images: images.flip(1), "expected/frames_noise_free differs from the simulation of display"),
        ("frames", lambda frames: frames[:2], r"frames must have shape \(3, 2, 4, 7\) .* got \(2, 2, 4, 7\)"),
        ("frames", lambda frames: with_one(frames, -1), r"frames must be in 0 \.\.\. 4294967295, got -1"),
        ("frames", lambda frames: with_one(frames, 2**32), r"frames must be in .* got \d+ \.\.\. 4294967296"),
        ("frames", lambda frames: frames.double(), r"frames must be whole numbers, got torch\.float64"),
        ("frames", lambda frames: frames.flip(0), r"expected/frames lie up to .* standard deviations"),
        ("frames_noise_free", lambda frames: with_one(frames, -1), "frames_noise_free must be in 0"),
        ("frames_noise_free", lambda frames: frames + 2, "differs from the simulation of display by up to 2 counts"),
    ],
)
def test_what_verify_would_refuse_is_not_written(path, tmp_path, name, change, message):
    bundle, before = made(tmp_path)[0], path.read_bytes()
    with pytest.raises(BundleError, match=message) as error:
        write_bundle(path, other(bundle, **{name: change(getattr(bundle, name))}))
    assert "\n" not in str(error.value)
    assert path.read_bytes() == before


def test_a_bundle_without_images_proves_nothing_and_is_not_written(path, tmp_path):
    bundle = made(tmp_path)[0]
    parts = {name: getattr(bundle, name)[:0] for name in ("images", "frames", "frames_noise_free")}
    with pytest.raises(BundleError, match="images must be at least one"):
        write_bundle(path, other(bundle, **parts))


def test_frames_without_noise_may_be_off_by_one_count(path, tmp_path):
    bundle = made(tmp_path)[0]
    write_bundle(path, other(bundle, frames_noise_free=bundle.frames_noise_free + 1))
    verify_bundle(path)


@pytest.mark.parametrize(
    ("light", "word"),
    [
        ("", "coherent"),
        ('[bench.light]\nsource = "self_luminous"\n', "incoherent"),
        ('[bench.light]\nsource = "disc"\nangular_radius = "1 mrad"\npoints = 4\n', "partially coherent"),
    ],
)
def test_the_light_is_called_what_it_is(tmp_path, light, word):
    write_bundle(tmp_path / "masks.h5", made(tmp_path, CONFIG + light)[0])
    with h5py.File(tmp_path / "masks.h5") as file:
        assert file["optics"].attrs["coherence"].decode() == word
    verify_bundle(tmp_path / "masks.h5")


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
