"""What a bench measured arrives in the simulation with its sign, its order and its unit."""

import math

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from optics4f.bench import to_slmsuite
from optics4f.bundle import write_arrays
from optics4f.calibration import (
    Measured,
    noll_terms,
    read_driven_lut,
    read_flatness_image,
    read_flatness_slmsuite,
    read_lut,
    read_measured,
    write_lut_csv,
    write_measured,
)
from optics4f.effects import Flatness
from optics4f.elements import SLM
from optics4f.grid import Grid
from optics4f.vendors import Panel, write_lut, write_santec_csv
from tests.optics4f.test_slmsuite import CONFIG, specified

SHAPE = (24, 36)


def panel(bits: int = 8, **options) -> Panel:
    return Panel(SHAPE, "8 um", "532 nm", bits, **options)


def csv(path, header: str, *columns) -> None:
    rows = [",".join(f"{value:.9g}" for value in row) for row in zip(*columns, strict=True)]
    path.write_text("\n".join([header, *rows]) + "\n")


# --- LUT ---


@pytest.mark.parametrize("slope", [-1, 1])
@pytest.mark.parametrize(("unit", "factor"), [("phase_rad", 1.0), ("phase_turns", 2 * math.pi)])
def test_the_level_of_a_gray_value_shows_its_measured_phase(slope, unit, factor, tmp_path):
    gray = np.arange(256)
    measured = slope * 1.1 * (gray / 255) ** 1.3  # more gray is less delay where the slope is negative
    csv(tmp_path / "lut.csv", f"gray,{unit},amplitude", gray, measured, 1 - 0.0004 * gray)
    device = panel(gray_slope=slope)
    lut = read_lut(tmp_path / "lut.csv", device)
    for level in (0, 1, 100, 255):
        sent = int(device.gray(np.full(SHAPE, level))[0, 0])
        assert lut.phase[level].item() == pytest.approx(factor * measured[sent], abs=1e-7)
        assert lut.amplitude[level].item() == pytest.approx(1 - 0.0004 * sent)
    write_lut_csv(tmp_path / "again.csv", lut, device)
    np.testing.assert_allclose(read_lut(tmp_path / "again.csv", device).phase, lut.phase, atol=1e-7)


def test_the_table_that_slmsuite_is_told_is_the_one_that_was_measured(tmp_path):
    gray = np.arange(256)
    measured = 1.1 * (gray / 255) ** 1.3  # slmsuite's gamma: turns of less delay
    csv(tmp_path / "lut.csv", "gray,phase_turns", gray, -measured)
    lut = read_lut(tmp_path / "lut.csv", panel())
    table = f"[bench.slm.effects.lut]\nphase = {lut.phase.tolist()}\n[bench.lens2]"
    bench = to_slmsuite(specified(tmp_path, CONFIG.replace("[bench.lens2]", table)))
    difference = np.asarray(bench.slm.gamma) - measured
    np.testing.assert_allclose(difference, np.rint(difference[0]), atol=1e-6)


def test_missing_gray_values_are_interpolated_where_that_is_asked_for(tmp_path):
    gray = np.array([0, 10, 100, 255])
    csv(tmp_path / "lut.csv", "gray,phase_rad", gray, gray * 0.03)
    lut = read_lut(tmp_path / "lut.csv", panel(gray_slope=1), interpolated=True, calibrated=False)
    np.testing.assert_allclose(lut.phase, np.arange(256) * 0.03, atol=1e-9)
    assert not lut.calibrated
    with pytest.raises(ValueError, match=r"must have the gray values 0 ... 255 .* got 4 of 0 ... 255"):
        read_lut(tmp_path / "lut.csv", panel())


