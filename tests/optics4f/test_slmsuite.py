"""slmsuite shows our masks as they are, and its camera sees what we predict. The oracle is slmsuite, from PyPI."""

import math
import shutil
import sys
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
from PIL import Image

from optics4f.bench.slmsuite import SlmsuiteBench, to_slmsuite
from optics4f.bundle import Bundle, frames_of, verify_bundle, write_bundle
from optics4f.config import BenchSpecification, bench_from, read_toml
from optics4f.vendors import orientation_of, orientation_pattern, read_image_levels, with_corner_mark, write_image

CONFIG = """\
[bench]
wavelength = "532 nm"
[bench.object]
shape = [6, 5]
pitch = "32 um"
[bench.lens1]
focal_length = "100 mm"
[bench.slm]
device = "holoeye-eris-1.1"
pitch = "8 um"
fill_factor = 0.93
shape = [128, 192]
[bench.lens2]
focal_length = "150 mm"
[bench.camera]
device = "basler-aca2440-75um"
shape = [4, 7]
binning = 14
exposure = 0.5
dark_electrons = 3
"""
# The whole of a panel is lit only by a fine object.
HD = CONFIG.replace('"holoeye-eris-1.1"', '"holoeye-pluto-2.1"').replace("[128, 192]", "[1080, 1920]")
HD = (
    HD.replace("32 um", "3 um")
    .replace("shape = [6, 5]", "shape = [24, 20]\nsamples_per_pixel = 3")
    .replace("binning = 14", "binning = 1")
)


def specified(folder: Path, text: str = CONFIG) -> BenchSpecification:
    (folder / "bench.toml").write_text(text)
    return bench_from(read_toml(folder / "bench.toml")[0], source="bench.toml")


def random_levels(shape: tuple[int, ...], bits: int = 8) -> torch.Tensor:
    return torch.randint(0, 2**bits, shape, generator=torch.Generator().manual_seed(5))


def grating(shape: tuple[int, int], rows: int, columns: int, bits: int = 8) -> torch.Tensor:
    """Levels of a ramp of so many turns over the height and the width."""
    y, x = (torch.arange(n, dtype=torch.float64) / n for n in shape)
    return torch.round((rows * y[:, None] + columns * x) * 2**bits).long() % 2**bits


def circular(first: np.ndarray, second: np.ndarray, bits: int = 8) -> np.ndarray:
    half = 2 ** (bits - 1)
    return np.abs((first.astype(int) - second.astype(int) + half) % 2**bits - half)


def seen(bench: SlmsuiteBench, levels: torch.Tensor) -> np.ndarray:
    """What slmsuite's camera delivers for gray values that reach the panel untouched."""
    bench.slm.set_phase(bench.display(levels))
    return bench.camera.get_image().astype(int)


def test_the_objects_have_the_numbers_of_the_bench(tmp_path):
    bench = to_slmsuite(specified(tmp_path))
    assert bench.slm.shape == bench.camera.shape == (128, 192)
    np.testing.assert_allclose(bench.slm.pitch_um, 8)
    assert (bench.slm.wav_um, bench.slm.phase_scaling, bench.slm.bitdepth) == (pytest.approx(0.532), 1, 8)
    np.testing.assert_allclose(bench.camera.pitch_um, [0.532 * 150e3 / (192 * 8), 0.532 * 150e3 / (128 * 8)])
    # slmsuite knows one pitch, the geometric mean of the two; so is the focal length it infers.
    assert math.sqrt(np.prod(bench.fourier.get_effective_focal_length("mm"))) == pytest.approx(150, rel=1e-6)
    assert bench.camera.bitdepth == 12
    assert bench.not_carried == ("fill_factor",)


def test_the_far_field_is_that_of_slmsuite_within_a_count(tmp_path):
    bench = to_slmsuite(specified(tmp_path))
    levels = random_levels((128, 192))
    bench.expose(levels)
    frame, predicted = seen(bench, levels), bench.predicted(levels).numpy()
    assert 3000 < frame.max() < 4095  # neither dark nor saturated
    assert np.abs(frame - predicted).max() <= 1
    # By numpy alone, from the gray values.
    shown = np.exp(-2j * np.pi * bench.display(levels) / 256)
    spectrum = np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(shown), norm="ortho"))
    assert np.abs(frame - np.floor(bench.camera.gain * np.abs(spectrum) ** 2)).max() <= 1


