"""From a place as people say it to its time zone."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta, timezone, tzinfo
from functools import cache
from importlib.resources import files
from zoneinfo import ZoneInfo, available_timezones

from sayso.tools.builtin.places_table import PLACES

_CONTINENTS = (
    "Africa",
    "America",
    "Antarctica",
    "Arctic",
    "Asia",
    "Atlantic",
    "Australia",
    "Europe",
    "Indian",
    "Pacific",
)
_AROUND = re.compile(
    r"^(?:(?:what|current|time|now|it|is|in|at|the|city of|state of|downtown)\s+)+"
    r"|(?:\s+(?:right now|now|time|today|city))+$|(?:的?(?:时间|现在)|现在)$"
)
_OFFSET = re.compile(r"(?:utc|gmt)\s*([+-])\s*(\d{1,2})(?::?([0-5]\d))?")


@dataclass(frozen=True, slots=True)
class Place:
    """A place on the clock.

    Attributes:
        label: Its name as it can be spoken.
        zone: Its time zone.
        zone_name: The zone's IANA name, or an offset such as ``UTC+05:30``.
    """

    label: str
    zone: tzinfo
    zone_name: str


def find_place(said: str) -> Place | None:
    """The place that was meant: an IANA zone, a city, a state, a country or an offset, perhaps misspelt."""
    if offset := _offset(said):
        return offset
    index = _index()
    for key in _keys(said):
        if key in index:
            return _place(*index[key])
    if (split := _with_region(said, index)) is not None:
        return split
    key = _key(said)
    near = difflib.get_close_matches(key, index, n=1, cutoff=0.82) if len(key) > 3 and key.isascii() else []
    return _place(*index[near[0]]) if near else None


def _place(label: str, zone_name: str) -> Place:
    return Place(label, ZoneInfo(zone_name), "UTC" if zone_name == "Etc/UTC" else zone_name)


def _key(said: str) -> str:
    """Case, accents and punctuation away."""
    plain = "".join(sign for sign in unicodedata.normalize("NFKD", said.casefold()) if not unicodedata.combining(sign))
    return re.sub(r"[^\w]+|_", " ", plain.replace("'", "").replace("’", "").replace(".", "")).strip()


def _keys(said: str) -> Iterator[str]:
    """The ways to look ``said`` up, the most literal first."""
    key = _key(said)
    yield key
    while (shorter := _AROUND.sub("", key).strip()) != key and shorter:
        key = shorter
        yield key
    if key.endswith(("市", "省", "州", "国")) and len(key) > 2:
        yield key[:-1]


def _with_region(said: str, index: dict[str, tuple[str, str]]) -> Place | None:
    """The city's name with the clock of the region: "Portland, Maine", "London Ontario", "Paris, France".

    A region of several zones (a large country) only confirms a city that is known.
    """
    words = _key(said).split()
    for at in range(len(words) - 1, 0, -1):
        city, region = " ".join(words[:at]), " ".join(words[at:])
        if region not in index:
            continue
        if region in _spread_countries():
            return _place(*index[city]) if city in index else _with_region(city, index)
        label, zone = index[region]
        if city in index and index[city][1] == zone:
            return _place(*index[city])
        return _place(f"{city.title()}, {label}", zone)
    return None


def _offset(said: str) -> Place | None:
    found = _OFFSET.fullmatch(said.strip().casefold())
    if not found or int(found[2]) > 14:
        return None
    minutes = int(found[2]) * 60 + int(found[3] or 0)
    shift = timedelta(minutes=minutes if found[1] == "+" else -minutes)
    name = f"UTC{found[1]}{minutes // 60:02d}:{minutes % 60:02d}"
    return Place(name, timezone(shift), name)


@cache
def _index() -> dict[str, tuple[str, str]]:
    """(label, zone) by key. Later sources win: zone names, cities of zones, countries, our own table."""
    index: dict[str, tuple[str, str]] = {}
    zones = sorted(available_timezones())
    for zone in zones:
        region, _, city = zone.partition("/")
        if (not city and zone.isalpha()) or region in _CONTINENTS:
            index[_key(zone)] = (_city(zone), zone)
    for zone in zones:
        if "/" in zone and zone.partition("/")[0] in _CONTINENTS:
            label = _city(zone)
            index[_key(label)] = (label, zone)
    for country_zones in _countries().values():
        index |= {_key(_city(zone)): (_city(zone), zone) for zone in country_zones}  # rather than a zone's former name
    for name, country_zones in _countries().items():
        label = name if len(country_zones) == 1 else _city(country_zones[0])
        index[_key(name)] = (label, country_zones[0])
    for line in PLACES.strip().splitlines():
        zone, _, names = line.partition(":")
        for name in names.split(","):
            alias, _, label = name.partition(">")
            index[_key(alias)] = ((label or alias).strip(), zone)
    return index


def _city(zone: str) -> str:
    return zone.rpartition("/")[2].replace("_", " ")


@cache
def _countries() -> dict[str, list[str]]:
    """The zones of each country by its name; the first is the largest. From the time zone database."""
    names: dict[str, str] = {}
    for line in _table("iso3166.tab"):
        code, name = line.split("\t")[:2]
        names[code] = re.sub(r"\s*\(.*\)", "", name).replace("&", "and")
    zones: dict[str, list[str]] = {}
    for line in _table("zone.tab"):
        code, _, zone = line.split("\t")[:3]
        zones.setdefault(names[code], []).append(zone.strip())
    return zones


def country_of_zone(zone_name: str) -> str:
    """The ISO code of the country that a time zone is in, such as "US"; empty for "UTC" and what is no IANA zone."""
    return _zone_countries().get(zone_name, "")


@cache
def _zone_countries() -> dict[str, str]:
    return {line.split("\t")[2].strip(): line.split("\t")[0] for line in _table("zone.tab")}


@cache
def _spread_countries() -> frozenset[str]:
    """The keys of countries with several zones, common short names included."""
    spread = {_key(name) for name, zones in _countries().items() if len(zones) > 1}
    return frozenset(spread | {"usa", "us", "america", "united states of america"})


def _table(name: str) -> Iterator[str]:
    text = files("tzdata.zoneinfo").joinpath(name).read_text(encoding="utf-8")
    return (line for line in text.splitlines() if line and not line.startswith("#"))
