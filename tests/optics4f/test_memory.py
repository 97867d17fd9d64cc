"""Memory: what is there, what a computation needs (against measured peaks), and a refusal that names what fits."""

import multiprocessing
import subprocess
import sys
import warnings
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest
import torch

from optics4f import memory
from optics4f.elements import SLM, Camera, Illumination, Lens
from optics4f.field import Field
from optics4f.filtering import PaddedFilter, padded_filter
from optics4f.fourf import FourF
from optics4f.grid import Grid
from optics4f.memory import GIB, Need, TooLargeError, available, control_groups, in_pieces, require
from optics4f.memory_needs import propagation_need, route_need
from optics4f.propagation import AngularSpectrumColumns, angular_spectrum_transfer_function, propagate
from optics4f.routes import AngularSpectrumRoute, FourierLensRoute, PSFRoute

WAVELENGTH, PITCH = 532e-9, 8e-6


def noise(*shape: int, seed: int = 0, dtype: torch.dtype = torch.complex128) -> torch.Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


# --- transfer functions in strips ---


def plainly(grid: Grid, distance: float, shift=(0.0, 0.0), tilt=(0.0, 0.0)) -> torch.Tensor:
    """The whole at once, as autograd builds it for a distance that receives a gradient."""
    distance = torch.tensor(distance, dtype=torch.float64, requires_grad=True)
    options = {"shift": shift, "tilt": tilt, "dtype": torch.complex128}
    return angular_spectrum_transfer_function(grid, WAVELENGTH, distance, **options).detach()


@pytest.mark.parametrize("shape", [(10, 14), (11, 9), (8, 7), (1, 6), (5, 1), (2, 2)])
@pytest.mark.parametrize("options", [{}, {"shift": (3e-5, -1e-5)}, {"tilt": (4e4, -9e4)}])
@pytest.mark.parametrize("width", [1, 3, 100])
def test_columns_of_a_transfer_function_are_those_of_the_whole(shape, options, width):
    grid = Grid(shape, PITCH)
    columns = AngularSpectrumColumns(grid, WAVELENGTH, 2e-4, dtype=torch.complex128, **options)
    found, times = torch.zeros(shape, dtype=torch.complex128), torch.zeros(shape[1])
    for part, factor in columns.strips(width):
        assert part.stop - part.start <= width
        assert factor.shape == (part.stop - part.start, shape[0])
        found[:, part], times[part] = factor.mT, times[part] + 1
    assert times.eq(1).all()
    torch.testing.assert_close(found, plainly(grid, 2e-4, **options), rtol=0, atol=1e-12)


@pytest.mark.parametrize("options", [{}, {"shift": (3e-5, -1e-5)}])
@pytest.mark.parametrize("adjoint", [False, True])
def test_a_filter_in_strips_is_that_of_the_whole_plane(options, adjoint, monkeypatch):
    """Blocks of one or two lines, an odd window, an output of another shape."""
    monkeypatch.setattr("optics4f.filtering.STRIP", 2)
    monkeypatch.setattr("optics4f.filtering.NARROWEST", 2)
    grid = Grid((23, 18), PITCH)
    data, whole = noise(1, 9, 7), plainly(grid, 2e-4, **options)
    padded = torch.zeros(1, 23, 18, dtype=torch.complex128)
    padded[:, 11 - 4 : 11 + 5, 9 - 3 : 9 + 4] = data
    wanted = torch.fft.ifft2(torch.fft.fft2(padded) * (whole.conj() if adjoint else whole))
    wanted = wanted[:, 11 - 5 : 11 + 5, 9 - 2 : 9 + 3]
    columns = AngularSpectrumColumns(grid, WAVELENGTH, 2e-4, dtype=torch.complex128, **options)
    for transfer in (columns, whole, whole.mT.contiguous().mT):
        actual = padded_filter(data, transfer, (10, 5), adjoint=adjoint)
        torch.testing.assert_close(actual, wanted, rtol=1e-12, atol=1e-13)