@pytest.mark.parametrize("direction", [-1, 1])
def test_a_wrapped_phase_is_not_interpolated(direction, tmp_path):
    gray = np.array([0, 60, 120, 160, 200, 255])
    unwrapped = direction * gray * (2.4 * math.pi / 255)
    unwrapped[2] -= direction * 1.5  # a curve may go back a little, but not by half a turn
    csv(tmp_path / "lut.csv", "gray,phase_rad", gray, unwrapped)
    found = read_lut(tmp_path / "lut.csv", panel(gray_slope=1), interpolated=True).phase.numpy()
    np.testing.assert_allclose(found[gray], unwrapped, atol=1e-6)
    csv(tmp_path / "lut.csv", "gray,phase_rad", gray, np.mod(unwrapped, 2 * math.pi))
    with pytest.raises(ValueError, match=r"must be unwrapped to be interpolated, got a jump of .* between \d+ and \d+"):
        read_lut(tmp_path / "lut.csv", panel(), interpolated=True)
    every = np.arange(256)
    csv(tmp_path / "every.csv", "gray,phase_rad", every, np.mod(direction * every * 0.03, 2 * math.pi))
    read_lut(tmp_path / "every.csv", panel(), interpolated=False)  # nothing is interpolated
    write_lut(tmp_path / "slm.lut", every)
    csv(tmp_path / "curve.csv", "code,phase_rad", gray, np.mod(unwrapped, 2 * math.pi))
    with pytest.raises(ValueError, match=r"curve\.csv: the phase must be unwrapped"):
        read_driven_lut(tmp_path / "slm.lut", tmp_path / "curve.csv", panel())


@pytest.mark.parametrize(
    ("unit", "span", "message"),
    [
        ("phase_rad", 19.9 * math.pi, None),
        ("phase_rad", 20.1 * math.pi, r"phase_rad must span at most 10 turns, got 10\.05. Are they degrees\?"),
        ("phase_rad", 360.0, "Are they degrees"),
        ("phase_turns", 9.95, None),
        ("phase_turns", 360.0, "Are they radians or degrees"),
    ],
)
def test_degrees_are_not_taken_for_radians(unit, span, message, tmp_path):
    gray = np.arange(256)
    csv(tmp_path / "lut.csv", f"gray,{unit}", gray, 400 + gray * (span / 255))  # a common phase is of no account
    csv(tmp_path / "curve.csv", f"code,{unit}", gray, gray * (span / 255))
    write_lut(tmp_path / "slm.lut", gray)
    if message is None:
        read_lut(tmp_path / "lut.csv", panel())
        read_driven_lut(tmp_path / "slm.lut", tmp_path / "curve.csv", panel())
        return
    with pytest.raises(ValueError, match=message):
        read_lut(tmp_path / "lut.csv", panel())
    with pytest.raises(ValueError, match=message):
        read_driven_lut(tmp_path / "slm.lut", tmp_path / "curve.csv", panel())


def test_drive_codes_get_their_phase_from_a_measured_curve(tmp_path):
    codes = np.rint(np.linspace(300, 3900, 256))
    write_lut(tmp_path / "slm.lut", codes)
    measured = np.linspace(0, 4095, 30)
    csv(tmp_path / "curve.csv", "code,phase_rad", measured, 7.0 - 0.0017 * measured)
    lut = read_driven_lut(tmp_path / "slm.lut", tmp_path / "curve.csv", panel(gray_slope=1))
    np.testing.assert_allclose(lut.phase, 7.0 - 0.0017 * codes, atol=1e-7)
    csv(tmp_path / "short.csv", "code,phase_rad", [400, 4095], [0, 6])
    with pytest.raises(ValueError, match=r"must reach from code 300 to 3900 .* got 400 \.\.\. 4095"):
        read_driven_lut(tmp_path / "slm.lut", tmp_path / "short.csv", panel())
    csv(tmp_path / "back.csv", "code,phase_rad", [4095, 0], [0, 6])
    with pytest.raises(ValueError, match="must list its codes in rising order"):
        read_driven_lut(tmp_path / "slm.lut", tmp_path / "back.csv", panel())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "must have one line of names"),
        ("gray,phase_rad\n", "must have one line of names"),
        ("gray,phase\n0,1\n", "must have the columns gray, phase_rad or phase_turns"),
        ("level,phase_rad\n0,1\n", "must have the columns gray"),
        ("gray,phase_rad\n0,1\n1,nan\n", "must be finite, got 1 NaN or inf"),
        ("gray,phase_rad\n0,one\n", "must be a table of numbers"),
        ("gray,phase_rad\n" + "".join(f"{g},0\n" for g in range(128)), r"0 \.\.\. 255 .* got 128 of 0 \.\.\. 127"),
        ("gray,phase_rad\n" + "".join(f"{g},0\n" for g in range(1024)), r"0 \.\.\. 255 .* got 1024 of 0 \.\.\. 1023"),
    ],
)
def test_a_table_that_says_no_phase_of_each_gray_value_is_refused(text, message, tmp_path):
    (tmp_path / "lut.csv").write_text(text)
    with pytest.raises(ValueError, match=message) as error:
        read_lut(tmp_path / "lut.csv", panel())
    assert "\n" not in str(error.value)
    with pytest.raises(ValueError, match="does not exist"):
        read_lut(tmp_path / "none.csv", panel())


