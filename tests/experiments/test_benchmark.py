"""The accuracy benchmark: what it measures on fields whose deviation is known, and optics4f against its target."""

import json
from dataclasses import replace

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from experiments import benchmark, benchmark_commands
from experiments.benchmark import GRID, WAIST, WAVELENGTH, accuracy_table, deviation, helmholtz_beam
from experiments.peers import PROPAGATORS, Propagator
from optics4f.profiles import gaussian_beam


def closed_form(data, wavelength, pitch, distance):
    return gaussian_beam(GRID, wavelength, WAIST, distance).numpy()


def pretending(change, equation="paraxial") -> Propagator:
    """The closed form, changed; installed under the name of a library that is always there."""
    return Propagator("numpy", "complex128", equation, "closed form", lambda *light: change(closed_form(*light)))


def raises(*light):
    raise RuntimeError("operator\n  does not exist")


OURS = [p for p in PROPAGATORS if p.library == "optics4f"]
LIMITS = {"complex64": 3e-7, "complex128": 1e-7}
# Whose kernel has single-precision phases, and in odak's case frequencies without a zero.
SINGLE_PHASE = {("odak", "complex64"), ("odak", "complex128"), ("torchoptics", "complex64")}


@pytest.mark.parametrize("distance", [0.1, 1.0])
@pytest.mark.parametrize("propagator", OURS, ids=lambda p: f"{p.precision} {p.call}")
def test_optics4f_propagates_a_beam_to_rounding(propagator, distance):
    measured = deviation(propagator, distance)
    single = propagator.precision == "complex64"
    assert measured.relative_l2 < (3e-7 if single else 2e-7)  # 1.7e-7 at 1 m is the paraxial reference's own
    assert measured.relative_l2_own_equation < (2e-7 if single else 1e-12)
    assert np.hypot(*measured.centroid_drift) < (1e-9 if single else 1e-15)
    assert measured.power == pytest.approx(1, abs=1e-6)
    assert measured.returned == propagator.precision


def test_the_beam_of_the_helmholtz_equation_is_its_angular_spectrum():
    waist, distance = 300e-6, 0.5
    fine = replace(GRID, shape=(1024, 1024))
    y, x = (axis.numpy() for axis in fine.coordinates())
    spectrum = np.fft.fft2(np.fft.ifftshift(np.exp(-(y**2 + x**2) / waist**2)))
    fy, fx = (axis.numpy() for axis in fine.frequencies())
    axial = np.sqrt(WAVELENGTH**-2 - fy**2 - fx**2) - 1 / WAVELENGTH
    wanted = np.fft.fftshift(np.fft.ifft2(spectrum * np.exp(2j * np.pi * distance * axial)))
    actual = helmholtz_beam(fine, WAVELENGTH, waist, distance)
    # The plain difference of wave numbers above keeps 2 pi 5e5 * 2**-53 * 1.9e6 = 1e-10 rad.
    np.testing.assert_allclose(actual, wanted, rtol=0, atol=5e-10)
    assert abs(actual - gaussian_beam(fine, WAVELENGTH, waist, distance).numpy()).max() > 1e-8


def test_a_global_factor_is_no_error_but_a_power():
    measured = deviation(pretending(lambda field: (0.6 + 0.2j) * field), 0.1)
    assert measured.relative_l2 < 1e-14
    assert measured.power == pytest.approx(0.4, rel=1e-8)


def test_a_shift_by_one_sample_is_a_drift_along_its_axis():
    measured = deviation(pretending(lambda field: np.roll(field, (2, -1), axis=(0, 1))), 0.1)
    assert measured.centroid_drift == pytest.approx((16e-6, -8e-6), rel=1e-6)


def test_the_wrong_sign_of_the_phase_is_an_error():
    # The overlap of a beam with its conjugate is 1 / sqrt(1 + (z / z_R)^2) in size.
    ratio = 1.0 * WAVELENGTH / (np.pi * WAIST**2)
    wanted = np.sqrt(1 - 1 / (1 + ratio**2))
    assert deviation(pretending(np.conj), 1.0).relative_l2 == pytest.approx(wanted, rel=1e-6)


def test_the_equation_decides_the_reference():
    measured = deviation(pretending(lambda field: field, "Helmholtz"), 1.0)
    assert measured.relative_l2 < 1e-14
    assert measured.relative_l2_own_equation == pytest.approx(1.7e-7, rel=0.05)


def test_a_missing_library_and_one_that_raises_are_reported_in_a_line():
    absent = Propagator("no-such-optics", "complex64", "Helmholtz", "nothing", closed_form)
    broken = Propagator("numpy", "complex64", "Helmholtz", "nothing", raises)
    rows = accuracy_table([0.1], [absent, broken, pretending(lambda field: field)])
    assert [row["status"] for row in rows] == ["not installed", "RuntimeError: operator does not exist", "measured"]
    assert [len(row["results"]) for row in rows] == [0, 0, 1]
    page = benchmark.accuracy_markdown(rows, {"torch": "2"})
    assert "| no-such-optics | complex64 | not installed |" in page
    assert "| numpy | complex64 | RuntimeError: operator does not exist |" in page


@pytest.mark.parametrize("propagator", [p for p in PROPAGATORS if p not in OURS], ids=lambda p: p.library + p.precision)
def test_each_library_is_called_in_its_own_units_and_sign(propagator):
    if propagator.version is None:
        pytest.skip(f"{propagator.library} is not installed")
    measured = deviation(propagator, 0.1)
    if (propagator.library, propagator.precision) in SINGLE_PHASE:
        assert 1e-3 < measured.relative_l2 < 0.1  # the wrong sign is 0.18, the wrong unit about 1
    else:
        assert measured.relative_l2_own_equation < LIMITS[propagator.precision]
        assert np.hypot(*measured.centroid_drift) < 1e-9
    assert measured.power == pytest.approx(1, abs=1e-3)


def test_the_command_writes_what_it_shows(tmp_path, monkeypatch):
    monkeypatch.setattr(benchmark, "accuracy_table", lambda: accuracy_table([0.1], OURS[:1]))
    app = typer.Typer()
    app.add_typer(benchmark_commands.app, name="benchmark")
    files = {"--json": tmp_path / "a.json", "--markdown": tmp_path / "a.md"}
    arguments = [str(part) for pair in files.items() for part in pair]
    result = CliRunner().invoke(app, ["benchmark", "accuracy", *arguments], env={"COLUMNS": "200"})
    assert result.exit_code == 0, result.output
    content = json.loads(files["--json"].read_text())
    error = content["rows"][0]["results"][0]["relative_l2"]
    assert error < 3e-7
    assert content["setting"]["shape"] == [512, 512]
    assert content["provenance"]["numpy"] == np.__version__
    for text in (result.output, files["--markdown"].read_text()):
        assert f"{error:.1e}" in text
        assert "100 mm" in text
    assert str(tmp_path) not in files["--json"].read_text() + files["--markdown"].read_text()