@pytest.fixture(scope="module")
def hd(tmp_path_factory) -> tuple[Path, Bundle]:
    """A bundle of the whole of a 1920 x 1080 panel."""
    folder = tmp_path_factory.mktemp("hd")
    specification = specified(folder, HD)
    built = specification.build()
    levels = random_levels((1, 1080, 1920))
    built.slm.load_levels(levels)
    images = torch.rand(1, 24, 20, generator=torch.Generator().manual_seed(3))
    frames, noise_free = frames_of(built, specification, images, noise_seed=11)
    bundle = Bundle(levels, HD, images, frames, noise_free, noise_seed=11)
    write_bundle(folder / "masks.h5", bundle)
    return folder / "masks.h5", bundle


def test_a_bundle_of_1920_x_1080_arrives_pixel_by_pixel_and_its_far_field_within_a_count(hd, tmp_path):
    path, bundle = hd
    bench = to_slmsuite(path)
    levels = bundle.levels[0]
    bench.expose(levels)
    predicted, ours = bench.predicted(levels).numpy(), bench.display(levels)
    assert 3000 < predicted.max() < 4095

    bench.slm.load_phase(str(path))  # the file as it is
    assert np.array_equal(bench.slm.display, ours)
    assert np.abs(bench.camera.get_image().astype(int) - predicted).max() <= 1

    phase = bench.slm.phase.copy()
    bench.slm.set_phase(None)
    assert circular(bench.slm.set_phase(phase), ours).max() == 0  # float32 phases that no rounding tie is near
    assert np.abs(bench.camera.get_image().astype(int) - predicted).max() <= 1

    saved = bench.slm.save_phase(str(tmp_path))  # slmsuite's own file, and back
    bench.slm.set_phase(None)
    bench.slm.load_phase(saved)
    assert np.array_equal(bench.slm.display, ours)

    write_image(tmp_path / "mask.png", bench.panel, levels)  # a vendor's file, and back
    returned = torch.from_numpy(read_image_levels(tmp_path / "mask.png", bench.panel))
    assert np.abs(seen(bench, returned) - predicted).max() <= 1
    assert np.array_equal(bench.slm.display, ours)


def test_a_continuous_phase_is_off_by_one_level_at_rounding_ties_alone(tmp_path):
    bench = to_slmsuite(specified(tmp_path, HD))
    phase = 20 * torch.rand(1080, 1920, dtype=torch.float64, generator=torch.Generator().manual_seed(1)) - 10
    built = bench.specification.build(dtype=torch.complex128)
    built.slm.set_values(phase[None])
    theirs = bench.slm.set_phase(phase.numpy())
    off = circular(theirs, bench.display(built.slm.levels()[0]))
    assert off.max() <= 1
    # float32 phases of up to 10 rad are off by 2^-21 rad, 1e-5 levels on either side of a tie: 2e-5 of all pixels.
    assert (off > 0).mean() < 5e-5


def test_slmsuite_has_nothing_to_say_about_our_file_and_warns_of_a_changed_one(hd, tmp_path):
    path, _ = hd
    bench = to_slmsuite(path)

    def warned(file) -> bool:
        before = len(bench.slm.get_log())
        bench.slm.load_phase(str(file))
        said = "\n".join(bench.slm.get_log()[before:])
        assert "Loaded phase" in said
        return "does not match" in said

    assert not warned(path)
    other = shutil.copy(path, tmp_path / "changed.h5")
    with h5py.File(other, "r+") as file:
        file["display"][0, 0] += 5
    assert warned(other)


@pytest.mark.parametrize(("rows", "columns"), [(-7, 12), (7, -12), (5, 11)])
def test_a_blazed_mask_lands_at_the_predicted_corner(rows, columns, tmp_path):
    shape = (128, 192)
    levels = grating(shape, rows, columns)
    for flip_lr, flip_ud, turns in ((False, False, 0), (True, False, 0), (False, True, 0), (False, False, 1)):
        bench = to_slmsuite(
            specified(tmp_path), camera_flip_lr=flip_lr, camera_flip_ud=flip_ud, camera_quarter_turns=turns
        )
        bench.expose(levels)
        frame = seen(bench, levels)
        assert np.abs(frame - bench.predicted(levels).numpy()).max() <= 1
        order = np.array([[columns / (192 * bench.slm.pitch[0])], [rows / (128 * bench.slm.pitch[1])]])
        told = bench.fourier.kxyslm_to_ijcam(order).ravel()[::-1]  # slmsuite's own calibration
        wanted = np.zeros(shape)
        wanted[64 + rows, 96 + columns] = 1
        wanted = np.rot90(wanted, turns)
        wanted = wanted[:, ::-1] if flip_lr else wanted[::-1] if flip_ud else wanted
        corner = np.argwhere(wanted)[0]
        assert np.argwhere(frame == frame.max())[0].tolist() == corner.tolist()
        np.testing.assert_allclose(told, corner, atol=1e-6)