def test_a_filter_in_strips_passes_gradcheck_twice():
    columns = AngularSpectrumColumns(Grid((11, 9), PITCH), WAVELENGTH, 2e-4, dtype=torch.complex128)
    data = noise(1, 5, 3).requires_grad_()
    assert torch.autograd.gradcheck(lambda x: PaddedFilter.apply(x, columns, (4, 6)), data)
    assert torch.autograd.gradgradcheck(lambda x: PaddedFilter.apply(x, columns, (4, 6)), data)


@pytest.mark.parametrize("kept", [0, 2**40], ids=["made again for the gradient", "kept for the gradient"])
def test_one_plane_gives_the_light_and_gradient_of_a_batch(kept, monkeypatch):
    monkeypatch.setattr("optics4f.propagation.KEPT", kept)
    grid, weights = Grid((21, 16), PITCH), noise(21, 16, seed=3)
    data = noise(2, 21, 16)
    alone, together = data.clone().requires_grad_(), data.clone().requires_grad_()
    options = {"method": "angular_spectrum", "override": True}
    one = torch.stack([propagate(Field(d, grid, WAVELENGTH), 1e-3, **options).data for d in alone])
    both = propagate(Field(together, grid, WAVELENGTH), 1e-3, **options).data
    torch.testing.assert_close(one, both, rtol=1e-12, atol=1e-13)
    for light in (one, both):
        light.backward(weights.expand(2, -1, -1))
    torch.testing.assert_close(alone.grad, together.grad, rtol=1e-12, atol=1e-13)


# --- pieces of a batch ---


def test_pieces_give_the_light_and_gradients_of_the_batch():
    bench, images = small_bench(2), torch.rand(5, 1, 6, 8, generator=torch.Generator().manual_seed(0))
    route = FourierLensRoute(bench, override=("envelope of the SLM's samples",))
    found = []
    for size in (5, 2, 9):
        bench.slm.values.grad = None
        light = in_pieces(lambda some: route(some).intensity, images, size)
        light.square().sum().backward()
        found.append((light.detach(), bench.slm.values.grad))
        with torch.no_grad():
            dark = in_pieces(lambda some: route(some).intensity, images, size)
        torch.testing.assert_close(dark, light.detach(), rtol=1e-5, atol=0)
    whole = route(images).intensity
    for light, gradient in found:
        torch.testing.assert_close(light, whole.detach(), rtol=1e-5, atol=1e-5 * whole.max().item())
        torch.testing.assert_close(gradient, found[0][1], rtol=1e-4, atol=1e-5 * found[0][1].abs().max().item())


def test_pieces_have_a_size():
    with pytest.raises(ValueError, match="size must be at least 1, got 0"):
        in_pieces(torch.square, torch.ones(3), 0)


# --- what is there ---


def folder_of(path, **files: str):
    path.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (path / name.replace("__", ".")).write_text(text)


def test_the_tightest_control_group_of_version_2_counts_and_idle_files_are_free(tmp_path):
    (tmp_path / "cgroup").write_text("0::/jobs/mine\n")
    folder_of(tmp_path / "fs/jobs", memory__max="1000\n", memory__current="900\n", memory__stat="inactive_file 250\n")
    folder_of(tmp_path / "fs/jobs/mine", memory__max="max\n", memory__current="100\n")
    assert control_groups(tmp_path / "fs", tmp_path / "cgroup") == [350]


def test_a_control_group_of_version_1_and_that_of_a_container_count(tmp_path):
    (tmp_path / "cgroup").write_text("5:cpu,cpuacct:/a\n4:memory:/outside/id\n0::/\n")
    v1 = {"memory__limit_in_bytes": "700", "memory__usage_in_bytes": "300"}
    folder_of(tmp_path / "fs/memory", **v1, memory__stat="cache 9\ntotal_inactive_file 50\n")
    assert control_groups(tmp_path / "fs", tmp_path / "cgroup") == [450]
    assert control_groups(tmp_path / "none", tmp_path / "cgroup") == []


def test_a_limit_of_the_control_group_is_what_is_available(monkeypatch):
    monkeypatch.setattr(memory, "control_groups", lambda: [12345])
    monkeypatch.setattr(memory, "_idle", lambda: 0)
    assert available() == 12345
    monkeypatch.setattr(memory, "_idle", lambda: 5)
    assert available() == 12350


def in_a_process(program: str) -> str:
    """What it prints; the memory that tests before this one left would be lent again."""
    return subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.strip()


