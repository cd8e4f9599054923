"""Devices as people call them: "the kitchen light", "bedroom blinds", "front door", "all living room lights"."""

from __future__ import annotations

import difflib
import re
import unicodedata
from collections.abc import Collection, Sequence

from sayso.errors import ToolError
from sayso.tools.builtin.home_assistant import Device

MAX_CANDIDATES = 5
MAX_TOGETHER = 20
"""Devices that "all" may mean."""
_CALLED = {  # what people call a device of a domain or device class, in singular
    "light": "light lamp",
    "switch": "switch plug outlet socket",
    "fan": "fan ventilator",
    "climate": "thermostat heating heater heat climate aircon conditioner ac",
    "cover": "cover",
    "blind": "blind shade",
    "shade": "shade blind",
    "curtain": "curtain drape",
    "shutter": "shutter blind",
    "garage": "garage door",
    "gate": "gate",
    "media_player": "tv television speaker music player",
    "lock": "lock door",
    "alarm_control_panel": "alarm",
    "siren": "siren",
}
_NOISE = frozenset("the a an my our in at on of to please device please".split())
_ALL = frozenset({"all", "every", "everything", "both"})


def find_device(said: str, devices: Sequence[Device], *, strict: bool = False) -> Device:
    """The one device that is meant.

    Args:
        said: In the words of the user, or an entity id.
        devices: Those that come into question.
        strict: Every word has to be there as it was said: no guess at a misheard name.

    Raises:
        ToolError: None is meant, or several may be; the message names them.
    """
    found = _matches(said, devices, strict=strict)
    if len(found) == 1:
        return found[0]
    if found:
        raise ToolError(f"More than one device fits '{said[:60]}': {_listed(found)}.", "Ask the user which one.")
    raise ToolError(f"There is no device '{said[:60]}' for that.", _hint(said, devices))


def find_devices(said: str, devices: Sequence[Device]) -> list[Device]:
    """As `find_device`, or all devices of one kind where "all" was said: "all lights", "every kitchen light".

    Raises:
        ToolError: None is meant, several may be, or "all" means more than one kind.
    """
    words = _words(said)
    if not _ALL & words:
        return [find_device(said, devices)]
    wanted = words - _ALL
    found = [device for device in devices if device.there and wanted and wanted <= _known_words(device)]
    if not found:
        raise ToolError(f"There is no device for '{said[:60]}'.", _hint(said, devices))
    if len({device.domain for device in found}) > 1:  # "all lights" is not the switch called "light show"
        found = [device for device in found if wanted & _words(_CALLED.get(device.domain, ""))] or found
    if len({device.domain for device in found}) > 1 or len(found) > MAX_TOGETHER:
        raise ToolError(f"'{said[:60]}' is too much at once: {_listed(found)}.", "Ask the user which kind, and where.")
    return found


def in_area(device: Device, said: str) -> bool:
    """Whether a device is in the room that was said, by its area or its name."""
    return _words(said) <= _words(f"{device.area} {device.name}")


def _matches(said: str, devices: Sequence[Device], *, strict: bool) -> list[Device]:
    """Of the ways to fit, the closest that any device fits."""
    wanted = _words(said)
    if not wanted:
        return []
    for known in (
        [device for device in devices if device.id == said.strip()],
        [device for device in devices if _words(device.name) == wanted],
        [device for device in devices if _words(f"{device.area} {device.name}") == wanted],
        [device for device in devices if wanted <= _words(f"{device.area} {device.name}")],
        [device for device in devices if wanted <= _known_words(device)],
    ):
        if known:
            return known
    return [] if strict else _near(said, devices)


def _near(said: str, devices: Sequence[Device]) -> list[Device]:
    """Devices whose name sounds as if it had been misheard."""
    spoken = " ".join(sorted(_words(said)))
    by_key: dict[str, list[Device]] = {}
    for device in devices:
        by_key.setdefault(" ".join(sorted(_words(device.name))), []).append(device)
    close = difflib.get_close_matches(spoken, by_key, n=2, cutoff=0.8)
    return [device for key in close for device in by_key[key]]


def _known_words(device: Device) -> set[str]:
    called = f"{_CALLED.get(device.domain, '')} {_CALLED.get(device.device_class, device.device_class)}"
    return _words(f"{device.area} {device.name} {called}")


def _words(text: str) -> set[str]:
    """Without case, accents, plurals and small words. Chinese is cut into its characters."""
    plain = unicodedata.normalize("NFKD", text.casefold())
    plain = "".join(sign for sign in plain if not unicodedata.combining(sign)).replace("'s", "").replace("’s", "")
    found = re.findall(r"[\u3400-\u9fff]|[^\W_\u3400-\u9fff]+", plain)
    return {_singular(word) for word in found} - _NOISE


def _singular(word: str) -> str:
    return word[:-1] if len(word) > 3 and word.endswith("s") and not word.endswith("ss") else word


def _listed(devices: Collection[Device]) -> str:
    names = [f"{device.name} in {device.area}" if device.area else device.name for device in devices]
    more = f" and {len(names) - MAX_CANDIDATES} more" if len(names) > MAX_CANDIDATES else ""
    return ", ".join(names[:MAX_CANDIDATES]) + more


def _hint(said: str, devices: Sequence[Device]) -> str:
    """The devices that share a word with what was said."""
    near = [device for device in devices if _words(said) & _known_words(device)]
    return f"Near it are: {_listed(near)}. Ask the user." if near else "List the devices, or ask the user."
