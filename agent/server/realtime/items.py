"""The items of a conversation as the protocol shows them, and as the session keeps them."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from uuid import uuid4

import orjson

from sayso.history import Voiced
from sayso.items import AssistantReply, Audio, Instruction, Item, JsonObject, ToolCall, ToolOutput, UserInput
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.outgoing import Heard, Outgoing
from sayso.server.realtime.protocol import (
    AssistantMessage,
    AssistantText,
    FunctionCall,
    SystemMessage,
    UserAudio,
    UserImage,
    UserMessage,
    UserText,
)
from sayso.server.realtime.sound import Format, to_audio

MAX_ITEMS = 5000
CAN_BE_CUT = 32
"""Of so many replies, the last ones, it is known which words were heard when."""
ROOT = "root"


def new_id(kind: str) -> str:
    """An id that nothing else has."""
    return f"{kind}_{uuid4().hex[:24]}"


@dataclass(slots=True, eq=False)
class Entry:
    """An item.

    Attributes:
        shown: As the protocol shows it.
        named: The id (or call id) of what the session keeps of it; empty where that is nothing.
        voiced: The sound of a reply and its words, in order.
        heard: How much of it was sent.
        seconds: Of a user's sound.
    """

    shown: JsonObject
    named: str = ""
    voiced: list[Voiced] = field(default_factory=list[Voiced])
    heard: Heard = field(default_factory=Heard)
    seconds: float = 0.0

    @property
    def id(self) -> str:
        """Its id."""
        return self.shown["id"]


class Items:
    """The items in their order.

    Args:
        out: Is told of them.
    """

    def __init__(self, out: Outgoing) -> None:
        self._out = out
        self._order: list[str] = []
        self._entries: dict[str, Entry] = {}
        self._replies: deque[Entry] = deque()

    def __iter__(self) -> Iterator[Entry]:
        """In order."""
        return (self._entries[id] for id in self._order)

    @property
    def last_id(self) -> str | None:
        """Of the last item."""
        return self._order[-1] if self._order else None

    def get(self, id: str, param: str = "item_id", code: str = "item_not_found") -> Entry:
        """An item.

        Args:
            id: Its id.
            param: The field that holds it, for the error.
            code: Of the error; clients know those of OpenAI, and let some pass.

        Raises:
            InvalidRequest: There is none of this id.
        """
        if (entry := self._entries.get(id)) is None:
            raise InvalidRequest(f"Item with item_id '{id}' not found.", code=code, param=param)
        return entry

    def find(self, fits: Callable[[JsonObject], bool]) -> Entry | None:
        """The last item that fits."""
        return next((self._entries[id] for id in reversed(self._order) if fits(self._entries[id].shown)), None)

    def check_new(self, id: str | None, after: str | None) -> None:
        """Refuse what cannot be put in.

        Raises:
            InvalidRequest: The id is taken, there are too many items, or none that the new one could come after.
        """
        if id is not None and id in self._entries:
            raise InvalidRequest(
                f"There is an item '{id}' already.", code="item_create_duplicate_item_id", param="item.id"
            )
        if len(self._order) >= MAX_ITEMS:
            raise InvalidRequest(f"A conversation has {MAX_ITEMS} items at most.", code="too_many_items")
        if after not in (None, ROOT):
            self.get(after, "previous_item_id")

    def keep(self, entry: Entry, *, after: str | None = None) -> str | None:
        """Put an item in without telling; the id of the one before it."""
        at = len(self._order) if after is None else 0 if after == ROOT else self._order.index(after) + 1
        self._order.insert(at, entry.id)
        self._entries[entry.id] = entry
        if entry.shown.get("role") == "assistant":
            self._replies.append(entry)
            if len(self._replies) > CAN_BE_CUT:
                self._replies.popleft().voiced = []
        return self._order[at - 1] if at else None

    def add(self, entry: Entry, *, after: str | None = None) -> str | None:
        """Put an item in and tell so; the id of the one before it."""
        previous = self.keep(entry, after=after)
        self._tell("added", entry, previous)
        return previous

    def done(self, entry: Entry) -> None:
        """Tell that an item is complete."""
        if entry.id not in self._entries:  # deleted meanwhile
            return
        at = self._order.index(entry.id) if self.last_id != entry.id else len(self._order) - 1
        self._tell("done", entry, self._order[at - 1] if at else None)

    def remove(self, id: str) -> None:
        """Take an item out."""
        del self._entries[id]
        self._order.remove(id)

    def kept_after(self, id: str) -> Iterator[Entry]:
        """The items behind one (all for `ROOT`) of which the session keeps something."""
        start = 0 if id == ROOT else self._order.index(id) + 1
        return (entry for entry in (self._entries[one] for one in self._order[start:]) if entry.named)

    def _tell(self, what: str, entry: Entry, previous: str | None) -> None:
        self._out.send({"type": f"conversation.item.{what}", "previous_item_id": previous, "item": entry.shown})


def message(role: str, content: list[JsonObject], *, id: str, status: str = "completed") -> JsonObject:
    """A message as the protocol shows it."""
    return {
        "id": id,
        "object": "realtime.item",
        "type": "message",
        "status": status,
        "role": role,
        "content": content,
    }


def shown_message(item: SystemMessage | UserMessage | AssistantMessage, id: str) -> JsonObject:
    """A client's message as it is shown: without sound, which would double it in memory."""
    parts: list[JsonObject] = []
    for part in item.content:
        match part:
            case UserAudio():
                parts.append({"type": "input_audio", "transcript": part.transcript})
            case AssistantText():
                parts.append({"type": "output_text", "text": part.text})
            case _:
                parts.append(part.model_dump(exclude_none=True))
    return message("system" if item.role == "developer" else item.role, parts, id=id)