def test_what_lies_free_between_blocks_in_use_is_not_available():
    """No large tensor fits there: large ones are mapped, and need room of their own."""
    program = """
import torch
from optics4f import memory
before, held = memory._idle(), [torch.ones(2**14) for _ in range(1024)]  # blocks of 64 KiB: of the heap
del held[::2]  # every second one, so that nothing can be given back
print(memory._idle() - before)
"""
    assert int(in_a_process(program)) < 2**20


def test_the_free_end_of_the_heap_is_available():
    program = """
import ctypes
from optics4f import memory
library = ctypes.CDLL(None)
library.malloc.restype, library.free.argtypes = ctypes.c_void_p, [ctypes.c_void_p]
library.mallopt(-1, 2**30)  # M_TRIM_THRESHOLD: the C library keeps what is freed
blocks, before = [0] * 512, memory._idle()
for n in range(512):
    blocks[n] = library.malloc(2**16)
for block in blocks:
    library.free(block)
print(memory._idle() - before if memory._idle() else "silent")
"""
    found = in_a_process(program)
    if found == "silent":
        pytest.skip("the C library does not tell")
    assert 24 * 2**20 < int(found) < 40 * 2**20


def test_what_lies_free_is_given_back_before_anything_is_refused():
    """Of 64 MiB in blocks of 64 KiB every second one is freed: their pages go back."""
    program = """
import torch
from optics4f import memory
from pathlib import Path
resident = lambda: 4096 * int(Path("/proc/self/statm").read_text().split()[1])
held = [torch.ones(2**14) for _ in range(1024)]
start = resident()
memory.control_groups = lambda: [2**28 + start - resident()]
del held[::2]
need = memory.Need("a test", 1, 1, lambda width, batch: 2**28 + 24 * 2**20)
assert memory.available() < need.bytes, memory.available()
memory.require(need)
print("went through")
"""
    assert in_a_process(program) == "went through"


def test_what_is_freed_and_cannot_be_used_is_no_reason_to_start():
    """A limit of address space: fragments count in it, and a large tensor beside them does not fit."""
    program = """
import resource, torch
from pathlib import Path
from optics4f import memory
held = [torch.ones(2**18 + n % 7) for n in range(400)]  # 400 MiB
del held[::2]
taken = 4096 * int(Path("/proc/self/statm").read_text().split()[0])
resource.setrlimit(resource.RLIMIT_AS, (taken + 2**28,) * 2)
try:
    memory.require(memory.Need("a test", 1, 1, lambda width, batch: 2**28 + 100 * 2**20))
except memory.TooLargeError:
    print("refused")
"""
    assert in_a_process(program) == "refused"


# --- the refusal ---


