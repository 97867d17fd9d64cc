"""Whatever happens to a bundle on its way, verify refuses it in one line, in bounded memory."""

import random
import resource
import shutil
import subprocess
import sys
from collections import Counter
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from optics4f.bundle import BundleError, read_bundle, verify_bundle, write_bundle
from tests.optics4f.test_bundle import DATASETS, forged, made, sign_again, sign_header
from tests.optics4f.test_bundle_forgeries import FREE

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def original(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("bundle")
    write_bundle(folder / "masks.h5", made(folder)[0])
    return folder / "masks.h5"


# --- ways to damage a file; each takes the bytes, or the file at a path, and a generator of random numbers ---


def flip_bits(raw: bytes, draw: random.Random) -> bytes:
    changed = bytearray(raw)
    for place in draw.sample(range(len(raw)), draw.choice([1, 1, 1, 2, 8])):
        changed[place] ^= 1 << draw.randrange(8)
    return bytes(changed)


def truncate(raw: bytes, draw: random.Random) -> bytes:
    return raw[: draw.choice([len(raw) - 1, draw.randrange(len(raw))])]


def append(raw: bytes, draw: random.Random) -> bytes:
    return raw + draw.randbytes(draw.choice([1, 100]))


def overwrite(raw: bytes, draw: random.Random) -> bytes:
    start, length = draw.randrange(len(raw)), draw.choice([4, 64, 512])
    block = draw.choice([b"\0" * length, b"\xff" * length, draw.randbytes(length)])
    changed = (raw[:start] + block + raw[start + length :])[: len(raw)]
    return changed if changed != raw else raw[:-1]


def exchange_blocks(raw: bytes, draw: random.Random) -> bytes:
    length = 256
    first, second = sorted(draw.sample(range(0, len(raw) - length, length), 2))
    a, b = raw[first : first + length], raw[second : second + length]
    changed = raw[:first] + b + raw[first + length : second] + a + raw[second + length :]
    return changed if changed != raw else raw[1:]


def swap_datasets(file: h5py.File, draw: random.Random) -> None:
    first, second = draw.sample(DATASETS, 2)
    file.move(first, "aside")
    file.move(second, first)
    file.move("aside", second)


def change_numbers(file: h5py.File, draw: random.Random) -> None:
    dataset = file[draw.choice([name for name in DATASETS if name != "config"])]
    values = dataset[()]
    for place in draw.sample(range(values.size), draw.choice([1, 5])):
        values.flat[place] = values.flat[place] + draw.choice([1, 3, 100])
    dataset[...] = values


def transpose_dataset(file: h5py.File, draw: random.Random) -> None:
    name = draw.choice([name for name in DATASETS if name != "config"])
    values, attributes = file[name][()], dict(file[name].attrs)
    del file[name]
    file[name] = values.swapaxes(-1, -2)
    file[name].attrs.update(attributes)


def drop_or_add(file: h5py.File, draw: random.Random) -> None:
    if draw.random() < 0.5:
        del file[draw.choice([*DATASETS, "exposures/001", "expected", "optics", "encoding"])]
    else:
        file[f"extra{draw.randrange(9)}"] = np.arange(3)


def edit_attribute(file: h5py.File, draw: random.Random) -> None:
    names = ["/"]
    file.visit(names.append)
    item = file[draw.choice([name for name in names if len(file[name].attrs)])]
    name = draw.choice(sorted(item.attrs))
    value = item.attrs[name]
    way = draw.choice(["change", "delete", "rename", "retype"])
    if way == "change" and isinstance(value, bytes):
        item.attrs[name] = np.bytes_(value + b"!")
    elif way == "change":
        item.attrs[name] = np.asarray(value) * 2 + 1
    elif way == "retype":
        item.attrs[name] = draw.choice(["text", 3.5, np.arange(4), -(2**40), float("nan"), np.bytes_(b"\xff\xfe")])
    else:
        del item.attrs[name]
        if way == "rename":
            item.attrs[f"{name}_"] = value


ON_BYTES = (flip_bits, flip_bits, flip_bits, truncate, append, overwrite, exchange_blocks)
IN_HDF5 = (swap_datasets, change_numbers, transpose_dataset, drop_or_add, edit_attribute, edit_attribute)


def corrupt(original: Path, path: Path, seed: int) -> tuple[str, bool]:
    """Damage a copy in one random way; its name, and whether every checksum was made new, the header's as well."""
    draw = random.Random(seed)
    way: Callable = draw.choice([*ON_BYTES, *IN_HDF5])
    if way in ON_BYTES:
        path.write_bytes(way(original.read_bytes(), draw))
        return way.__name__, False
    shutil.copy(original, path)
    signed = draw.random() < 0.5  # a forger who knows the checksums
    with h5py.File(path, "r+") as file:
        way(file, draw)
        try:
            if signed:
                sign_again(file)
        except UnicodeDecodeError:  # of text that is none
            signed = False
    if signed:
        sign_header(path)
    return f"{way.__name__}{', signed again' if signed else ''}", signed


def attributes_of(path: Path) -> dict[tuple[str, str], str]:
    """Attributes of every place but the checksums."""
    with h5py.File(path) as file:
        places = ["/"]
        file.visit(places.append)
        found = {(place, name): str(value) for place in places for name, value in file[place].attrs.items()}
    return {key: value for key, value in found.items() if "sha256" not in key[1] or key[1].startswith(("lut", "flat"))}


def harmless(original: Path, path: Path) -> bool:
    """Whether a forger changed what no reader looks at alone, or frames by no more than their noise."""
    with h5py.File(original) as first, h5py.File(path) as second:
        kept = [name for name in DATASETS if not name.startswith("expected/frames")]
        if any(not np.array_equal(first[name][()], second[name][()]) for name in kept):
            return False
        a, b = (file["expected/frames_noise_free"][()].astype(int) for file in (first, second))
        if a.shape != b.shape or np.abs(a - b).max() > 1:
            return False
    a, b = attributes_of(original), attributes_of(path)
    return all(name in FREE for _, name in (key for key in a if b.get(key) != a[key]))


def refuse_all(original: str, path: str, first: int, last: int) -> None:
    """Corrupt and verify, seed by seed; what was accepted is printed. Runs in a process of its own."""
    ways, accepted, by_content = Counter(), Counter(), 0
    for seed in range(first, last):
        print(f"seed {seed}", flush=True)  # the last line tells where it ended
        way, signed = corrupt(Path(original), Path(path), seed)
        try:
            verify_bundle(path)
        except BundleError as error:
            assert "\n" not in str(error), (seed, way, str(error))
            assert path in str(error), (seed, way, str(error))
            assert not (signed and "checksum" in str(error)), (seed, way, str(error))
            ways[way] += 1
            by_content += signed
        else:
            assert signed and harmless(Path(original), Path(path)), f"seed {seed}, {way}: accepted"
            accepted[way] += 1
    counts = f"{sum(ways.values())} {by_content} {sum(accepted.values())}"
    print(f"{counts}: refused, by content alone, harmless; {dict(ways)}, accepted {dict(accepted)}")


def last_line_of(call: str, folder: Path, *arguments: object) -> str:
    """Run a function of this file in a process of its own: HDF5 itself may fall over what is damaged."""
    command = f"from tests.optics4f.test_bundle_corruption import {call} as f; f(*{arguments!r})"
    with (folder / "log").open("w") as log:
        done = subprocess.run([sys.executable, "-c", command], cwd=ROOT, stdout=log, stderr=log, timeout=900)
    lines = (folder / "log").read_text().splitlines()
    if done.returncode:
        place = next((line for line in reversed(lines) if line.startswith("seed")), "the start")
        pytest.fail(f"exit code {done.returncode} after {place}: {lines[-1]}", pytrace=False)
    return lines[-1]


def counted(original: Path, folder: Path, first: int, last: int) -> tuple[int, ...]:
    line = last_line_of("refuse_all", folder, str(original), str(folder / "m.h5"), first, last)
    return tuple(map(int, line.partition(":")[0].split()))


def test_none_of_300_random_corruptions_is_accepted(original, tmp_path):
    refused, by_content, accepted = counted(original, tmp_path, 0, 300)
    assert refused + accepted == 300
    assert by_content > 40 and accepted < 25  # forgeries were tried, and few of them change nothing that is read


@pytest.mark.slow
def test_none_of_2000_random_corruptions_is_accepted(original, tmp_path):
    refused, by_content, accepted = counted(original, tmp_path, 300, 2300)
    assert refused + accepted == 2000
    assert by_content > 300 and accepted < 170


def test_the_file_as_written_is_accepted(original):
    verify_bundle(original)


# --- what the root must state ---


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("wavelength_m", None, "the attribute wavelength_m is missing"),
        ("wavelength_m", np.nan, "the attribute wavelength_m is nan"),
        ("wavelength_m", np.bytes_(b"532 nm"), "the attribute wavelength_m is '532 nm'"),
        ("pixel_pitch_m", np.array([16e-6]), r"the attribute pixel_pitch_m is \[1.6e-05\]"),
        ("shape", np.array([24.0, 18.0]), r"the attribute shape is \[24.0, 18.0\]"),
        ("active_origin_px", np.array([0, 1]), r"active_origin_px is \[0, 1\], but the configuration"),
        ("axis_order", np.bytes_(b"column,row"), "the attribute axis_order is 'column,row'"),
        ("created_utc", np.bytes_(b"yesterday"), "the attribute created_utc is 'yesterday'"),
        ("lut_applied", True, "lut_applied is True, but the configuration that made it says False"),
        ("lut_sha256", np.bytes_(b"0" * 64), "lut_sha256 is 0+, but the configuration that made it says none"),
        ("flatness_correction_included", True, "flatness_correction_included is True, but the configuration"),
        ("exposures", 10**9, "the attribute exposures is 1000000000"),
    ],
)
def test_a_header_that_cannot_be_is_refused_by_name(original, tmp_path, name, value, message):
    path = shutil.copy(original, tmp_path / "masks.h5")
    with forged(path) as file:
        del file.attrs[name]
        if value is not None:
            file.attrs[name] = value
    with pytest.raises(BundleError, match=message) as error:
        read_bundle(path)
    assert "\n" not in str(error.value)