@pytest.mark.parametrize("flips", [(False, False), (True, False), (False, True)])
def test_marks_tell_on_slmsuites_panel_how_a_mask_arrived(flips, tmp_path):
    bench = to_slmsuite(specified(tmp_path))
    mounted = replace(bench.panel, flip_ud=flips[0], flip_lr=flips[1])
    pattern = with_corner_mark(orientation_pattern(mounted.shape) * 128, 200, size=8)
    write_image(tmp_path / "f.png", mounted, pattern)
    with Image.open(tmp_path / "f.png") as image:
        bench.slm.set_phase(np.asarray(image))
    arrived = 255 - bench.slm.display.astype(int)  # delay, as the panel's own corner sees it
    wanted = {(False, False): "as written", (True, False): "flipped up-down", (False, True): "flipped left-right"}
    assert orientation_of(arrived, pattern) == wanted[flips]
    corner = arrived[:: -1 if flips[0] else 1, :: -1 if flips[1] else 1]
    assert (corner[:8, :24] == 200).all()


def test_a_point_object_shows_the_same_corner_through_the_whole_4f(tmp_path):
    text = CONFIG.replace("shape = [6, 5]", "samples_per_pixel = 5\nshape = [1, 1]")
    text = text.replace("shape = [4, 7]", "samples_per_pixel = 5\nshape = [12, 16]")
    specification = specified(tmp_path, text)
    levels = grating((128, 192), -2, 5)
    built = specification.build()
    built.slm.load_levels(levels[None])
    frames, _ = frames_of(built, specification, torch.ones(1, 1, 1), noise_seed=0)
    row, column = divmod(frames[0, 0].argmax().item(), 16)
    order = [532e-9 * 0.15 / (n * 8e-6) for n in (128, 192)]
    pixel = 14 * 3.45e-6
    assert (row - 6, column - 8) == (round(-2 * order[0] / pixel), round(5 * order[1] / pixel))
    bench = to_slmsuite(specification)
    bench.expose(levels)
    assert np.unravel_index(seen(bench, levels).argmax(), (128, 192)) == (64 - 2, 96 + 5)


# --- what is not slmsuite's own rule: LUT, slope, flatness, other depths ---


def gamma_curve(bits: int = 8) -> list[float]:
    """A panel that reaches 1.1 turns, by a bent curve."""
    return [2.2 * math.pi * (level / (2**bits - 1)) ** 1.3 for level in range(2**bits)]


def with_lut(text: str, *, calibrated: bool, bits: int = 8) -> str:
    phases = ", ".join(f"{phase:.6f}" for phase in gamma_curve(bits))
    table = f"[bench.slm.effects.lut]\nphase = [{phases}]\ncalibrated = {str(calibrated).lower()}\n"
    return text.replace("[bench.lens2]", f"{table}[bench.lens2]")


@pytest.mark.parametrize("slope", [-1, 1])
@pytest.mark.parametrize(("calibrated", "bits"), [(True, 8), (False, 8), (True, 10)])
def test_a_panel_with_a_lut_shows_what_we_predict(slope, calibrated, bits, tmp_path):
    text = CONFIG.replace("fill_factor = 0.93", f"fill_factor = 1.0\nbit_depth = {bits}\ngray_slope = {slope}")
    bench = to_slmsuite(specified(tmp_path, with_lut(text, calibrated=calibrated, bits=bits)))
    phase = 6 * torch.rand(128, 192, dtype=torch.float64, generator=torch.Generator().manual_seed(2))
    built = bench.specification.build(dtype=torch.complex128)
    built.slm.set_values(phase[None])
    levels = built.slm.levels()[0]
    bench.expose(levels)
    theirs = bench.slm.set_phase(phase.numpy()).copy()
    # slmsuite looks a phase up in 65536 steps: at most the neighbour, and seldom.
    off = circular(theirs, bench.display(levels), bits)
    if calibrated:
        shown = np.array(gamma_curve(bits))[np.stack([bench.panel.levels(theirs), levels.numpy()])]
        assert np.abs(np.exp(1j * shown[0]) - np.exp(1j * shown[1]))[off > 0].max(initial=0) < 4 * math.pi / 2**bits
        assert (off > 0).mean() < 0.02
    else:
        assert off.max() <= 1
    frame, predicted = seen(bench, levels), bench.predicted(levels).numpy()
    assert np.abs(frame - predicted).max() <= 1
    even = np.exp(2j * np.pi * levels.numpy() / 2**bits)  # the table is felt
    nominal = np.abs(np.fft.fftshift(np.fft.fft2(np.fft.ifftshift(even), norm="ortho"))) ** 2
    assert np.abs(frame - np.floor(bench.camera.gain * nominal)).max() > 100


