"""Weather in words: the sky by its code, the wind by its force, temperatures as they are said."""

from __future__ import annotations

_SKY = {  # WMO code table 4677 as Open-Meteo uses it (open-meteo.com/en/docs, "Weather variable documentation")
    **{0: "clear skies", 1: "mostly clear skies", 2: "some clouds", 3: "overcast skies", 45: "fog", 48: "freezing fog"},
    **{51: "light drizzle", 53: "drizzle", 55: "heavy drizzle", 56: "light freezing drizzle", 57: "freezing drizzle"},
    **{61: "light rain", 63: "rain", 65: "heavy rain", 66: "light freezing rain", 67: "heavy freezing rain"},
    **{71: "light snow", 73: "snow", 75: "heavy snow", 77: "snow grains", 80: "light showers", 81: "showers"},
    **{82: "violent showers", 85: "light snow showers", 86: "heavy snow showers", 95: "thunderstorms"},
    **{96: "thunderstorms with some hail", 99: "thunderstorms with heavy hail"},
}
_WIND = (  # Beaufort scale, WMO: from this speed in km/h on
    (118, "hurricane-force winds"),
    (103, "a violent storm"),
    (89, "a storm"),
    (75, "a strong gale"),
    (62, "a gale"),
    (50, "near-gale winds"),
    (39, "a strong breeze"),
    (29, "a fresh breeze"),
    (20, "a moderate breeze"),
    (12, "a gentle breeze"),
    (6, "a light breeze"),
    (2, "hardly any wind"),
    (0, "no wind"),
)
FAHRENHEIT = frozenset("US PR GU VI AS MP UM BS BZ KY PW FM MH LR".split())
"""Countries that say Fahrenheit: Unicode CLDR, unit preferences for the temperature of weather; and Liberia."""
_ONES = (
    "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen "
    "seventeen eighteen nineteen"
).split()
_TENS = "twenty thirty forty fifty sixty seventy eighty ninety".split()


def sky_words(code: int | None) -> str:
    """Such as "light rain"; empty for a code that is not in use."""
    return _SKY.get(code, "") if code is not None else ""


def wind_words(speed_kmh: float | None) -> str:
    """Such as "a fresh breeze"; empty where the speed is not known."""
    if speed_kmh is None or speed_kmh < 0:
        return ""
    return next(words for least, words in _WIND if round(speed_kmh) >= least)


def degrees_words(value: float) -> str:
    """Such as "fourteen degrees", "minus one degree"."""
    whole = round(value)
    words = number_words(abs(whole))
    return f"{'minus ' if whole < 0 else ''}{words} degree{'' if abs(whole) == 1 else 's'}"


def number_words(value: int) -> str:
    """A whole number from 0 to 999 in words; digits beyond."""
    if not 0 <= value < 1000:
        return str(value)
    if value < 20:
        return _ONES[value]
    if value < 100:
        tens, ones = divmod(value, 10)
        return _TENS[tens - 2] + (f"-{_ONES[ones]}" if ones else "")
    hundreds, rest = divmod(value, 100)
    return f"{_ONES[hundreds]} hundred" + (f" and {number_words(rest)}" if rest else "")
