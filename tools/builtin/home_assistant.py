"""`HomeAssistant`: the part of Home Assistant's REST API that the home tools use.

Source of the formats: developers.home-assistant.io/docs/api/rest. Rooms ("areas") are not part of a state; they are
asked for with one fixed template, which only an administrator's token may render. Without them devices are found by
name alone.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import quote, urlsplit

from pydantic import BaseModel, Field, TypeAdapter, ValidationError

from sayso import http, settings
from sayso.errors import ToolError

TIMEOUT_S = 8.0
LIMIT_BYTES = 8 << 20
"""A thousand entities with all their attributes are about a megabyte."""
GONE = frozenset({"unavailable", "unknown"})
_ENTITY = re.compile(r"^[a-z0-9_]+\.[a-z0-9_]+$")
_AREAS = (
    "{% for s in states %}{% set area = area_name(s.entity_id) %}"
    "{% if area %}{{ s.entity_id }}\t{{ area }}\n{% endif %}{% endfor %}"
)


class _State(BaseModel):
    """As ``/api/states`` gives it; what is not named here is left out."""

    entity_id: str = Field(pattern=_ENTITY)
    state: str
    attributes: dict[str, Any] = {}


_STATES = TypeAdapter(list[_State])


@dataclass(frozen=True, slots=True)
class Device:
    """An entity of Home Assistant.

    Attributes:
        id: Such as ``light.kitchen``.
        name: What people call it.
        area: The room, or empty where it is not known.
        state: As Home Assistant writes it: ``on``, ``locked``, ``21.5``.
        attributes: Its other values.
    """

    id: str
    name: str
    area: str
    state: str
    attributes: Mapping[str, Any]

    @property
    def domain(self) -> str:
        """What kind of thing it is: ``light``, ``lock``."""
        return self.id.partition(".")[0]

    @property
    def device_class(self) -> str:
        """The finer kind, such as ``garage`` of a cover, or empty."""
        return str(self.attributes.get("device_class") or "")

    @property
    def there(self) -> bool:
        """Whether it answers."""
        return self.state not in GONE


@dataclass(frozen=True, slots=True)
class HomeAssistant:
    """A home.

    Attributes:
        url: Of the server, without ``/api``; None is the setting `SAYSO_HOME_URL`.
        token: A long-lived access token; None is `SAYSO_HOME_TOKEN`.
        timeout_s: For a whole request.
    """

    url: str | None = None
    token: str | None = None
    timeout_s: float = TIMEOUT_S

    async def check(self) -> None:
        """Ask whether the API is there and takes the token.

        Raises:
            ToolError: It is not, or does not.
        """
        answer = _json(await self._ask("GET", "/api/"))
        if not isinstance(answer, dict) or "message" not in answer:
            raise _strange()

    async def devices(self) -> list[Device]:
        """Everything in the home, with rooms where they can be known.

        Raises:
            ToolError: The home cannot be asked.
        """
        answer = await self._ask("GET", "/api/states")
        try:
            states = _STATES.validate_python(_json(answer))
        except ValidationError:
            raise _strange() from None
        areas = await self._areas()
        return [replace(_device(state), area=areas.get(state.entity_id, "")) for state in states]

    async def device(self, entity_id: str) -> Device:
        """One entity as it is now.

        Raises:
            ToolError: There is none of that id, or the home cannot be asked.
        """
        answer = await self._ask("GET", f"/api/states/{quote(entity_id, safe='')}", allow=(404,))
        if answer.status == 404:
            raise ToolError(f"The home has no device '{entity_id[:80]}'.", "List the devices.")
        try:
            return _device(_State.model_validate(_json(answer)))
        except ValidationError:
            raise _strange() from None

    async def call(self, domain: str, service: str, data: Mapping[str, Any]) -> None:
        """Call a service. Returns when Home Assistant says that it ran.

        Args:
            domain: Such as ``light``; chosen by our tables, never by a model.
            service: Such as ``turn_on``; likewise.
            data: ``entity_id`` and the service's parameters.

        Raises:
            ToolError: It was refused, or it is not known whether it ran.
        """
        path = f"/api/services/{domain}/{service}"
        answer = await self._ask("POST", path, dict(data), allow=(400, 404, 500), lost=_in_doubt())
        if answer.status == 400:
            raise ToolError(
                f"The home does not accept '{service}' for this device.", "Tell the user it cannot do that."
            )
        if answer.status != 200:
            raise ToolError("The home tried and failed.", "Tell the user that the device did not do it.")
        _json(answer)  # a proxy's page with status 200 is no success

    async def _areas(self) -> dict[str, str]:
        """Room by entity id; nothing where they may not be asked for."""
        answer = await self._ask("POST", "/api/template", {"template": _AREAS}, allow=(400, 401, 403, 404, 405, 500))
        if answer.status != 200:
            return {}
        pairs = (line.strip().partition("\t") for line in answer.text.splitlines())
        return {entity: _tidy(area) for entity, _, area in pairs if _ENTITY.fullmatch(entity) and area}

    async def _ask(
        self, method: str, path: str, body: Any = None, allow: tuple[int, ...] = (), lost: ToolError | None = None
    ) -> http.Answer:
        """One request. ``lost`` is raised where it was sent and no answer came.

        Raises:
            ToolError: There is no answer, or one with a status other than 200 and those in ``allow``.
        """
        url = self.url or settings.home_url()
        token = self.token or settings.secret("SAYSO_HOME_TOKEN")
        if not url or not token:
            raise ToolError(
                "The home is not set up.", "Tell the user that SAYSO_HOME_URL and SAYSO_HOME_TOKEN have to be set."
            )
        if urlsplit(url).scheme not in ("http", "https"):
            raise ToolError("SAYSO_HOME_URL is no web address.", "Tell the user; it looks like http://host:8123.")
        try:
            answer = await http.request(
                method,
                url.rstrip("/") + path,
                headers={"Authorization": f"Bearer {token}"},
                body=body,
                timeout_s=self.timeout_s,
                limit_bytes=LIMIT_BYTES,
            )
        except http.NoConnectionError as error:
            raise _unreachable() from error
        except http.NetworkError as error:
            raise lost or _unreachable() from error
        if answer.status == 200 or answer.status in allow:
            return answer
        if answer.status in (401, 403):
            raise ToolError("The home refuses the access token.", "Tell the user to renew SAYSO_HOME_TOKEN.")
        raise ToolError(f"The home answered with an error ({answer.status}).", "Tell the user; try again later.")


def _json(answer: http.Answer) -> Any:
    try:
        return answer.json()
    except http.NetworkError:
        raise _strange() from None


def _strange() -> ToolError:
    return ToolError(
        "What answers at the home's address is not Home Assistant.", "Tell the user to check SAYSO_HOME_URL."
    )


def _unreachable() -> ToolError:
    return ToolError("The home cannot be reached.", "Tell the user to check that Home Assistant runs.")


def _in_doubt() -> ToolError:
    return ToolError(
        "The home did not answer in time: it may or may not have happened.",
        "Look at the device's state before you say anything else.",
    )


def _device(state: _State) -> Device:
    name = state.attributes.get("friendly_name")
    fallback = state.entity_id.partition(".")[2].replace("_", " ")
    return Device(state.entity_id, _tidy(str(name)) if name else fallback, "", state.state[:120], state.attributes)


def _tidy(name: str) -> str:
    return " ".join(name.split())[:80]
