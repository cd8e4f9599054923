"""Units of measure as people say them, as units of pint with their names in singular and plural.

Pint's own parser is never given what was said: it reads arbitrary expressions, knows every prefix on every unit, and
takes "cal" and "C" for what no speaker means by them. What is not in the tables is asked of pint as one word.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sayso.errors import ToolError

if TYPE_CHECKING:
    import pint

_ALIASES = """
degC | degree Celsius | degrees Celsius: c, celsius, centigrade, °c, ℃, 摄氏度
degF | degree Fahrenheit | degrees Fahrenheit: f, fahrenheit, °f, ℉, 华氏度
kelvin | kelvin | kelvin: k, kelvin, kelvins
degree | degree | degrees: angular degree, degree of arc, arc degree
meter | meter | meters: m, metre, 米, 公尺
kilometer | kilometer | kilometers: km, kms, kilometre, klick, k m, 公里, 千米
centimeter | centimeter | centimeters: cm, centimetre, 厘米
millimeter | millimeter | millimeters: mm, millimetre, 毫米
foot | foot | feet: ft, foot, feet, ', 英尺
inch | inch | inches: in, inch, ", 英寸
yard | yard | yards: yd, yds
mile | mile | miles: mi, statute mile, 英里
nautical_mile | nautical mile | nautical miles: nmi, sea mile
light_year | light year | light years: lightyear, ly
gram | gram | grams: g, gramme, 克
kilogram | kilogram | kilograms: kg, kgs, kilo, kilogramme, 公斤, 千克
pound | pound | pounds: lb, lbs, pound, pound mass, 磅
ounce | ounce | ounces: oz, ounce, 盎司
stone | stone | stone: st, stone, stones
short_ton | short ton | short tons: ton, us ton, short ton
long_ton | long ton | long tons: long ton, imperial ton
metric_ton | metric ton | metric tons: t, tonne, metric ton, 吨
0.5*kilogram | jin | jin: jin, catty, 斤
liter | liter | liters: l, litre, 升
milliliter | milliliter | milliliters: ml, mls, millilitre, cc, 毫升
deciliter | deciliter | deciliters: dl, decilitre
cup | cup | cups: us cup
tablespoon | tablespoon | tablespoons: tbsp, tbs, table spoon
teaspoon | teaspoon | teaspoons: tsp, tea spoon
fluid_ounce | fluid ounce | fluid ounces: fl oz, floz, fluid oz
imperial_fluid_ounce | imperial fluid ounce | imperial fluid ounces: uk fluid ounce, british fluid ounce
pint | pint | pints: us pint
imperial_pint | imperial pint | imperial pints: uk pint, british pint
quart | quart | quarts: qt, us quart
gallon | gallon | gallons: gal, us gallon
imperial_gallon | imperial gallon | imperial gallons: uk gallon, british gallon
mile/hour | mile per hour | miles per hour: mph
kilometer/hour | kilometer per hour | kilometers per hour: kph, kmh, kmph, km/h
meter/second | meter per second | meters per second: mps
mile/gallon | mile per gallon | miles per gallon: mpg, us mpg, miles per us gallon
mile/imperial_gallon | mile per imperial gallon | miles per imperial gallon: uk mpg, imperial mpg, mpg uk
foot**2 | square foot | square feet: sq ft, sqft
mile**2 | square mile | square miles: sq mi
meter**2 | square meter | square meters: sqm, sq m, 平方米
kilometer**2 | square kilometer | square kilometers: sq km, 平方公里
hectare | hectare | hectares: ha, 公顷
acre | acre | acres: acres, 英亩
2000*meter**2/3 | mu | mu: mu, 亩
second | second | seconds: s, sec, secs, 秒
minute | minute | minutes: min, mins, 分钟
hour | hour | hours: h, hr, hrs, 小时
day | day | days: d, 天
week | week | weeks: wk, wks
month | month | months: month
year | year | years: yr, yrs, 年
kilocalorie | kilocalorie | kilocalories: calorie, cal, kcal, food calorie, kilo calorie, 卡路里, 大卡
joule | joule | joules: j
kilojoule | kilojoule | kilojoules: kj
kilowatt_hour | kilowatt hour | kilowatt hours: kwh
horsepower | horsepower | horsepower: hp, bhp, horse power
watt | watt | watts: w
kilowatt | kilowatt | kilowatts: kw
megawatt | megawatt | megawatts: mw
psi | pound per square inch | pounds per square inch: psi
atmosphere | atmosphere | atmospheres: atm
byte | byte | bytes: b
kilobyte | kilobyte | kilobytes: kb
megabyte | megabyte | megabytes: mb, meg
gigabyte | gigabyte | gigabytes: gb, gig
terabyte | terabyte | terabytes: tb
megabit/second | megabit per second | megabits per second: mbps
gigabit/second | gigabit per second | gigabits per second: gbps
"""
_MONEY = re.compile(
    r"\b(?:dollars?|euros?|yen|yuan|renminbi|rmb|rupees?|pesos?|francs?|won|roubles?|rubles?|bucks?|sterling|quid|"
    r"cents?|pence|crypto|bitcoins?|currency|usd|eur|gbp|jpy|cny|inr|chf|aud|cad|krw)\b|[$€£¥₩₹元]"
)
_WORD = re.compile(r"[a-zµω]+(?:_[a-z]+){0,3}")
_PLURALS = {"henry": "henries", "century": "centuries", "lux": "lux", "hertz": "hertz", "siemens": "siemens"}
_POWERS = {"square": 2, "sq": 2, "cubic": 3}


@dataclass(frozen=True, slots=True)
class Unit:
    """A unit that was understood.

    Attributes:
        quantity: One of it, as a quantity of pint.
        one: Its name after "one".
        many: Its name after any other number.
    """

    quantity: pint.Quantity
    one: str
    many: str


def is_money(said: str) -> bool:
    """Whether this is, or names, a currency."""
    return bool(_MONEY.search(said.casefold()))


def read_unit(said: str) -> Unit:
    """The unit that was meant.

    Raises:
        ToolError: It is none that is known.
    """
    text = " ".join(said[:100].strip().casefold().replace("-", " ").rstrip(".?").split())
    text = re.sub(r"^(?:degrees? (?=[cfk]|celsius)|of )", "", text)
    if text in ("degree", "degrees", "°"):
        raise ToolError("Degrees of what?", "Say Celsius or Fahrenheit.")
    if text in _aliases():
        return _aliases()[text]
    above, slash, below = re.sub(r"\s*/\s*|\s+per\s+|\s+an?\s+(?=[a-z]+$)", " / ", text).partition(" / ")
    try:
        return _ratio(above, below, said) if slash else _powered(above, said)
    except (TypeError, ArithmeticError):  # pint's, of decibels and other scales that multiply nothing
        raise _unknown(said) from None


def _ratio(above: str, below: str, said: str) -> Unit:
    upper = _powered(above, said)
    count = re.match(r"(?:a |one )?(?:hundred\s+|100\s*)", below)
    lower = _powered(below[count.end() :] if count else below, said)
    if not _multiplies(upper) or not _multiplies(lower):
        raise _unknown(said)
    size = lower.quantity * (100 if count else 1)
    name = f"100 {lower.many}" if count else lower.one
    return Unit(upper.quantity / size, f"{upper.one} per {name}", f"{upper.many} per {name}")


def _powered(text: str, said: str) -> Unit:
    first, _, rest = text.partition(" ")
    if first in _POWERS and rest:
        base, power, word = _simple(rest, said), _POWERS[first], "square" if _POWERS[first] == 2 else "cubic"
    elif found := re.fullmatch(r"(.+?)(?: (squared|cubed)|\^?([23])|([²³]))", text):
        base = _simple(found[1], said)
        power = 2 if found[2] == "squared" or found[3] == "2" or found[4] == "²" else 3
        word = "square" if power == 2 else "cubic"
    else:
        return _simple(text, said)
    if not _multiplies(base):
        raise _unknown(said)
    return Unit(base.quantity**power, f"{word} {base.one}", f"{word} {base.many}")


def _simple(text: str, said: str) -> Unit:
    """One unit without powers: from the table, else a word that pint knows."""
    for name in (text, text.removesuffix("s"), text.removesuffix("es")):
        if name in _aliases():
            return _aliases()[name]
    word = text.replace(" ", "_")
    registry = units()
    if not _WORD.fullmatch(word) or word not in registry:
        raise _unknown(said)
    unit = registry.Unit(word)
    one = str(unit).replace("_", " ")
    return Unit(registry.Quantity(1.0, unit), one, _PLURALS.get(one, f"{one}s"))


def _multiplies(unit: Unit) -> bool:
    """Whether it may be part of a product: degrees Celsius have an offset."""
    return not unit.one.startswith("degree ")


def _unknown(said: str) -> ToolError:
    return ToolError(
        f"'{said[:60].strip()}' is not a unit that is known.", "Use a common unit such as miles, kilograms or cups."
    )


@cache
def units() -> Any:
    """Pint's registry; a third of a second at first.

    Raises:
        ToolError: Pint is not installed.
    """
    try:
        import pint
    except ImportError:
        raise ToolError(
            "Units cannot be converted: the package pint is not installed.", "It comes with sayso[units]."
        ) from None
    return pint.UnitRegistry()


@cache
def _aliases() -> dict[str, Unit]:
    registry = units()
    table: dict[str, Unit] = {}
    for line in _ALIASES.strip().splitlines():
        names, _, spoken = line.partition(": ")
        expression, one, many = (part.strip() for part in names.split("|"))
        if expression.startswith("deg"):
            quantity = registry.Quantity(1.0, expression)  # a temperature: no factor can be taken out of it
        else:
            quantity = registry.Quantity(1.0, "dimensionless") * registry.parse_expression(expression)
        unit = Unit(quantity, one, many)
        table |= {name.strip().casefold(): unit for name in (*spoken.split(","), one, many)}
    return table