def test_what_does_not_fit_is_refused_with_the_batch_that_does(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10 * GIB)
    need = Need("a test", 100, 64, lambda width, batch: batch * width**2 * GIB // 10**4)
    with pytest.raises(TooLargeError, match=r"a test must fit .* needs 64 GiB, got 10 GiB .* at most 10 at a time"):
        require(need)
    require(Need("a test", 100, 10, need.bytes_at))
    with pytest.raises(TooLargeError, match=r"needs 11 GiB, got 10 GiB"):
        require(Need("a test", 100, 11, need.bytes_at))


def test_the_batch_that_is_proposed_leaves_room_for_the_results_of_all(monkeypatch):
    """1 GiB each to compute, and a quarter of it stays: 10 GiB hold 16 results, 4 GiB, and 6 at work."""
    monkeypatch.setattr(memory, "available", lambda device: 10 * GIB)
    need = Need("a test", 1, 16, lambda width, batch: batch * GIB, lambda width, batch: batch * GIB // 4)
    with pytest.raises(TooLargeError, match="Use at most 6 at a time: optics4f.memory.in_pieces"):
        require(need)
    assert [need.largest_piece(room * GIB) for room in (2, 4, 5, 10)] == [0, 0, 1, 6]


def test_a_batch_whose_results_do_not_fit_wants_a_loss_for_each_piece(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10 * GIB)
    need = Need("a test", 1, 64, lambda width, batch: batch * GIB, lambda width, batch: batch * GIB // 4)
    with pytest.raises(TooLargeError, match="at most 10 at a time, each with a loss .* the results of all 64 do not"):
        require(need)


def test_a_plane_too_large_is_refused_with_the_width_that_fits(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 10 * GIB)
    need = Need("a test", 1000, 2, lambda width, batch: batch * width**2 * GIB // 10**4)
    with pytest.raises(TooLargeError, match="one at a time and planes of at most 316 samples instead of 1000"):
        require(need)
    with pytest.raises(MemoryError):
        require(need)


def test_the_largest_that_fits_may_be_more_than_was_asked_for():
    need = Need("a test", 10, 2, lambda width, batch: batch * width**2)
    assert need.largest_batch(1050) == 10
    assert need.largest_width(1050) == 32
    assert need.largest_width(1050, batch=2) == 22
    assert need.largest_batch(99) == 0


def test_nothing_is_refused_where_the_system_does_not_tell(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: None)
    require(Need("a test", 1, 1, lambda width, batch: 2**60))


def test_a_propagation_that_does_not_fit_is_refused_before_it_starts(monkeypatch):
    monkeypatch.setattr(memory, "available", lambda device: 2**28)
    field = Field(
        torch.zeros(1, 1, dtype=torch.complex64).expand(40, 2048, 2048), Grid((2048, 2048), PITCH), WAVELENGTH
    )
    with pytest.raises(TooLargeError, match="propagation of 40 x 2048 x 2048 samples by angular_spectrum, forward"):
        propagate(field, 0.05)


@pytest.mark.parametrize("kind", [AngularSpectrumRoute, FourierLensRoute, PSFRoute])
def test_a_need_grows_with_the_batch_the_masks_and_the_gradient(kind):
    images = torch.zeros(4000, 1, 6, 8)
    options = {"window": (200, 190)} if kind is AngularSpectrumRoute else {}
    overrides = tuple(check.quantity for check in kind.sampling(small_bench(2), **options).checks)
    few, many = (kind(small_bench(masks), override=overrides, **options) for masks in (2, 8))
    base = route_need(few, images, gradient=False)
    assert route_need(few, images).bytes > base.bytes
    assert route_need(many, images, gradient=False).bytes > base.bytes
    assert base.bytes_at(base.width, 8000) > base.bytes
    assert base.bytes_at(2 * base.width, 4000) > base.bytes
    with torch.no_grad():
        assert route_need(few, images).bytes == base.bytes


def small_bench(masks: int) -> FourF:
    return FourF(
        Illumination((6, 8), PITCH, WAVELENGTH),
        Lens(0.01),
        SLM(Grid((20, 16), PITCH), masks=masks, bit_depth=None),
        Lens(0.01),
        Camera((6, 8), PITCH),
        samples_per_camera_pixel=1,
    )


# --- against measured peaks ---


def resident() -> int:
    """Bytes of this process in memory; its high-water mark starts anew."""
    Path("/proc/self/clear_refs").write_text("5")
    return status("VmRSS:")


def high_water() -> int:
    return status("VmHWM:")


def status(entry: str) -> int:
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * int(next(line.split()[1] for line in lines if line.startswith(entry)))


def propagation_peak(shape, batch, method, gradient, parameters, scale, dtype) -> tuple[int, int]:
    """Need and measured peak of a fresh process: high-water mark of the resident memory, less what was resident."""
    torch.set_num_threads(1)
    grid, distance = Grid(shape, PITCH), max(shape) * PITCH**2 / WAVELENGTH
    output = Grid(shape, scale * PITCH)
    start = Grid((64, 32), PITCH)
    propagate(Field(noise(64, 32, dtype=dtype), start, WAVELENGTH), 1e-3, method=method, override=True)
    data = noise(batch, *shape, dtype=dtype).requires_grad_(gradient and not parameters)
    distance = torch.tensor(distance, dtype=torch.float64, requires_grad=True) if parameters else distance
    need = propagation_need(
        grid, output, method=method, batch=batch, gradient=gradient, parameters=parameters, dtype=dtype
    )
    before = resident()
    light = propagate(Field(data, grid, WAVELENGTH), distance, method=method, output=output, override=True).data
    if gradient:
        light.backward(torch.ones_like(light))
    return need.bytes, high_water() - before


PEAKS = [
    ((2048, 1536), 1, "angular_spectrum", False, False, 1, torch.complex64),
    ((2048, 1536), 1, "angular_spectrum", True, False, 1, torch.complex64),
    ((1024, 1536), 4, "angular_spectrum", True, False, 1, torch.complex64),
    ((768, 1024), 1, "angular_spectrum", True, True, 1, torch.complex128),
    ((768, 1024), 3, "angular_spectrum", False, False, 1.5, torch.complex64),
    ((1536, 2048), 2, "fresnel_transform", False, False, 1, torch.complex64),
    ((1024, 1536), 3, "fresnel_transform", True, False, 1, torch.complex64),
    ((768, 1024), 2, "rayleigh_sommerfeld", False, False, 1, torch.complex64),
    ((768, 1024), 2, "fresnel", False, False, 1, torch.complex64),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the high-water mark")
@pytest.mark.parametrize("case", PEAKS, ids=lambda case: " ".join(map(str, case)))
def test_the_need_of_a_propagation_is_its_measured_peak(case):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        need, peak = pool.submit(propagation_peak, *case).result()
    assert 1 / 1.3 < need / peak < 1.3


def bench_of(n: int, masks: int) -> FourF:
    """n x n samples of 8 um in every plane, transforms of n x n from one to the next."""
    lens = Lens(n * PITCH**2 / WAVELENGTH)
    slm = SLM(Grid((n, n), PITCH), masks=masks, bit_depth=None)
    camera = Camera((n - 1, n), PITCH)
    return FourF(Illumination((n, n), PITCH, WAVELENGTH), lens, slm, lens, camera, samples_per_camera_pixel=1)


def narrow_bench(masks: int) -> FourF:
    """32 x 32 logical pixels through 1024 x 768 SLM pixels."""
    return FourF(
        Illumination((32, 32), PITCH, WAVELENGTH, pixels_per_logical=4),
        Lens("200 mm"),
        SLM(Grid((1024, 768), PITCH), masks=masks, bit_depth=8),
        Lens("200 mm"),
        Camera((32, 32), 4 * PITCH),
        samples_per_camera_pixel=5,
    )


def route_peak(name: str, n: int, batch: int, masks: int, gradient: bool) -> tuple[int, int]:
    """Need and measured peak of two steps in a fresh process."""
    torch.set_num_threads(1)
    warnings.simplefilter("ignore")
    bench = bench_of(n, masks) if n else narrow_bench(masks)
    kind = {"propagation": AngularSpectrumRoute, "lens": FourierLensRoute, "psf": PSFRoute}[name]
    options = {"window": (n, n)} if name == "propagation" else {}
    checks = kind.sampling(bench, **options).checks
    failing = tuple(check.quantity for check in checks if check.verdict in ("refused", "warning"))
    route = kind(bench, override=failing, **options)
    images = torch.rand(batch, 1, *bench.illumination.shape, generator=torch.Generator().manual_seed(0))
    torch.fft.fft2(noise(2, 64, 64, dtype=torch.complex64))
    need = route_need(route, images, gradient=gradient)
    before = resident()
    for _ in range(2):
        bench.slm.values.grad = None
        with torch.set_grad_enabled(gradient):
            light = route(images).intensity
            if gradient:
                light.square().sum().backward()
    return need.bytes, high_water() - before


ROUTE_PEAKS = [
    ("propagation", 1024, 1, 1, True),
    ("propagation", 768, 4, 1, True),
    ("propagation", 1024, 1, 1, False),
    ("lens", 1024, 4, 1, True),
    ("lens", 1024, 2, 4, True),
    ("lens", 1024, 8, 1, False),
    ("lens", 0, 64, 2, True),
    ("psf", 0, 8, 16, True),
    ("psf", 0, 64, 8, True),
]


@pytest.mark.slow
@pytest.mark.skipif(not Path("/proc/self/clear_refs").exists(), reason="Linux tells the high-water mark")
@pytest.mark.parametrize("case", ROUTE_PEAKS, ids=lambda case: " ".join(map(str, case)))
def test_the_need_of_a_route_is_its_measured_peak(case):
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        need, peak = pool.submit(route_peak, *case).result()
    assert 1 / 1.3 < need / peak < 1.3