def test_a_bundle_for_a_lut_states_the_phases_of_the_lut(tmp_path):
    text = with_lut(CONFIG.replace("[128, 192]", "[24, 18]").replace("8 um", "16 um"), calibrated=True)
    built = specified(tmp_path, text).build()
    levels = random_levels((1, 24, 18))
    built.slm.load_levels(levels)
    images = torch.rand(1, 6, 5, generator=torch.Generator().manual_seed(3))
    frames, noise_free = frames_of(built, specified(tmp_path, text), images, noise_seed=11)
    write_bundle(tmp_path / "masks.h5", Bundle(levels, text, images, frames, noise_free, noise_seed=11))
    bundle = verify_bundle(tmp_path / "masks.h5")
    assert torch.equal(bundle.levels, levels)
    assert (bundle.attributes["lut_applied"], bundle.attributes["lut_name"]) == (True, "lut")
    bench = to_slmsuite(bundle)
    bench.slm.load_phase(str(tmp_path / "masks.h5"))
    wanted = np.mod(np.array(gamma_curve())[levels[0].numpy()], 2 * np.pi)
    np.testing.assert_allclose(bench.slm.phase, wanted, atol=1e-5)
    assert np.array_equal(bench.slm.display, bench.display(levels[0]))


def test_flatness_is_an_error_of_the_panel_and_is_corrected_once(tmp_path):
    text = CONFIG.replace("[bench.lens2]", "[bench.slm.effects]\nflatness = {4 = 2.0, 7 = 1.0}\n[bench.lens2]")
    bench = to_slmsuite(specified(tmp_path, text))
    levels = random_levels((128, 192))
    bench.expose(levels)
    frame = seen(bench, levels)
    assert np.abs(frame - bench.predicted(levels).numpy()).max() <= 1
    assert bench.slm.phase_correct is False  # the masks account for it
    bench.camera.gain /= 10_000
    flat = np.zeros((128, 192))
    bench.slm.set_phase(flat)
    aberrated = bench.camera.get_image()
    bench.slm.set_phase(flat, phase_correct=True)  # a mask of slmsuite's own, which does not
    corrected = bench.camera.get_image()
    assert corrected[64, 96] > 4.0 * aberrated.max() > 0


def test_a_smaller_used_area_is_lit_alone(tmp_path):
    text = CONFIG.replace('"holoeye-eris-1.1"', '"meadowlark-1920x1152"').replace("[128, 192]", "[100, 150]")
    bench = to_slmsuite(specified(tmp_path, text))
    assert bench.slm.shape == (1152, 1920)
    levels = random_levels((100, 150))
    bench.expose(levels)
    frame = seen(bench, levels)
    assert np.abs(frame - bench.predicted(levels).numpy()).max() <= 1
    assert bench.slm.source["amplitude_sim"].sum() == 100 * 150


def test_what_is_no_phase_panel_is_refused(tmp_path):
    text = CONFIG.replace('"holoeye-eris-1.1"', '"dlp9500"')
    with pytest.raises(ValueError, match=r"the SLM must be a phase panel for slmsuite's simulation, got"):
        to_slmsuite(specified(tmp_path, text))
    with pytest.raises(ValueError, match=r"none\.h5 does not exist"):
        to_slmsuite(tmp_path / "none.h5")


def test_a_missing_slmsuite_is_named_with_the_line_that_installs_it(tmp_path, monkeypatch):
    for name in [name for name in sys.modules if name.split(".")[0] == "slmsuite"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "slmsuite", None)  # as if it were not installed
    with pytest.raises(
        ImportError, match=r"slmsuite must be installed, got none. Run in the checkout: pip install '.\[bench\]'"
    ):
        to_slmsuite(specified(tmp_path))
