"""The house, by Home Assistant: `list_devices`, `device_state`, `control_device` and `control_secure_device`.

Effects are by domain. Lights, switches, fans, heating, blinds and players are a write. Locks, alarms, sirens and the
doors of a garage are irreversible: a person is asked first.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Annotated, Literal, TypeAlias

from pydantic import BaseModel, Field

from sayso.errors import ToolError
from sayso.tools.builtin.home_assistant import Device, HomeAssistant
from sayso.tools.builtin.home_devices import find_device, find_devices, in_area
from sayso.tools.builtin.home_services import (
    Action,
    SecureAction,
    can,
    is_controlled,
    is_guarded,
    question,
    secure_service,
    service,
)
from sayso.tools.builtin.home_words import describe
from sayso.tools.tool import Tool, tool

Kind: TypeAlias = Literal[
    "light", "switch", "fan", "climate", "cover", "media_player", "lock", "alarm_control_panel", "siren", "sensor"
]
MAX_LISTED = 30
_SENSORS = frozenset({"sensor", "binary_sensor"})
_ALSO_READ = _SENSORS | {"person", "vacuum", "humidifier", "water_heater", "lawn_mower", "valve"}
_NAME = Field(min_length=1, max_length=100)


class DeviceState(BaseModel):
    """A device and how it is.

    Attributes:
        name: As people call it.
        state: In words, such as "on at 60 percent".
    """

    name: str
    state: str


class Listed(DeviceState):
    """A device in a list."""

    kind: str
    room: str


class DeviceList(BaseModel):
    """Devices of the home.

    Attributes:
        devices: At most 30.
        more: How many are left out.
    """

    devices: list[Listed]
    more: int


class Done(BaseModel):
    """What was done.

    Attributes:
        done: Such as "turned on Kitchen light".
    """

    done: str


@dataclass(frozen=True)
class Home:
    """The tools of one home.

    Attributes:
        service: Where it is; by default as the settings say.
    """

    service: HomeAssistant = field(default_factory=HomeAssistant)

    @property
    def tools(self) -> tuple[Tool, ...]:
        """All four."""
        return (self.list_devices, self.device_state, self.control_device, self.control_secure_device)

    @tool(
        effect="read",
        filler="Let me look around the house.",
        examples={
            "what can you control in the kitchen": {"room": "kitchen"},
            "which lights do I have": {"kind": "light"},
        },
    )
    async def list_devices(
        self, kind: Kind | None = None, room: Annotated[str, Field(max_length=100)] = ""
    ) -> DeviceList:
        """List the devices of the home: lights, locks, blinds, heating, players, sensors.

        Args:
            kind: Only these. Leave out for everything that can be controlled.
            room: Only this room. Leave out for the whole home.
        """
        found = [
            device
            for device in await self.service.devices()
            if (is_controlled(device) if kind is None else _is(device, kind)) and in_area(device, room)
        ]
        shown = [
            Listed(name=device.name, state=describe(device), kind=device.domain.replace("_", " "), room=device.area)
            for device in found[:MAX_LISTED]
        ]
        return DeviceList(devices=shown, more=len(found) - len(shown))

    @tool(
        effect="read",
        say="{name}: {state}.",
        filler="Let me check.",
        examples={
            "is the front door locked": {"device": "front door"},
            "did I leave the kitchen light on": {"device": "kitchen light"},
            "how warm is it in the bedroom": {"device": "bedroom temperature"},
        },
    )
    async def device_state(self, device: Annotated[str, _NAME]) -> DeviceState:
        """Read the present state of one device or sensor of the home.

        Args:
            device: Its name or room, in the words of the user.
        """
        devices = await self.service.devices()
        known = [found for found in devices if is_controlled(found) or found.domain in _ALSO_READ]
        found = find_device(device, known)
        return DeviceState(name=found.name, state=describe(found))

    @tool(
        effect="write",
        resource="home",
        say="I {done}.",
        filler="One moment.",
        examples={
            "switch the kitchen light on": {"device": "kitchen light", "action": "turn_on"},
            "dim the bedroom lamp to 20 percent": {"device": "bedroom lamp", "action": "set", "percent": 20},
            "make it 21 degrees in the living room": {
                "device": "living room thermostat",
                "action": "set",
                "temperature": 21,
            },
        },
    )
    async def control_device(
        self,
        device: Annotated[str, _NAME],
        action: Action,
        percent: Annotated[int, Field(ge=0, le=100)] | None = None,
        temperature: Annotated[float, Field(ge=-30, le=250)] | None = None,
    ) -> Done:
        """Control a light, switch, fan, thermostat, blind or media player of the home. Not locks, alarms or garages.

        Args:
            device: Its name or room, in the words of the user; "all lights" for several.
            action: What to do; "set" with percent or temperature.
            percent: Brightness of a light, speed of a fan, how far a blind is open, volume of a player.
            temperature: For a thermostat, in the unit that the home uses.
        """
        meant = _meant(device, action, await self.service.devices())
        _answering(meant)
        call = service(meant, action, percent, temperature)
        ids = [found.id for found in meant]
        await self.service.call(call.domain, call.name, {**call.data, "entity_id": ids[0] if len(ids) == 1 else ids})
        return Done(done=call.done.format(_together(meant)))

    @tool(
        effect="irreversible",
        resource="home",
        confirm=question,
        say="I {done}.",
        filler="One moment.",
        examples={
            "lock the front door": {"device": "front door", "action": "lock"},
            "open the garage": {"device": "garage", "action": "open"},
            "set the alarm, we are leaving": {"device": "alarm", "action": "arm_away"},
        },
    )
    async def control_secure_device(self, device: Annotated[str, _NAME], action: SecureAction) -> Done:
        """Lock or unlock a door, open or close a garage or gate, arm or disarm the alarm, switch a siren.

        Args:
            device: Its name, in the words of the user.
            action: What to do.
        """
        guarded = [found for found in await self.service.devices() if is_guarded(found)]
        # what the person said yes to is the name that was read back: nothing may be guessed from it
        meant = find_device(device, guarded, strict=True)
        _answering([meant])
        call = secure_service(meant, action)
        await self.service.call(call.domain, call.name, {**call.data, "entity_id": meant.id})
        return Done(done=call.done.format(meant.name))


def _meant(said: str, action: Action, devices: list[Device]) -> list[Device]:
    """The devices that an action is for.

    Raises:
        ToolError: None, or unclear, or guarded.
    """
    guarded = [device for device in devices if is_guarded(device)]
    opens = action in ("open", "close", "stop", "set")  # what people also say of doors
    try:
        found = find_devices(
            said, [device for device in devices if can(device, action) or (opens and device in guarded)]
        )
    except ToolError:
        try:
            found = [find_device(said, guarded, strict=True)]
        except ToolError:
            found = []
        if not found:
            raise
    if any(is_guarded(device) for device in found):
        raise ToolError(
            f"{found[0].name} is guarded.", "Use the tool control_secure_device, which asks the user first."
        )
    return found


def _answering(devices: list[Device]) -> None:
    silent = [device for device in devices if not device.there]
    if silent:
        raise ToolError(f"{silent[0].name} does not answer.", "Tell the user to check its power and connection.")


def _together(devices: list[Device]) -> str:
    names = [device.name for device in devices]
    if len(names) > 3:
        return f"{len(names)} devices"
    return " and ".join([", ".join(names[:-1]), names[-1]] if len(names) > 1 else names)


def _is(device: Device, kind: Kind) -> bool:
    return device.domain in _SENSORS if kind == "sensor" else device.domain == kind


_HOME = Home()
list_devices, device_state = _HOME.list_devices, _HOME.device_state
control_device, control_secure_device = _HOME.control_device, _HOME.control_secure_device
HOME_TOOLS: tuple[Tool, ...] = (list_devices, device_state, control_device, control_secure_device)