# --- files that claim more than they hold ---


def claim(path: str, name: str, how: str) -> None:
    """Replace a dataset by one that claims 10 GB: never written, packed zeros of one chunk, or one chunk of 4 GB."""
    with h5py.File(path, "r+") as file:
        del file[name]
        count = 10**10
        if how == "empty":
            file.create_dataset(name, shape=(100_000, count // 100_000), dtype="u1")
        elif how == "chunks":
            file.create_dataset(name, shape=(100_000, count // 100_000), dtype="u1", chunks=True, compression="gzip")
        elif how == "chunk":
            file.create_dataset(name, shape=(2, 2), maxshape=(None, None), chunks=(2**16, 2**15), dtype="u1")
        elif how == "external":
            file.create_dataset(name, shape=(2, 2), dtype="u1", external=[("/etc/hostname", 0, 4)])
        elif how == "virtual":
            layout = h5py.VirtualLayout((24, 18), dtype="u1")
            layout[...] = h5py.VirtualSource(path, "exposures/000/display", (24, 18))
            file.create_virtual_dataset(name, layout)
        elif how == "link":
            file[name] = h5py.ExternalLink("other.h5", "/display")
        else:
            file[name] = "text of any length"


def memory_of_refusals(*paths: str) -> None:
    """Print by how many MB the memory of this process grew, and why each file is refused."""
    before, reasons = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, []
    for path in paths:
        try:
            verify_bundle(path)
        except BundleError as error:
            reasons.append(str(error))
    grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) / 1024  # kB on Linux
    print(f"{grown:.0f} MB: {' | '.join(reasons)}", flush=True)


@pytest.mark.parametrize(
    ("name", "how", "message"),
    [
        ("expected/frames", "empty", "expected/frames claims 10000 MB from 0 stored bytes"),
        ("display", "chunks", "display claims 10000 MB from 0 stored bytes"),
        ("exposures/001/display", "chunk", "exposures/001/display claims 2147 MB from 0 stored bytes"),
        ("exposures/001/display", "external", "exposures/001/display must be stored in the file itself"),
        ("exposures/001/display", "virtual", "exposures/001/display must be stored in the file itself"),
        ("exposures/001/display", "link", "exposures/001/display is a link to elsewhere"),
        ("config", "text", "config must hold numbers or text of a fixed length"),
    ],
)
def test_what_is_not_in_the_file_is_refused_before_it_is_read(original, tmp_path, name, how, message):
    path = shutil.copy(original, tmp_path / "masks.h5")
    claim(str(path), name, how)
    with pytest.raises(BundleError, match=message) as error:
        read_bundle(path)
    assert "\n" not in str(error.value)


def test_memory_is_bounded_whatever_a_file_unpacks_to(original, tmp_path):
    paths = [shutil.copy(original, tmp_path / f"{rows}.h5") for rows in (1000, 40)]
    for path, rows in zip(paths, (1000, 40), strict=True):
        with h5py.File(path, "r+") as file:  # 10 GB and 400 MB of zeros that gzip has shrunk to a thousandth
            attributes = dict(file["expected/frames"].attrs)
            del file["expected/frames"]
            zeros = file.create_dataset("expected/frames", (rows, 10**7), "u1", chunks=(1, 10**7), compression="gzip")
            zeros[0] = np.zeros(10**7, dtype=np.uint8)
            chunk = zeros.id.read_direct_chunk((0, 0))[1]
            for row in range(1, rows):
                zeros.id.write_direct_chunk((row, 0), chunk)
            zeros.attrs.update(attributes)
    grown, _, reasons = last_line_of("memory_of_refusals", tmp_path, *map(str, paths)).partition(" MB: ")
    first, second = reasons.split(" | ")
    assert "claims 10000 MB" in first
    assert "expected/frames differs from its checksum" in second
    assert float(grown) < 200
