"""The state of a device in words: "on at 60 percent", "locked", "heating to 21 degrees, now 20.5 degrees"."""

from __future__ import annotations

from typing import Any

from sayso.tools.builtin.home_assistant import Device
from sayso.tools.text import neutralise

_OPEN = ("open", "closed")
_BINARY = {  # device class of a binary sensor: what "on" and "off" mean
    **dict.fromkeys(("door", "window", "garage_door", "opening"), _OPEN),
    **dict.fromkeys(("motion", "moving", "vibration"), ("motion", "no motion")),
    **dict.fromkeys(("occupancy", "presence"), ("somebody there", "nobody there")),
    **dict.fromkeys(("smoke", "gas", "carbon_monoxide"), ("detected", "nothing detected")),
    "moisture": ("wet", "dry"),
    "battery": ("low", "normal"),
    "lock": ("unlocked", "locked"),
    "problem": ("a problem", "no problem"),
    "connectivity": ("connected", "disconnected"),
    "plug": ("plugged in", "unplugged"),
}
_UNITS = {
    **{"°C": "degrees Celsius", "°F": "degrees Fahrenheit", "%": "percent", "W": "watts", "kW": "kilowatts"},
    **{"Wh": "watt hours", "kWh": "kilowatt hours", "lx": "lux", "hPa": "hectopascals", "V": "volts", "A": "amperes"},
    **{"km/h": "kilometers per hour", "mph": "miles per hour", "m/s": "meters per second", "ppm": "parts per million"},
}
_CLIMATE = {"heat": "heating", "cool": "cooling", "heat_cool": "heating or cooling", "dry": "drying", "fan_only": "fan"}


def describe(device: Device) -> str:
    """The state of a device as it can be spoken."""
    if not device.there:
        return "not answering"
    words = _WORDS.get(device.domain)
    return words(device) if words else _plain(device)


def _plain(device: Device) -> str:
    return neutralise(device.state.replace("_", " "))[:80]


def _number(device: Device, name: str) -> float | None:
    value: Any = device.attributes.get(name)
    return float(value) if isinstance(value, (int, float)) and not isinstance(value, bool) else None


def _light(device: Device) -> str:
    level = _number(device, "brightness")  # of 255
    return f"on at {level / 2.55:.0f} percent" if device.state == "on" and level else _plain(device)


def _fan(device: Device) -> str:
    level = _number(device, "percentage")
    return f"on at {level:.0f} percent" if device.state == "on" and level else _plain(device)


def _cover(device: Device) -> str:
    position = _number(device, "current_position")
    return f"{position:.0f} percent open" if position and 0 < position < 100 else _plain(device)


def _climate(device: Device) -> str:
    target, now = _number(device, "temperature"), _number(device, "current_temperature")
    words = _CLIMATE.get(device.state, _plain(device))
    words += f" to {target:g} degrees" if target is not None and device.state != "off" else ""
    return words + (f", now {now:g} degrees" if now is not None else "")


def _media_player(device: Device) -> str:
    volume = _number(device, "volume_level")
    return f"{_plain(device)}, volume {volume * 100:.0f} percent" if volume is not None else _plain(device)


def _binary_sensor(device: Device) -> str:
    on, off = _BINARY.get(device.device_class, ("on", "off"))
    return on if device.state == "on" else off


def _sensor(device: Device) -> str:
    unit = str(device.attributes.get("unit_of_measurement") or "")
    return f"{_plain(device)} {neutralise(_UNITS.get(unit, unit))[:30]}".strip()


_WORDS = {
    "light": _light,
    "fan": _fan,
    "cover": _cover,
    "climate": _climate,
    "media_player": _media_player,
    "binary_sensor": _binary_sensor,
    "sensor": _sensor,
}
