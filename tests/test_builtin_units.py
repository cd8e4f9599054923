"""`convert_units`: units as people say them, and numbers as they are said."""

from __future__ import annotations

import math
import sys

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import ToolError
from sayso.tools.builtin.convert_units import convert_units, spoken_amount
from sayso.tools.builtin.unit_names import read_unit, units


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "said"),
    [
        (2, "cups", "milliliters", "2 cups is about 473.2 milliliters."),
        (3, "teaspoons", "tablespoon", "3 teaspoons is 1 tablespoon."),
        (350, "fahrenheit", "celsius", "350 degrees Fahrenheit is about 176.7 degrees Celsius."),
        (-40, "degrees celsius", "°F", "-40 degrees Celsius is -40 degrees Fahrenheit."),
        (0, "centigrade", "fahrenheit", "0 degrees Celsius is 32 degrees Fahrenheit."),
        (11, "stone", "kilos", "11 stone is about 69.85 kilograms."),
        (1, "mile", "feet", "1 mile is 5280 feet."),
        (60, "miles per hour", "km/h", "60 miles per hour is about 96.56 kilometers per hour."),
        (5, "kilometers an hour", "mph", "5 kilometers per hour is about 3.11 miles per hour."),
        (30, "mpg", "liters per hundred kilometers", "30 miles per gallon is about 7.84 liters per 100 kilometers."),
        (8, "l/100km", "miles per gallon", "8 liters per 100 kilometers is about 29.4 miles per gallon."),
        (180, "cm", "feet and inches", "180 centimeters is 5 feet and 10.9 inches."),
        (182.88, "cm", "feet and inches", "182.88 centimeters is 6 feet."),
        (-0.5, "feet", "feet and inches", "-0.5 feet is minus 6 inches."),
        (5.9999, "feet", "feet and inches", "5.9999 feet is 6 feet."),
        (72, "kg", "stone and pounds", "72 kilograms is 11 stone and 4.7 pounds."),
        (8, "ounces", "ml", "8 fluid ounces is about 236.6 milliliters."),
        (8, "ounces", "grams", "8 ounces is about 226.8 grams."),
        (200, "calories", "kilojoules", "200 kilocalories is 836.8 kilojoules."),
        (3, "square feet", "square meters", "3 square feet is about 0.279 square meters."),
        (1, "cubic foot", "liters", "1 cubic foot is about 28.32 liters."),
        (3, "meters squared", "sq ft", "3 square meters is about 32.29 square feet."),
        (100, "megabits per second", "megabytes per second", "100 megabits per second is 12.5 megabytes per second."),
        (30, "psi", "bar", "30 pounds per square inch is about 2.07 bars."),
        (1, "gallon", "uk gallons", "1 gallon is about 0.833 imperial gallons."),
        (90, "minutes", "hours", "90 minutes is 1.5 hours."),
        (1, "light year", "miles", "1 light year is about 5.88 trillion miles."),
        (2, "斤", "公斤", "2 jin is 1 kilogram."),
        (3000, "square meters", "mu", "3000 square meters is 4.5 mu."),
        (5, "knots", "mph", "5 knots is about 5.75 miles per hour."),
    ],
)
def test_conversions(value: float, from_unit: str, to_unit: str, said: str) -> None:
    assert convert_units.speak is not None
    assert convert_units.speak(convert_units(value, from_unit, to_unit)) == said


@pytest.mark.parametrize(
    ("value", "from_unit", "to_unit", "error"),
    [
        (5, "dollars", "euros", "Money is not converted here"),
        (5, "pounds", "euros", "Money is not converted here"),
        (5, "$", "meters", "Money is not converted here"),
        (5, "pounds", "meters", "There is no way from pounds to meters: they measure different things"),
        (5, "bananas", "km", "'bananas' is not a unit"),
        (5, "", "km", "'' is not a unit"),
        (5, "degrees", "celsius", "Degrees of what"),
        (-300, "celsius", "kelvin", "colder than anything can be"),
        (0, "mpg", "l/100km", "0 miles per gallon has no value"),
        (20, "celsius", "fahrenheit and kelvin", "cannot be given in these units together"),
        (5, "meters", "inches and feet", "cannot be given in these units together"),
        (5, "meters", "yards, feet and inches", "cannot be given in these units together"),
        (5, "meters", "feet and pounds", "There is no way from feet to pounds"),
        (7, "celsius per hour", "fahrenheit", "is not a unit"),
        (1, "meter**9999999", "feet", "is not a unit"),
        (1, "__import__('os')", "feet", "is not a unit"),
    ],
)
def test_what_cannot_be_converted(value: float, from_unit: str, to_unit: str, error: str) -> None:
    with pytest.raises(ToolError, match=error.replace("*", r"\*")):
        convert_units(value, from_unit, to_unit)


@given(st.text(max_size=30) | st.text(st.sampled_from("aeilmnoprstkgcf /*^°23² "), max_size=15))
def test_any_text_is_a_unit_or_refused(said: str) -> None:
    try:
        assert read_unit(said).many
    except ToolError:
        pass


@given(st.floats(-1e12, 1e12))
def test_there_and_back(value: float) -> None:
    for one, other in (("miles", "kilometers"), ("kilograms", "stone"), ("liters", "imperial pints")):
        there = convert_units(value, one, other)
        back = convert_units(float(there.result.split()[0]), other, one)
        assert math.isclose(float(back.result.split()[0]), value, rel_tol=2e-5, abs_tol=1e-12)


@given(st.floats(-1e300, 1e300))
def test_what_is_spoken_is_near_the_amount(value: float) -> None:
    meter = read_unit("meter")
    words = spoken_amount(value, meter).removeprefix("about ").split()
    scale = {"million": 1e6, "billion": 1e9, "trillion": 1e12}.get(words[1], 1.0)
    scale = 10.0 ** int(words[-2]) if "power" in words else scale
    assert math.isclose(float(words[0]) * scale, value, rel_tol=6e-3, abs_tol=1e-300)


def test_without_pint_the_model_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "pint", None)
    with pytest.raises(ToolError, match="the package pint is not installed"):
        units.__wrapped__()  # the registry that the other tests share stays
