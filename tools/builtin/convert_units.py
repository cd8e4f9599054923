"""`convert_units`: from one unit of measure to another, with pint."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from typing import Annotated

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.tools.builtin.unit_names import Unit, is_money, read_unit, units
from sayso.tools.tool import tool

DIGITS = 6
"""Significant digits of the result that the model is shown."""
_SCALES = ((1e12, " trillion"), (1e9, " billion"), (1e6, " million"))


class Conversion(BaseModel):
    """A quantity in another unit.

    Attributes:
        given: Such as "5 miles".
        result: Such as "8.04672 kilometers".
        spoken: Such as "about 8.05 kilometers"; the model is shown ``result``.
    """

    given: str
    result: str
    spoken: str = Field(exclude=True)


@tool(
    effect="pure",
    say="{given} is {spoken}.",
    filler="Let me convert that.",
    examples={
        "how many milliliters are two cups": {"value": 2, "from_unit": "cups", "to_unit": "milliliters"},
        "what is 350 Fahrenheit in Celsius": {"value": 350, "from_unit": "fahrenheit", "to_unit": "celsius"},
        "how tall is 180 centimeters in feet and inches": {
            "value": 180,
            "from_unit": "centimeters",
            "to_unit": "feet and inches",
        },
    },
)
def convert_units(
    value: Annotated[float, Field(ge=-1e15, le=1e15)],
    from_unit: Annotated[str, Field(min_length=1)],
    to_unit: Annotated[str, Field(min_length=1)],
) -> Conversion:
    """Convert a measure to another unit: length, weight, volume, temperature, speed, area, energy, data. Not money.

    Args:
        value: How much of the first unit.
        from_unit: The unit it is in, such as "cups" or "miles per hour".
        to_unit: The unit that is wanted.
    """
    if is_money(f"{from_unit} {to_unit}"):
        raise ToolError("Money is not converted here: rates change every day.", "Search the web for the rate.")
    source = read_unit(_fluid(from_unit, to_unit))
    names = re.split(r"\s+and\s+|\s*,\s*", to_unit.strip())
    targets = [read_unit(_fluid(name, from_unit)) for name in names]
    amount = _convert(value, source, targets[0])
    given = f"{_written(value)} {source.one if value == 1 else source.many}"
    if len(targets) > 1:
        result = spoken = _in_two(amount, targets)
    else:
        result = f"{_written(amount)} {_name(amount, targets[0])}"
        spoken = spoken_amount(amount, targets[0])
    return Conversion(given=given, result=result, spoken=spoken)


def _fluid(said: str, other: str) -> str:
    """Ounces of what is measured by volume are fluid ounces."""
    if said.strip().casefold() not in ("ounce", "ounces", "oz"):
        return said
    try:
        volume = read_unit(other).quantity.check("[volume]")
    except ToolError:
        return said
    return "fluid ounces" if volume else said


def _convert(value: float, source: Unit, target: Unit) -> float:
    """``value`` of ``source`` in ``target``; fuel consumption turns over into distance by fuel and back.

    Raises:
        ToolError: The units measure different things, or there is no such temperature.
    """
    # not `value * unit`: a temperature has an offset, and multiplies nothing
    quantity = units().Quantity(value * source.quantity.magnitude, source.quantity.units)
    if quantity.check("[temperature]") and quantity.to("kelvin").magnitude < -1e-9:
        raise ToolError(f"{_written(value)} {source.many} is colder than anything can be.")
    turns_over = not quantity.dimensionless and quantity.check(1 / target.quantity.dimensionality)
    if turns_over and not value:
        raise ToolError(f"0 {source.many} has no value in {target.many}.")
    try:
        found = (1 / quantity if turns_over else quantity).to(target.quantity.units)
    except TypeError:  # pint's DimensionalityError is one
        raise ToolError(
            f"There is no way from {source.many} to {target.many}: they measure different things.",
            "Ask the user which units are meant.",
        ) from None
    return float(found.magnitude) / float(target.quantity.magnitude)


def _in_two(amount: float, targets: Sequence[Unit]) -> str:
    """Such as "5 feet and 10.9 inches"; ``amount`` is in the first unit.

    Raises:
        ToolError: These are not two units of which the first is the larger one.
    """
    large, small = targets[0], targets[1]
    in_large = _convert(1, large, small)
    if len(targets) > 2 or in_large <= 1 or large.quantity.check("[temperature]"):
        raise ToolError("The result cannot be given in these units together.", "Convert to one unit at a time.")
    whole = math.trunc(abs(amount))
    rest = round((abs(amount) - whole) * in_large, 1)
    if rest >= round(in_large, 6):
        whole, rest = whole + 1, 0.0
    parts = [f"{whole} {_name(whole, large)}"] if whole or not rest else []
    parts += [f"{_written(rest)} {_name(rest, small)}"] if rest else []
    return ("minus " if amount < 0 and (whole or rest) else "") + " and ".join(parts)


def spoken_amount(amount: float, unit: Unit) -> str:
    """With as many digits as one would say, and "about" where that rounds."""
    size = abs(amount)
    if size and not 1e-4 <= size < 1e15:
        digits, _, power = f"{amount:.2e}".partition("e")
        return f"about {float(digits):g} times 10 to the power of {int(power)} {unit.many}"
    scale, word = next((pair for pair in _SCALES if size >= pair[0]), (1, ""))
    scaled = amount / scale
    places = _places(abs(scaled))
    rounded = round(scaled, places)
    about = "" if math.isclose(rounded, scaled, rel_tol=1e-9, abs_tol=1e-12) else "about "
    digits = f"{rounded:.{places}f}"
    digits = digits.rstrip("0").rstrip(".") if "." in digits else digits
    return f"{about}{digits}{word} {_name(rounded, unit)}"


def _places(size: float) -> int:
    """Decimals: two or three digits that count."""
    if size >= 1:
        return 0 if size >= 1000 else 1 if size >= 100 else 2
    return 2 - math.floor(math.log10(size)) if size else 0


def _name(amount: float, unit: Unit) -> str:
    return unit.one if amount == 1 else unit.many


def _written(value: float) -> str:
    if value == int(value) and abs(value) < 1e15:
        return str(int(value))
    text = f"{value:.{DIGITS}g}"
    return text if "e" in text else text.rstrip("0").rstrip(".") if "." in text else text