# --- flatness ---


def smooth_error() -> np.ndarray:
    y, x = np.meshgrid(np.linspace(-1, 1, SHAPE[0]), np.linspace(-1, 1, SHAPE[1]), indexing="ij")
    return 9 * (x**2 + y**2) + 3 * x  # more than a turn


def matches(actual: np.ndarray, wanted: np.ndarray, tolerance: float) -> bool:
    """Up to a piston."""
    difference = actual - wanted
    return bool(np.abs(difference - difference.mean()).max() < tolerance)


@pytest.mark.parametrize(("slope", "turn"), [(-1, 256), (1, 256), (1, 213), (-1, 213)])
def test_a_correction_that_is_added_to_the_error_leaves_a_flat_panel(slope, turn, tmp_path):
    error = smooth_error()
    gray = np.rint(-slope * error / (2 * np.pi) * turn) % turn  # shows exp(-i error)
    Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "flat.bmp")
    found = read_flatness_image(tmp_path / "flat.bmp", panel(gray_slope=slope), gray_at_2pi=turn)
    assert matches(found.error, error, 2 * np.pi / turn)
    shown = np.exp(1j * (found.error + slope * 2 * np.pi * gray / turn))
    assert np.abs(shown.mean()) > 0.999


def test_santecs_table_and_slmsuites_image_say_the_same_flatness(tmp_path):
    error = smooth_error()
    levels = np.rint(-error / (2 * np.pi) * 1024).astype(int) % 1024
    write_santec_csv(tmp_path / "flat.csv", panel(10), levels)
    assert matches(read_flatness_image(tmp_path / "flat.csv", panel(10)).error, error, 2 * np.pi / 1024)

    from slmsuite.hardware.slms.simulated import SimulatedSLM

    gray = (255 - np.rint(-error / (2 * np.pi) * 256)) % 256
    Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "flat.png")
    slm = SimulatedSLM(SHAPE[::-1], pitch_um=(8, 8), wav_um=0.532)
    correction = slm.load_vendor_phase_correction(str(tmp_path / "flat.png"))  # slmsuite's own reading
    ours = read_flatness_image(tmp_path / "flat.png", panel()).error
    assert abs(np.exp(1j * (ours + correction)).mean()) == pytest.approx(1, abs=1e-9)

    file = slm.save(str(tmp_path))
    saved = read_flatness_slmsuite(file, panel())
    assert matches(saved.error, ours, 1e-6)
    with pytest.raises(ValueError, match="wavelength must be 633 nm"):
        read_flatness_slmsuite(file, Panel(SHAPE, "8 um", "633 nm"))
    with pytest.raises(ValueError, match="pitch must be 9 um"):
        read_flatness_slmsuite(file, Panel(SHAPE, "9 um", "532 nm"))
    with pytest.raises(ValueError, match="it is transposed"):
        read_flatness_slmsuite(file, Panel(SHAPE[::-1], "8 um", "532 nm"))
    with h5py.File(file, "r+") as opened:
        opened["__meta__/source/phase"][3, 4] = np.nan
    with pytest.raises(ValueError, match="must be finite, got 1 NaN"):
        read_flatness_slmsuite(file, panel())


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"wav_um": 0.633}, "wavelength must be 532 nm .* got masks for 633 nm"),
        ({"pitch_um": [8.0, 9.0]}, "pitch must be 8 um .* got masks for 9 um"),
        ({"wav_um": math.nan}, "wavelength must be 532 nm"),
        ({"wav_um": 0.5329, "pitch_um": [8.007, 7.993]}, None),
        ({"wav_um": 0.5331}, "wavelength must be"),
        ({}, None),
    ],
)
def test_what_slmsuite_states_of_its_panel_is_checked_one_by_one(stated, message, tmp_path):
    arrays = {f"__meta__/{name}": np.asarray(value) for name, value in stated.items()}
    write_arrays(tmp_path / "slm.h5", {"__meta__/source/phase": smooth_error(), **arrays})
    if message is None:
        assert matches(read_flatness_slmsuite(tmp_path / "slm.h5", panel()).error, -smooth_error(), 1e-9)
        return
    with pytest.raises(ValueError, match=message):
        read_flatness_slmsuite(tmp_path / "slm.h5", panel())


