"""`get_weather`: the weather now and in the days to come, anywhere, from Open-Meteo."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import date, timedelta
from typing import Literal
from zoneinfo import ZoneInfo

from pydantic import BaseModel, Field

from sayso import settings
from sayso.errors import ToolError, UsageError
from sayso.tools.builtin.open_meteo import FORECAST_DAYS, Daily, Forecast, OpenMeteo, Spot
from sayso.tools.builtin.places import country_of_zone
from sayso.tools.builtin.spoken_dates import parse_date
from sayso.tools.builtin.weather_places import find_spot, spoken_name
from sayso.tools.builtin.weather_words import FAHRENHEIT, degrees_words, sky_words, wind_words
from sayso.tools.context import Context
from sayso.tools.tool import tool

_HERE = frozenset(("", "here", "home", "outside", "my place", "local", "my location", "current location", "这里"))
_NOW = frozenset(("", "now", "right now", "currently", "at the moment", "现在"))
LIKELY_PERCENT = 20
"""Less chance of rain is not spoken of."""


class Weather(BaseModel):
    """The weather somewhere on a day, in words. What is not known is empty.

    Attributes:
        place: Such as "Oslo, Norway".
        day: "now", "today", "tomorrow", a weekday, or "Friday, December 4".
        sky: Such as "light rain".
        temperature: Now, such as "about fourteen degrees"; empty for a whole day.
        feels_like: Where it differs by three degrees or more.
        high: Of the day.
        low: Of the day.
        rain: Such as "80 percent".
        wind: Such as "a fresh breeze".
        unit: Of the temperatures.
    """

    place: str
    day: str
    sky: str
    temperature: str
    feels_like: str
    high: str
    low: str
    rain: str = Field(description="Chance of rain or snow on that day.")
    wind: str
    unit: Literal["celsius", "fahrenheit"]


def _say(found: Weather) -> str | None:
    if any("\u3400" <= sign <= "\u9fff" for sign in found.place):
        return None  # asked in Chinese: the model answers in Chinese
    return _say_now(found) if found.day == "now" else _say_day(found)


def _say_now(found: Weather) -> str:
    around = " and ".join(part for part in (found.sky, found.wind) if part)
    feels = f", and feels like {found.feels_like}" if found.feels_like else ""
    extent = f" Today's high is {found.high}, the low {found.low}." if found.high and found.low else ""
    return f"In {found.place} it is {found.temperature}{f' with {around}' if around else ''}{feels}.{extent}"


def _say_day(found: Weather) -> str:
    when = found.day if found.day in ("today", "tomorrow") else f"on {found.day}"
    low = found.low.rpartition(" ")[0]  # without "degrees"
    parts = [f"between {low} and {found.high}"] if found.high and found.low else []
    parts += [f"{found.rain} chance of rain"] if found.rain else []
    parts += [found.wind] if found.wind else []
    return f"{when[0].upper()}{when[1:]} in {found.place}: {', '.join([found.sky] * bool(found.sky) + parts)}."


@dataclass(frozen=True)
class WeatherService:
    """The tool over one service.

    Attributes:
        service: Where the forecasts come from.
    """

    service: OpenMeteo = field(default_factory=OpenMeteo)

    @tool(
        effect="read",
        timeout_s=25,
        say=_say,
        filler="Let me look at the weather.",
        examples={
            "do I need an umbrella in Oslo tomorrow": {"place": "Oslo", "day": "tomorrow"},
            "is it cold outside": {},
            "how warm will it get in Paris Texas on Saturday": {"place": "Paris, Texas", "day": "Saturday"},
        },
    )
    async def get_weather(
        self, ctx: Context, place: str = "", day: str = "", unit: Literal["celsius", "fahrenheit"] | None = None
    ) -> Weather:
        """The weather now, or the forecast for one of the next two weeks' days, in any city.

        Args:
            ctx: The session.
            place: City, with its state or country if the user named it. Leave out for the user's own place.
            day: "today", "tomorrow", a weekday or a date. Leave out for the weather now.
            unit: Only if the user asked for one.
        """
        spot = await self._spot(place)
        today = ctx.now().astimezone(_zone(spot)).date()
        wanted = None if day.strip().casefold() in _NOW else _day(day, today)
        chosen = unit or _unit(ctx, spot)
        found = await self.service.forecast(spot, chosen)
        return _now(found, spot, today, chosen) if wanted is None else _on(found, spot, wanted, today, chosen)

    async def _spot(self, said: str) -> Spot:
        place = settings.default_place() if said.strip().casefold() in _HERE else said
        if not place:
            raise ToolError("The user's place is not known.", "Ask the user for the place.")
        spot = await find_spot(self.service, place[:100])
        if spot is None:
            raise ToolError(f"There is no place '{place[:60]}' on the map.", "Ask the user for a larger town nearby.")
        return spot


def _day(said: str, today: date) -> date:
    """The day that is asked for.

    Raises:
        ToolError: It is none, or not one of the days that are forecast.
    """
    wanted = parse_date(said, today)
    if wanted is None:
        raise ToolError(f"'{said[:40]}' is not one day.", "Give 'tomorrow', a weekday or a date such as '4 December'.")
    if wanted < today:
        raise ToolError("That day is over; only forecasts are to be had.", "Tell the user.")
    if wanted >= today + timedelta(FORECAST_DAYS):
        raise ToolError(f"Forecasts end after {FORECAST_DAYS} days.", "Tell the user that it is too far ahead.")
    return wanted


def _unit(ctx: Context, spot: Spot) -> Literal["celsius", "fahrenheit"]:
    """As set; else as in the country of the user's time zone; else as in the place's own.

    Raises:
        ToolError: The setting is neither metric nor imperial.
    """
    try:
        measures = settings.measures()
    except UsageError as error:
        raise ToolError(str(error)) from error
    if measures is not None:
        return "fahrenheit" if measures == "imperial" else "celsius"
    country = country_of_zone(str(ctx.timezone)) or spot.country_code
    return "fahrenheit" if country in FAHRENHEIT else "celsius"


def _now(found: Forecast, spot: Spot, today: date, unit: Literal["celsius", "fahrenheit"]) -> Weather:
    now = found.current
    feels = now.apparent_temperature
    differs = feels is not None and abs(feels - now.temperature_2m) >= (3 if unit == "celsius" else 5)
    row = found.daily.time.index(today) if today in found.daily.time else None
    return Weather(
        place=spoken_name(spot),
        day="now",
        sky=sky_words(now.weather_code),
        temperature=f"about {degrees_words(now.temperature_2m)}",
        feels_like=degrees_words(feels) if feels is not None and differs else "",
        **_extent(found.daily, row),
        wind=wind_words(now.wind_speed_10m),
        unit=unit,
    )


def _on(found: Forecast, spot: Spot, day: date, today: date, unit: Literal["celsius", "fahrenheit"]) -> Weather:
    daily = found.daily
    if day not in daily.time:
        raise ToolError("The weather service has no forecast for that day.", "Tell the user.")
    row = daily.time.index(day)
    return Weather(
        place=spoken_name(spot),
        day=_spoken_day(day, today),
        sky=sky_words(daily.weather_code[row]),
        temperature="",
        feels_like="",
        **_extent(daily, row),
        wind=wind_words(daily.wind_speed_10m_max[row]),
        unit=unit,
    )


def _extent(daily: Daily, row: int | None) -> dict[str, str]:
    """High, low and rain of a day in words."""
    if row is None:
        return {"high": "", "low": "", "rain": ""}
    high, low = daily.temperature_2m_max[row], daily.temperature_2m_min[row]
    chance = daily.precipitation_probability_max[row]
    return {
        "high": "" if high is None else degrees_words(high),
        "low": "" if low is None else degrees_words(low),
        "rain": f"{chance:.0f} percent" if chance is not None and chance >= LIKELY_PERCENT else "",
    }


def _spoken_day(day: date, today: date) -> str:
    ahead = (day - today).days
    if ahead < 2:
        return ("today", "tomorrow")[ahead]
    return f"{day:%A}" if ahead < 7 else f"{day:%A, %B} {day.day}"


def _zone(spot: Spot) -> ZoneInfo:
    try:
        return ZoneInfo(spot.timezone)
    except (ValueError, LookupError, OSError):
        return ZoneInfo("UTC")


get_weather = WeatherService().get_weather
