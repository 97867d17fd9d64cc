"""The unit boundary: quantities in, SI floats out."""

import pint
import pytest

from optics4f.units import engineering, to_si


@pytest.mark.parametrize(
    ("text", "unit", "wanted"),
    [
        ("532 nm", "m", 5.32e-7),
        ("12.5 um", "m", 1.25e-5),
        ("0.2 mm", "m", 2e-4),
        ("1 in", "m", 0.0254),
        ("3 ms", "s", 0.003),
        ("100 mW", "W", 0.1),
        ("1.2 kHz", "Hz", 1200.0),
    ],
)
def test_text_becomes_the_si_number_that_a_person_would_write(text, unit, wanted):
    assert to_si(text, unit) == wanted  # equal to the last bit: grids are compared by ==


def test_every_tenth_of_a_micrometre_is_the_nearest_float():
    assert [to_si(f"{k / 10} um", "m") for k in range(1, 300)] == [float(f"{k}e-7") for k in range(1, 300)]


def test_text_quantity_and_bare_number_agree():
    registry = pint.get_application_registry()
    assert to_si(8 * registry.um, "m") == to_si("8 um", "m") == to_si(8e-6, "m") == 8e-6
    assert to_si(2, "m") == 2.0


@pytest.mark.parametrize("text", ["532 kg", "8", "5 s"])
def test_a_quantity_of_another_dimension_is_refused_by_name(text):
    with pytest.raises(ValueError, match=r"^pitch must be convertible to m, got .*\.$"):
        to_si(text, "m", "pitch")


@pytest.mark.parametrize("text", ["eight um", "10 degC", "8 furlongish", "8 um um8 (", "", "8 /", "0x 1 m"])
def test_text_that_is_no_quantity_is_refused(text):
    with pytest.raises(ValueError, match="^wavelength must be"):
        to_si(text, "m", "wavelength")


def test_a_switch_is_not_a_length():
    with pytest.raises(TypeError, match=r"distance must be a number or a quantity in m, got True"):
        to_si(True, "m", "distance")


@pytest.mark.parametrize(
    ("value", "wanted"),
    [
        (8e-6, "8 um"),
        (5.32e-7, "532 nm"),
        (0.125, "125 mm"),
        (2.0, "2 m"),
        (-3.45e-6, "-3.45 um"),
        (0.0, "0 m"),
        (1200.0, "1.2 km"),
        (0.99999e-6, "1 um"),
        (float("inf"), "inf m"),
    ],
)
def test_a_length_is_shown_as_a_person_writes_it(value, wanted):
    assert engineering(value, "m") == wanted


def test_what_is_shown_reads_back_to_the_digits_shown():
    values = [m * 10.0**e for e in range(-14, 4) for m in (1.0, 2.345, 9.994, 9.9996)]
    for value in values:
        shown = engineering(value, "m")
        assert to_si(shown, "m") == pytest.approx(value, rel=5.1e-4)  # four digits: half of the last, at worst 1000
        assert 0.99 <= float(shown.split()[0]) <= 1000
