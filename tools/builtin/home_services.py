"""What may be done with which device: the only services that are ever called, and how they are said.

A model names an action of a closed list; these tables turn it into a service of Home Assistant. What opens a way into
the house, or alarms it, is guarded: only `control_secure_device` touches it, which asks a person first.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sayso.errors import ToolError
from sayso.tools.builtin.home_assistant import Device

Action: TypeAlias = Literal[
    "turn_on", "turn_off", "toggle", "set", "open", "close", "stop", "play", "pause", "next", "previous"
]
SecureAction: TypeAlias = Literal[
    "lock", "unlock", "open", "close", "stop", "arm_home", "arm_away", "arm_night", "disarm", "turn_on", "turn_off"
]
_SWITCHED = {"turn_on": "turn_on", "turn_off": "turn_off", "toggle": "toggle"}
_COVER = {"open": "open_cover", "close": "close_cover", "stop": "stop_cover"}
_SERVICES: Mapping[str, Mapping[str, str]] = {
    "light": _SWITCHED,
    "switch": _SWITCHED,
    "fan": _SWITCHED,
    "climate": {"turn_on": "turn_on", "turn_off": "turn_off"},
    "cover": _COVER,
    "media_player": _SWITCHED
    | {"play": "media_play", "pause": "media_pause", "stop": "media_stop"}
    | {"next": "media_next_track", "previous": "media_previous_track"},
}
_GUARDED: Mapping[str, Mapping[str, str]] = {
    "lock": {"lock": "lock", "unlock": "unlock"},
    "alarm_control_panel": {
        **{"arm_home": "alarm_arm_home", "arm_away": "alarm_arm_away", "arm_night": "alarm_arm_night"},
        "disarm": "alarm_disarm",
    },
    "siren": {"turn_on": "turn_on", "turn_off": "turn_off"},
    "cover": _COVER,
}
_PERCENT = {  # domain: the service that takes a share of the whole, and its parameter
    "light": ("turn_on", "brightness_pct"),
    "fan": ("set_percentage", "percentage"),
    "cover": ("set_cover_position", "position"),
    "media_player": ("volume_set", "volume_level"),
}
_ENTRANCES = frozenset({"garage", "gate", "door"})
_DONE = {
    **{"turn_on": "turned on", "turn_off": "turned off", "toggle": "switched", "open": "opened", "close": "closed"},
    **{"stop": "stopped", "play": "started", "pause": "paused", "next": "skipped ahead on", "set": "set"},
    **{"previous": "went back on", "lock": "locked", "unlock": "unlocked", "disarm": "disarmed"},
    **{"arm_home": "armed for home", "arm_away": "armed for away", "arm_night": "armed for the night"},
}
_BEHIND = {"arm_home": "for home", "arm_away": "for away", "arm_night": "for the night"}


@dataclass(frozen=True, slots=True)
class Service:
    """A call to be made.

    Attributes:
        domain: Of the devices.
        name: Of the service.
        data: Its parameters, without the devices.
        done: What was done, with ``{}`` for the devices: "turned on {}".
    """

    domain: str
    name: str
    data: Mapping[str, Any]
    done: str


def is_guarded(device: Device) -> bool:
    """Whether it is a way into the house or an alarm. A cover without a class is judged by its name."""
    if device.domain != "cover":
        return device.domain in _GUARDED
    named = f"{device.name} {device.id}".casefold().replace("_", " ").split()
    return device.device_class in _ENTRANCES or (not device.device_class and not _ENTRANCES.isdisjoint(named))


def can(device: Device, action: str) -> bool:
    """Whether the action makes sense for a device that is not guarded."""
    by_value = action == "set" and (device.domain in _PERCENT or device.domain == "climate")
    return not is_guarded(device) and (by_value or action in _SERVICES.get(device.domain, {}))


def is_controlled(device: Device) -> bool:
    """Whether any action makes sense for it, guarded or not."""
    return device.domain in _SERVICES or device.domain in _GUARDED


def service(
    devices: Sequence[Device], action: Action, percent: int | None = None, temperature: float | None = None
) -> Service:
    """The service for devices of one domain that are not guarded.

    Raises:
        ToolError: The values do not fit the device or the action.
    """
    first = devices[0]
    domain = first.domain
    if temperature is not None:
        return _temperature(devices, action, percent, temperature)
    if percent is not None:
        return _percent(first, action, percent)
    if action == "set":
        what = "a temperature" if domain == "climate" else "a percentage"
        raise ToolError(f"To set {first.name}, {what} is needed.", "Ask the user how much.")
    return Service(domain, _SERVICES[domain][action], {}, f"{_DONE[action]} {{}}")


def secure_service(device: Device, action: SecureAction) -> Service:
    """The service for a guarded device.

    Raises:
        ToolError: It cannot do that, or wants a code.
    """
    services = _GUARDED[device.domain]
    if action not in services:
        able = ", ".join(name.replace("_", " ") for name in services)
        raise ToolError(f"{device.name} cannot do that.", f"It can: {able}.")
    by_code = device.attributes.get("code_format") and (
        device.domain == "lock" or action == "disarm" or device.attributes.get("code_arm_required", True)
    )
    if by_code:
        raise ToolError(
            f"{device.name} wants a code, and codes are not given by voice.", "Tell the user to type it in."
        )
    verb = _DONE[action].partition(" for ")[0] if action in _BEHIND else _DONE[action]
    behind = f" {_BEHIND[action]}" if action in _BEHIND else ""
    return Service(device.domain, services[action], {}, f"{verb} {{}}{behind}")


def question(arguments: Mapping[str, Any]) -> str:
    """What a person is asked before a guarded device is touched: "Shall I unlock the front door?"."""
    action, said = str(arguments["action"]), " ".join(str(arguments["device"]).split())
    the = "" if said.casefold().startswith(("the ", "my ", "our ")) else "the "
    behind = f" {_BEHIND[action]}" if action in _BEHIND else ""
    verb = "arm" if action in _BEHIND else action.replace("_", " ")
    return f"Shall I {verb} {the}{said}{behind}?"


def _percent(device: Device, action: Action, percent: int) -> Service:
    if device.domain not in _PERCENT or action not in ("set", "turn_on", "open", "close"):
        raise ToolError(f"{device.name} takes no percentage for that.", "Leave the percentage out.")
    if device.domain == "light" and percent == 0:
        return Service("light", "turn_off", {}, "turned off {}")
    name, parameter = _PERCENT[device.domain]
    value = percent / 100 if parameter == "volume_level" else percent
    return Service(device.domain, name, {parameter: value}, f"set {{}} to {percent} percent")


def _temperature(devices: Sequence[Device], action: Action, percent: int | None, temperature: float) -> Service:
    if devices[0].domain != "climate" or action not in ("set", "turn_on") or percent is not None:
        raise ToolError(f"{devices[0].name} takes no temperature for that.", "Leave the temperature out.")
    for device in devices:
        low, high = (device.attributes.get(name) for name in ("min_temp", "max_temp"))
        if isinstance(low, (int, float)) and isinstance(high, (int, float)) and not low <= temperature <= high:
            raise ToolError(f"{device.name} goes from {low:g} to {high:g} degrees.", "Ask the user for another.")
    return Service("climate", "set_temperature", {"temperature": temperature}, f"set {{}} to {temperature:g} degrees")
