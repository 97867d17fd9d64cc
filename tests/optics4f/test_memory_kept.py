"""Transfer functions that are kept for the next call: the right one, only so many bytes, nothing that trains."""

import math

import pytest
import torch

from optics4f import memory, propagation
from optics4f.field import Field
from optics4f.grid import Grid
from optics4f.kept import Kept
from optics4f.memory import GIB, Need, TooLargeError
from optics4f.propagation import TRANSFER_FUNCTIONS, propagate

WAVELENGTH, GRID = 532e-9, Grid((24, 18), 8e-6)


@pytest.fixture(autouse=True)
def nothing_kept():
    TRANSFER_FUNCTIONS.clear()
    yield
    TRANSFER_FUNCTIONS.clear()


def noise(grid: Grid = GRID, seed: int = 0, dtype: torch.dtype = torch.complex128) -> Field:
    data = torch.randn(grid.shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))
    return Field(data, grid, WAVELENGTH)


@pytest.fixture
def built(monkeypatch):
    """Distances for which a transfer function was built."""
    found = []
    for name in ("angular_spectrum_transfer_function", "fresnel_transfer_function"):
        original = getattr(propagation, name)

        def build(grid, wavelength, distance, original=original, **options):
            found.append(distance)
            return original(grid, wavelength, distance, **options)

        build.__name__ = name
        monkeypatch.setattr(propagation, name, build)
    return found


@pytest.mark.parametrize("gradient", [False, True])
def test_the_same_propagation_builds_its_transfer_function_once(built, gradient):
    for seed in range(3):
        field = noise(seed=seed)
        field.data.requires_grad_(gradient)
        propagate(field, 1e-3, method="angular_spectrum")
    assert built == [1e-3]


CHANGES = [
    ("distance", {}, {"distance": 1.1e-3}),
    ("padding", {}, {"padding": 3}),
    ("method", {}, {"method": "fresnel"}),
    ("shift", {}, {"shift": (3e-5, 0.0)}),
    ("other shift", {"shift": (3e-5, 0.0)}, {"shift": (0.0, 3e-5)}),
    ("tilt", {}, {"tilt": (3e4, 0.0)}),
    ("refractive index", {}, {"refractive_index": 1.5}),
    ("wavelength", {}, {"wavelength": torch.tensor(633e-9, dtype=torch.float64)}),
    ("output", {}, {"output": Grid((40, 18), 8e-6)}),
    ("pitch", {}, {"grid": Grid((24, 18), 7e-6)}),
    ("type", {}, {"dtype": torch.complex64}),
]


def light(grid=GRID, dtype=torch.complex128, distance=1e-3, method="angular_spectrum", **options) -> torch.Tensor:
    return propagate(noise(grid, dtype=dtype), distance, method=method, override=True, **options).data


@pytest.mark.parametrize("case", CHANGES, ids=lambda case: case[0])
def test_what_a_transfer_function_depends_on_makes_another(case):
    """After a call with the one and a call with the other, each gives what it gives alone."""
    _, first, second = case
    alone = []
    for options in (first, second):
        TRANSFER_FUNCTIONS.clear()
        alone.append(light(**options))
    TRANSFER_FUNCTIONS.clear()
    for options, wanted in zip((first, second, first), (*alone, alone[0]), strict=True):
        assert light(**options).equal(wanted)
    assert alone[0].shape != alone[1].shape or not alone[0].equal(alone[1])


def test_a_distance_that_receives_a_gradient_is_not_kept(built):
    for _ in range(2):
        distance = torch.tensor(1e-3, dtype=torch.float64, requires_grad=True)
        propagate(noise(), distance, method="angular_spectrum").intensity.square().sum().backward()
        assert distance.grad != 0
    assert len(built) == 2
    assert TRANSFER_FUNCTIONS.bytes == 0


def test_light_seen_in_inference_mode_first_can_train_afterwards():
    with torch.inference_mode():
        seen = light()
    field = noise()
    field.data.requires_grad_()
    result = propagate(field, 1e-3, method="angular_spectrum")
    result.intensity.sum().backward()
    assert result.data.detach().equal(seen)
    assert field.data.grad.abs().max() > 0


def test_many_distances_hold_so_many_bytes_and_no_more(monkeypatch):
    window = 16 * 48 * 36  # bytes of one, complex128, padded to twice the width
    monkeypatch.setattr(TRANSFER_FUNCTIONS, "most", 3 * window)
    for k in range(20):
        light(distance=1e-3 + 1e-5 * k)
        assert TRANSFER_FUNCTIONS.bytes == min(k + 1, 3) * window


def test_a_large_window_is_not_kept(built, monkeypatch):
    monkeypatch.setattr(propagation, "KEPT", 48 * 36 - 1)
    batch = Field(noise().data.expand(2, -1, -1), GRID, WAVELENGTH)
    for _ in range(2):
        propagate(batch, 1e-3, method="angular_spectrum")
    assert len(built) == 2
    assert TRANSFER_FUNCTIONS.bytes == 0


def test_what_was_used_last_stays_and_what_is_too_large_is_not_kept():
    kept, made = Kept(100), []

    def get(key: str, numbers: int) -> torch.Tensor:
        return kept.get(key, lambda: made.append(key) or torch.zeros(numbers, dtype=torch.float32))

    get("a", 10), get("b", 10), get("a", 10), get("c", 10)  # 40 bytes each: b goes
    assert made == ["a", "b", "c"]
    get("a", 10), get("c", 10)
    assert made == ["a", "b", "c"]
    get("b", 10)
    assert made == ["a", "b", "c", "b"]
    assert get("large", 26).nbytes == 104
    assert kept.bytes == 80
    kept.clear()
    assert kept.bytes == 0


def test_what_is_kept_to_save_time_is_let_go_before_anything_is_refused(monkeypatch):
    light()
    held = TRANSFER_FUNCTIONS.bytes
    assert held > 0
    monkeypatch.setattr(memory, "available", lambda device: GIB - TRANSFER_FUNCTIONS.bytes)
    memory.require(Need("a test", 1, 1, lambda width, batch: GIB))
    assert TRANSFER_FUNCTIONS.bytes == 0
    light()
    with pytest.raises(TooLargeError):
        memory.require(Need("a test", 1, 1, lambda width, batch: GIB + 1))


def test_a_propagation_costs_about_its_transforms_and_not_its_transfer_function():
    """Counted, not timed: after the first call nothing of the size of the window goes through a square root."""
    roots, original = [], torch.sqrt

    def sqrt(x, *rest, **options):
        roots.append(x.numel())
        return original(x, *rest, **options)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch, "sqrt", sqrt)
        light()
        first = sum(roots)
        light()
    assert first >= 48 * 36 // 4
    assert sum(roots) - first < math.prod(GRID.shape) // 4