def test_noll_terms_of_a_map_make_the_map_again():
    grid = Grid(SHAPE, 8e-6)
    terms = {2: 0.5, 4: 2.0, 7: -1.0}
    wanted = Flatness(terms).map(grid, torch.zeros((), dtype=torch.float64)).numpy()
    found, left = noll_terms(wanted + 3.0, grid, range(2, 12))
    assert left < 1e-9
    assert {j: round(value, 9) for j, value in found.items() if abs(value) > 1e-9} == terms


def test_a_measured_map_acts_on_the_used_area(tmp_path):
    error = smooth_error()
    gray = np.rint(error / (2 * np.pi) * 256) % 256
    Image.fromarray(gray.astype(np.uint8)).save(tmp_path / "flat.png")
    used = read_flatness_image(tmp_path / "flat.png", panel()).used((12, 20))
    slm = SLM(Grid((12, 20), 8e-6), effects=[Flatness(used)], dtype=torch.float64)
    shown = slm.modulation()[0].angle().detach().numpy()
    off = np.exp(1j * (shown - error[6:18, 8:28]))
    assert abs(off.mean()) > 0.9999
    with pytest.raises(ValueError, match=r"must fit on the map of \(24, 36\)"):
        read_flatness_image(tmp_path / "flat.png", panel()).used((25, 3))


# --- frames ---


def measured(**parts) -> Measured:
    draw = torch.Generator().manual_seed(4)
    frames = torch.randint(0, 4096, (3, 2, 5, 7), generator=draw).double()
    return Measured(**{"frames": frames, "images": torch.rand(3, 6, 5, generator=draw), **parts})


def test_frames_survive_the_file(tmp_path):
    psfs = torch.rand(2, 5, 7, generator=torch.Generator().manual_seed(5))
    write_measured(tmp_path / "m.h5", measured(psfs=psfs), wavelength_m=532e-9)
    again = read_measured(tmp_path / "m.h5")
    assert torch.equal(again.frames, measured().frames)
    assert torch.equal(again.images, measured().images.double())
    assert torch.equal(again.psfs, psfs.double())
    assert (again.attributes["wavelength_m"], again.attributes["schema"]) == (532e-9, "optics4f-measured")
    again.check(wavelength=532.5e-9, frame_shape=(5, 7), masks=2)
    for options, message in (
        ({"wavelength": 633e-9}, "wavelength must be 633 nm, got frames taken at 532 nm"),
        ({"frame_shape": (7, 5)}, "it is transposed"),
        ({"masks": 3}, "frames must be of 3 masks, got 2"),
    ):
        with pytest.raises(ValueError, match=message):
            again.check(**{"wavelength": 532e-9, "frame_shape": (5, 7), "masks": 2, **options})


