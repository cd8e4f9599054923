"""Events and items as JSON, and back: for servers and their clients, recordings and reports.

The JSON of an event or item has the fields of its dataclass under the same names. Sound is an object with base64 of
16-bit little-endian PCM. `EVENT_MODELS` and `ITEM_MODELS` are the same as pydantic models, for documents of an API.
"""

from __future__ import annotations

import base64
import typing
from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeAlias, Union, cast, get_args

from pydantic import BaseModel, ConfigDict, Field, create_model
from pydantic_core import to_jsonable_python

from sayso import events, items
from sayso.errors import UsageError
from sayso.events import AudioDelta, CallProgress, Event
from sayso.items import AssistantReply, Audio, Instruction, Item, ToolCall, ToolOutput, UserInput


class AudioData(BaseModel):
    """A piece of mono sound.

    Attributes:
        data: Base64 of its samples, 16-bit little-endian PCM.
        sample_rate_hz: Samples a second.
    """

    model_config = ConfigDict(frozen=True)

    data: str
    sample_rate_hz: int = Field(ge=1)


_ITEM_TYPES: Final[dict[type[Item], str]] = {
    UserInput: "user_input",
    Instruction: "instruction",
    AssistantReply: "assistant_reply",
    ToolCall: "tool_call",
    ToolOutput: "tool_output",
}
_ITEMS = {name: kind for kind, name in _ITEM_TYPES.items()}
_EVENTS: Final[dict[str, type[Event]]] = {
    str(field.default): kind for kind in get_args(Event) for field in fields(kind) if field.name == "type"
}


def event_to_json(event: Event) -> dict[str, Any]:
    """An event as what `json.dumps` takes; values of a tool's progress that it does not take become text."""
    found = {name: getattr(event, name) for name in _names(type(event))}
    if isinstance(event, AudioDelta):
        found["audio"] = audio_to_json(event.audio)
    elif isinstance(event, CallProgress):
        found["value"] = to_jsonable_python(event.value, fallback=repr, inf_nan_mode="strings")
    return found


def event_from_json(found: dict[str, Any]) -> Event:
    """The event that `event_to_json` wrote. Fields that are not known are left out: a newer server may send more.

    Raises:
        UsageError: It is no event.
    """
    kind = _EVENTS.get(str(found.get("type")))
    if kind is None:
        raise UsageError(f"There is no event {found.get('type')!r}.", "Is this a newer server than the client?")
    return cast("Event", _made(kind, found))


def item_to_json(item: Item, *, whole: bool = True) -> dict[str, Any]:
    """An item as what `json.dumps` takes, with its ``type``; its sound and token ids where the ``whole`` is wanted."""
    found: dict[str, Any] = {"type": _ITEM_TYPES[type(item)]}
    found |= {name: getattr(item, name) for name in _names(type(item))}
    if isinstance(item, UserInput) and item.audio is not None:
        found["audio"] = audio_to_json(item.audio) if whole else None
    if isinstance(item, AssistantReply | ToolCall) and not whole:
        found["token_ids"] = ()
    return found


def item_from_json(found: dict[str, Any]) -> Item:
    """The item that `item_to_json` wrote.

    Raises:
        UsageError: It is no item.
    """
    kind = _ITEMS.get(str(found.get("type")))
    if kind is None:
        raise UsageError(f"There is no item {found.get('type')!r}.", f"Items are: {', '.join(_ITEMS)}.")
    return cast("Item", _made(kind, found))


def audio_to_json(audio: Audio) -> dict[str, Any]:
    """Sound as `AudioData` has it."""
    from sayso.speech.audio import to_pcm16

    return {"data": base64.b64encode(to_pcm16(audio)).decode(), "sample_rate_hz": audio.sample_rate_hz}


def audio_from_json(found: dict[str, Any]) -> Audio:
    """The sound that `audio_to_json` wrote.

    Raises:
        UsageError: It is none.
    """
    from sayso.speech.audio import from_pcm16

    try:
        pcm = base64.b64decode(found["data"], validate=True)
        return from_pcm16(pcm, int(found["sample_rate_hz"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(
            f"This is no sound: {error}.", "Give data, the base64 of 16-bit PCM, and sample_rate_hz."
        ) from error


def _names(kind: type[Any]) -> tuple[str, ...]:
    names = _FIELDS.get(kind)
    if names is None:
        names = _FIELDS[kind] = tuple(field.name for field in fields(kind))
    return names


_FIELDS: dict[type[Any], tuple[str, ...]] = {}


def _made(kind: type[Any], found: dict[str, Any]) -> Any:
    values = {name: found[name] for name in _names(kind) if name in found and name != "type"}
    if isinstance(values.get("audio"), dict):
        values["audio"] = audio_from_json(values["audio"])
    for name, value in values.items():
        if isinstance(value, list) and name in ("calls", "token_ids"):
            values[name] = tuple(cast("list[Any]", value))
    try:
        return kind(**values)
    except TypeError as error:
        raise UsageError(f"This is no {kind.__name__}: {error}.", "Compare with the API's document.") from error


def _model(kind: type[Any], tag: str) -> type[BaseModel]:
    """The pydantic model of a dataclass."""
    where = {**vars(items), **vars(events), "Audio": AudioData, "Samples": Any}
    hints = typing.get_type_hints(kind, globalns=where, include_extras=True)
    found: dict[str, Any] = {"type": (Literal[tag], tag)}
    for field in fields(kind):
        if field.name != "type":
            default = ... if field.default is MISSING and field.default_factory is MISSING else field.default
            found[field.name] = (hints[field.name], default)
    return create_model(kind.__name__, __doc__=kind.__doc__, __config__=ConfigDict(frozen=True), **found)


EVENT_MODELS: Final[tuple[type[BaseModel], ...]] = tuple(_model(kind, name) for name, kind in _EVENTS.items())
ITEM_MODELS: Final[tuple[type[BaseModel], ...]] = tuple(_model(kind, name) for name, kind in _ITEMS.items())
if TYPE_CHECKING:
    EventModel: TypeAlias = BaseModel
    ItemModel: TypeAlias = BaseModel
else:
    EventModel = Annotated[Union[EVENT_MODELS], Field(discriminator="type")]  # noqa: UP007
    ItemModel = Annotated[Union[ITEM_MODELS], Field(discriminator="type")]  # noqa: UP007