def shown_call(item: FunctionCall, id: str, call_id: str) -> JsonObject:
    """A client's call as it is shown."""
    return {
        "id": id,
        "object": "realtime.item",
        "type": "function_call",
        "status": "completed",
        "call_id": call_id,
        "name": item.name,
        "arguments": item.arguments,
    }


def shown_output(call_id: str, output: str, id: str) -> JsonObject:
    """The output of a call as it is shown."""
    return {
        "id": id,
        "object": "realtime.item",
        "type": "function_call_output",
        "status": "completed",
        "call_id": call_id,
        "output": output,
    }


def to_items(item: SystemMessage | UserMessage | AssistantMessage, id: str, format: Format, at: str) -> list[Item]:
    """What the session keeps of a client's message.

    Args:
        item: The message.
        id: Its id.
        format: Of sound.
        at: The field that holds it, for errors.

    Raises:
        InvalidRequest: It holds what no model here takes.
    """
    match item:
        case SystemMessage():
            return [Instruction("\n".join(part.text for part in item.content), id)]
        case AssistantMessage():
            words = [part.text if isinstance(part, AssistantText) else part.transcript or "" for part in item.content]
            text = "".join(words)
            return [AssistantReply(text, id=id)] if text.strip() else []
        case UserMessage():
            return _of_user(item.content, id, format, at)


def _of_user(parts: Sequence[UserText | UserAudio | UserImage], id: str, format: Format, at: str) -> list[Item]:
    found: list[Item] = []
    for index, part in enumerate(parts):
        where = f"{at}.content[{index}]"
        match part:
            case UserText():
                if not part.text.strip():
                    raise InvalidRequest(
                        f"Invalid '{where}.text': it is empty.", code="invalid_value", param=f"{where}.text"
                    )
                found.append(UserInput(part.text.strip(), id=id))
            case UserAudio():
                found.append(UserInput(part.transcript or "", _sound(part, format, f"{where}.audio"), id=id))
            case UserImage():
                raise InvalidRequest(
                    f"Invalid '{where}.type': no model here sees images.", code="invalid_value", param=f"{where}.type"
                )
    return found


def _sound(part: UserAudio, format: Format, param: str) -> Audio | None:
    if part.audio:
        return to_audio(format, part.audio, param)
    if part.transcript and part.transcript.strip():
        return None
    raise InvalidRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)


def arguments_of(call: FunctionCall, param: str) -> JsonObject:
    """The arguments of a client's call.

    Raises:
        InvalidRequest: They are no JSON object.
    """
    try:
        found: object = orjson.loads(call.arguments)
    except orjson.JSONDecodeError:
        found = None
    if not isinstance(found, dict):
        raise InvalidRequest(f"Invalid '{param}': it is no JSON object.", code="invalid_value", param=param)
    return found  # pyright: ignore[reportUnknownVariableType]


def from_history(item: Item, id: str) -> Entry | None:
    """What a conversation that is gone on with shows of an item."""
    match item:
        case UserInput():
            kind = "input_text" if item.audio is None else "input_audio"
            part = {"type": kind, "text" if item.audio is None else "transcript": item.text}
            return Entry(message("user", [part], id=id), id)
        case Instruction():
            return Entry(message("system", [{"type": "input_text", "text": item.text}], id=id), id)
        case AssistantReply():
            return Entry(message("assistant", [{"type": "output_text", "text": item.text}], id=id), id)
        case ToolCall() | ToolOutput():
            return None