@pytest.mark.parametrize("stated", ["532 nm", [532e-9], True, math.nan, 0.0, 533.01e-9, 530.99e-9])
def test_a_wavelength_that_is_another_or_no_number_is_refused_by_name(stated, tmp_path):
    write_measured(tmp_path / "m.h5", measured(), wavelength_m=stated)
    with pytest.raises(ValueError, match=r"wavelength(_m of the frames)? must be") as error:
        read_measured(tmp_path / "m.h5").check(wavelength=532e-9, frame_shape=(5, 7), masks=2)
    assert "\n" not in str(error.value)
    for near in (532.99e-9, 531.01e-9):
        measured(attributes={"wavelength_m": near}).check(wavelength=532e-9, frame_shape=(5, 7), masks=2)


def test_frames_as_a_camera_stores_them_are_read(tmp_path):
    frames = np.random.default_rng(1).integers(0, 65536, (3, 2, 5, 7), dtype=np.uint16)
    write_arrays(tmp_path / "m.h5", {"frames": frames})
    again = read_measured(tmp_path / "m.h5")
    assert np.array_equal(again.frames.numpy(), frames)
    assert (again.images, again.psfs) == (None, None)


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"images": np.zeros((3, 6, 5))}, "lacks the dataset frames"),
        ({"frames": np.zeros((3, 5, 7))}, r"frames must be \(images, masks, height, width\), got \(3, 5, 7\)"),
        ({"frames": np.full((3, 2, 5, 7), np.nan)}, "frames must be finite, got 210 NaN"),
        ({"frames": np.zeros((3, 2, 5, 7)), "images": np.zeros((2, 6, 5))}, r"images must be \(3, \.\.\., \.\.\.\)"),
        ({"frames": np.zeros((3, 2, 5, 7)), "images": np.full((3, 6, 5), 2.0)}, r"images must lie in \[0, 1\]"),
        (
            {"frames": np.zeros((3, 2, 5, 7)), "psfs": np.zeros((2, 7, 5))},
            r"psfs must be \(2, 5, 7\) .* got \(2, 7, 5\)",
        ),
        ({"frames": np.zeros((3, 2, 5, 7), dtype="S3")}, "frames must be a dataset of numbers"),
        ({"frames/0": np.zeros((3, 2, 5, 7))}, "frames must be a dataset of numbers"),
    ],
)
def test_measurements_of_another_kind_are_refused(arrays, message, tmp_path):
    write_arrays(tmp_path / "m.h5", arrays)
    with pytest.raises(ValueError, match=message) as error:
        read_measured(tmp_path / "m.h5")
    assert "\n" not in str(error.value)
    assert "m.h5" in str(error.value)


def test_what_is_no_hdf5_or_claims_10_gb_is_refused(tmp_path):
    (tmp_path / "text.h5").write_text("text")
    with pytest.raises(ValueError, match="cannot be read as HDF5"):
        read_measured(tmp_path / "text.h5")
    with pytest.raises(ValueError, match="does not exist"):
        read_measured(tmp_path / "none.h5")
    with h5py.File(tmp_path / "big.h5", "w") as file:
        file.create_dataset("frames", (1000, 10, 1000, 1000), "u1", chunks=True)
    with pytest.raises(ValueError, match="frames claims 10000 MB from 0 stored bytes"):
        read_measured(tmp_path / "big.h5")
    with h5py.File(tmp_path / "link.h5", "w") as file:
        file["frames"] = h5py.ExternalLink("big.h5", "/frames")
    with pytest.raises(ValueError, match="lacks the dataset frames"):
        read_measured(tmp_path / "link.h5")
