"""The words behind written signs: units, money, abbreviations, months."""

from __future__ import annotations

import re

UNITS: dict[str, tuple[str, str]] = {
    "°C": ("degree Celsius", "degrees Celsius"),
    "°F": ("degree Fahrenheit", "degrees Fahrenheit"),
    "°": ("degree", "degrees"),
    "%": ("percent", "percent"),
    "km/h": ("kilometer per hour", "kilometers per hour"),
    "kph": ("kilometer per hour", "kilometers per hour"),
    "mph": ("mile per hour", "miles per hour"),
    "m/s": ("meter per second", "meters per second"),
    "km^2": ("square kilometer", "square kilometers"),
    "m^2": ("square meter", "square meters"),
    "m^3": ("cubic meter", "cubic meters"),
    "km": ("kilometer", "kilometers"),
    "cm": ("centimeter", "centimeters"),
    "mm": ("millimeter", "millimeters"),
    "m": ("meter", "meters"),
    "mi": ("mile", "miles"),
    "ft": ("foot", "feet"),
    "yd": ("yard", "yards"),
    "kg": ("kilogram", "kilograms"),
    "mg": ("milligram", "milligrams"),
    "g": ("gram", "grams"),
    "lbs": ("pound", "pounds"),
    "lb": ("pound", "pounds"),
    "oz": ("ounce", "ounces"),
    "ml": ("milliliter", "milliliters"),
    "mL": ("milliliter", "milliliters"),
    "L": ("liter", "liters"),
    "l": ("liter", "liters"),
    "kWh": ("kilowatt hour", "kilowatt hours"),
    "kW": ("kilowatt", "kilowatts"),
    "MW": ("megawatt", "megawatts"),
    "W": ("watt", "watts"),
    "V": ("volt", "volts"),
    "mAh": ("milliamp hour", "milliamp hours"),
    "kB": ("kilobyte", "kilobytes"),
    "KB": ("kilobyte", "kilobytes"),
    "MB": ("megabyte", "megabytes"),
    "GB": ("gigabyte", "gigabytes"),
    "TB": ("terabyte", "terabytes"),
    "Hz": ("hertz", "hertz"),
    "kHz": ("kilohertz", "kilohertz"),
    "MHz": ("megahertz", "megahertz"),
    "GHz": ("gigahertz", "gigahertz"),
    "hPa": ("hectopascal", "hectopascals"),
    "dB": ("decibel", "decibels"),
    "kcal": ("kilocalorie", "kilocalories"),
    "ms": ("millisecond", "milliseconds"),
    "s": ("second", "seconds"),
    "sec": ("second", "seconds"),
    "secs": ("second", "seconds"),
    "min": ("minute", "minutes"),
    "mins": ("minute", "minutes"),
    "h": ("hour", "hours"),
    "hr": ("hour", "hours"),
    "hrs": ("hour", "hours"),
}
"""What follows a number, as (one, many)."""

CURRENCIES: dict[str, tuple[str, str, str, str]] = {
    "$": ("dollar", "dollars", "cent", "cents"),
    "US$": ("dollar", "dollars", "cent", "cents"),
    "€": ("euro", "euros", "cent", "cents"),
    "£": ("pound", "pounds", "penny", "pence"),
    "¥": ("yen", "yen", "", ""),
    "₹": ("rupee", "rupees", "paisa", "paise"),
    "USD": ("dollar", "dollars", "cent", "cents"),
    "EUR": ("euro", "euros", "cent", "cents"),
    "GBP": ("pound", "pounds", "penny", "pence"),
    "JPY": ("yen", "yen", "", ""),
    "CHF": ("Swiss franc", "Swiss francs", "centime", "centimes"),
}
"""The sign or code of a currency, as (one, many, one hundredth, many hundredths)."""

MONTHS = "January February March April May June July August September October November December".split()

ABBREVIATIONS: tuple[tuple[str, str], ...] = (
    (r"\bMr\.", "Mister"),
    (r"\bMrs\.", "Missus"),
    (r"\bMs\.", "Miz"),
    (r"\bProf\.", "Professor"),
    (r"\bGen\.(?=\s+[A-Z])", "General"),
    (r"\bCapt\.", "Captain"),
    (r"\bSgt\.", "Sergeant"),
    (r"\bSen\.(?=\s+[A-Z])", "Senator"),
    (r"\bRev\.(?=\s+[A-Z])", "Reverend"),
    (r"\bJr\.", "Junior"),
    (r"\bSr\.", "Senior"),
    (r"\bMt\.(?=\s+[A-Z])", "Mount"),
    (r"\bFt\.(?=\s+[A-Z])", "Fort"),
    (r"\bAve\.", "Avenue"),
    (r"\bBlvd\.", "Boulevard"),
    (r"\bRd\.", "Road"),
    (r"\bapt\.(?=\s*\d)", "apartment"),
    (r"\bApt\.(?=\s*\d)", "Apartment"),
    (r"\bdept\.", "department"),
    (r"\bInc\.", "Incorporated"),
    (r"\bLtd\.", "Limited"),
    (r"\bCo\.", "Company"),
    (r"\be\.g\.,?", "for example,"),
    (r"\bi\.e\.,?", "that is,"),
    (r"\betc\.(?=\s+[A-Z]|\s*$)", "et cetera."),
    (r"\betc\.", "et cetera"),
    (r"\bvs\.?(?=\s)", "versus"),
    (r"\bapprox\.", "approximately"),
    (r"\best\.(?=\s+\d)", "established"),
    (r"\b[Nn]o\.(?=\s*\d)", "number"),
    (r"\b[Pp]p?\.(?=\s*\d)", "page"),
    (r"\bfig\.(?=\s*\d)", "figure"),
    (r"\bw/o\b", "without"),
    (r"\bw/(?=\s)", "with"),
    (r"\ba\.k\.a\.", "also known as"),
    (r"\bPh\.\s?D\.?", "P.H.D."),
)
"""A pattern and what is said; applied in order. "Dr." and "St." depend on their neighbours: see `normalize`."""

SYMBOLS: tuple[tuple[str, str], ...] = (
    (r"\b([A-Z])([A-Z])&([A-Z])\b", r"\1.\2. and \3."),
    (r"\b([A-Z])&([A-Z])\b", r"\1. and \2."),
    (r"\s*&\s*", " and "),
    (r"\s*=\s*", " equals "),
    (r"\s*\+\s*(?=\w)", " plus "),
    (r"(?<=[a-z])/(?=(?:second|minute|hour|day|night|week|month|year|person|user)\b)", " per "),
    (r"(?<=\w)\s+/\s+(?=\w)", " or "),
    (r"(?<=\w)/(?=\w)", " "),
    (r"#(?=\w)", "number "),
    (r"(?<=\w)\s+\*\s+(?=\w)", " times "),
    (r"\s*@\s*", " at "),
    (r"[<>^~\\{}\[\]|_*#/=°]+", " "),
)
"""Signs that are left when numbers are done."""


def unit_pattern() -> str:
    """All units, the longest first, as an alternative of a regular expression."""
    return "|".join(re.escape(unit) for unit in sorted(UNITS, key=len, reverse=True))
