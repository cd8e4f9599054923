"""`OpenMeteo`: places and forecasts of open-meteo.com, which asks for no key.

Source of the formats: open-meteo.com/en/docs and open-meteo.com/en/docs/geocoding-api. The data is under CC BY 4.0.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date
from typing import Any, TypeVar

from pydantic import BaseModel, ValidationError, model_validator

from sayso import http
from sayso.errors import ToolError

GEOCODING_URL = "https://geocoding-api.open-meteo.com"
FORECAST_URL = "https://api.open-meteo.com"
TIMEOUT_S = 6.0
LIMIT_BYTES = 1 << 20
FORECAST_DAYS = 16
"""Most that the service gives, today included."""


class Spot(BaseModel):
    """A place that the geocoder found; fields that are empty are left out of its answer.

    Attributes:
        feature_code: Of GeoNames: ``PPL...`` is a city or village, ``ADM...`` a region, ``PCL...`` a country.
    """

    name: str
    latitude: float
    longitude: float
    feature_code: str = ""
    country_code: str = ""
    country: str = ""
    admin1: str = ""
    admin2: str = ""
    population: int = 0
    timezone: str = "UTC"


class Current(BaseModel):
    """The weather now. Temperatures in the unit that was asked for, wind in km/h."""

    temperature_2m: float
    apparent_temperature: float | None = None
    weather_code: int | None = None
    wind_speed_10m: float | None = None


class Daily(BaseModel):
    """The weather by day: columns of the same length."""

    time: list[date]
    weather_code: list[int | None]
    temperature_2m_max: list[float | None]
    temperature_2m_min: list[float | None]
    precipitation_probability_max: list[float | None]
    wind_speed_10m_max: list[float | None]

    @model_validator(mode="after")
    def _are_columns(self) -> Daily:
        lengths = {len(column) for column in (getattr(self, name) for name in type(self).model_fields)}
        if len(lengths) != 1:
            raise ValueError("columns of different lengths")
        return self


class Forecast(BaseModel):
    """The answer of ``/v1/forecast``."""

    current: Current
    daily: Daily


class _Found(BaseModel):
    results: list[Spot] = []


M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class OpenMeteo:
    """The service, or one that speaks its formats.

    Attributes:
        geocoding_url: Without ``/v1/search``.
        forecast_url: Without ``/v1/forecast``.
        timeout_s: For one request.
    """

    geocoding_url: str = GEOCODING_URL
    forecast_url: str = FORECAST_URL
    timeout_s: float = TIMEOUT_S

    async def places(self, name: str, language: str = "en") -> list[Spot]:
        """Places of that name, as the service ranks them; perhaps none.

        Args:
            name: Two characters match whole names only, three or more match loosely.
            language: Of the names in the answer.

        Raises:
            ToolError: The service cannot be asked.
        """
        url = f"{self.geocoding_url}/v1/search"
        return (
            await self._get(url, {"name": name, "count": 20, "language": language, "format": "json"}, _Found)
        ).results

    async def forecast(self, spot: Spot, unit: str) -> Forecast:
        """The weather at a place, now and for `FORECAST_DAYS` days of its own calendar.

        Args:
            spot: Where.
            unit: ``celsius`` or ``fahrenheit``.

        Raises:
            ToolError: The service cannot be asked.
        """
        params = {
            "latitude": spot.latitude,
            "longitude": spot.longitude,
            "current": ",".join(Current.model_fields),
            "daily": ",".join(name for name in Daily.model_fields if name != "time"),
            "temperature_unit": unit,
            "wind_speed_unit": "kmh",
            "timezone": "auto",
            "forecast_days": FORECAST_DAYS,
        }
        return await self._get(f"{self.forecast_url}/v1/forecast", params, Forecast)

    async def _get(self, url: str, params: dict[str, Any], model: type[M]) -> M:
        try:
            answer = await http.request("GET", url, params=params, timeout_s=self.timeout_s, limit_bytes=LIMIT_BYTES)
        except http.NetworkError as error:
            raise ToolError(
                "The weather service cannot be reached.", "Tell the user that the weather is not to be had now."
            ) from error
        if answer.status == 429:
            raise ToolError("The weather service has had too many questions.", "Tell the user to ask again later.")
        if answer.status != 200:
            raise ToolError(
                f"The weather service answered with an error ({answer.status}).", "Tell the user to ask again later."
            )
        try:
            return model.model_validate_json(answer.body)
        except ValidationError:
            raise ToolError(
                "The weather service answered with something strange.", "Tell the user to ask again later."
            ) from None
