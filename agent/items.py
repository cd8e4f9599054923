"""What a model is shown: the items of a conversation and the tools it may call.

Items are immutable and in the order in which they happened. A history is valid when every `ToolCall` is followed,
before the next user item, by a `ToolOutput` with its id; `Session` never stores another kind. Where that output said
``running`` or ``waiting``, or a result came after its time-out, a second output with the same id follows when it came.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

if TYPE_CHECKING:  # numpy takes half of the time that importing sayso may take
    import numpy as np
    from numpy.typing import NDArray

JsonObject: TypeAlias = dict[str, Any]
Samples: TypeAlias = "NDArray[np.float32]"
"""Mono audio: shape (n,), float32 in [-1, 1]."""

CallStatus: TypeAlias = Literal[
    "ok", "error", "invalid", "unknown", "timeout", "cancelled", "running", "waiting", "refused", "in_doubt"
]
"""How a call ended, or where it stands.

``running``: its turn was cut off and a write went on, or the tool runs in the background; another output follows.
``waiting``: a person has to agree first. ``refused``: a rule or a person said no, and it did not run. ``in_doubt``: the
process died inside it; nobody knows whether it took effect.
"""


@dataclass(frozen=True, slots=True)
class Audio:
    """A piece of mono sound.

    Attributes:
        samples: Shape (n,), float32, in [-1, 1].
        sample_rate_hz: Samples a second.
    """

    samples: Samples
    sample_rate_hz: int

    @property
    def seconds(self) -> float:
        """The length in seconds."""
        return len(self.samples) / self.sample_rate_hz


@dataclass(frozen=True, slots=True)
class ToolExample:
    """One worked example of a tool: what somebody says, and the arguments that follow from it."""

    request: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True)
class ToolSpec:
    """A tool as a model sees it.

    Attributes:
        name: Unique among an agent's tools; letters, digits, ``_`` and ``-``.
        description: What it does and when to use it.
        parameters: A closed JSON Schema of type ``object``.
        examples: Spoken requests with the arguments they should give.
        fillers: Short lines of which one is said while the call runs, in turns.
    """

    name: str
    description: str
    parameters: JsonObject
    examples: Sequence[ToolExample] = ()
    fillers: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class UserInput:
    """What a user said or wrote in one turn.

    Attributes:
        text: The words; for speech the transcript, empty until it was recognised.
        audio: The sound of a spoken turn, or None for a written one.
        language: BCP 47 tag of the language heard, or None where unknown.
        id: Names the item where an app has to (`sayso.session.Session.remove`).
    """

    text: str = ""
    audio: Audio | None = field(default=None, compare=False, repr=False)
    language: str | None = None
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class Instruction:
    """What the app tells the model in the middle of a conversation; the user neither said nor hears it.

    Attributes:
        text: The words.
        id: As of a `UserInput`.
    """

    text: str
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class AssistantReply:
    """What the agent said and the user heard.

    Attributes:
        text: The words that were heard (all of them, or those before an interruption).
        token_ids: The exact ids that the model generated in this round, its calls among them, where it exposes them
            and all of them was heard; never re-rendered from text.
        interrupted: The user cut it off.
        id: As of a `UserInput`.
    """

    text: str
    token_ids: tuple[int, ...] = ()
    interrupted: bool = False
    id: str = field(default="", compare=False)


@dataclass(frozen=True, slots=True)
class ToolCall:
    """A call the model made.

    Attributes:
        call_id: Unique in the conversation.
        name: The tool.
        arguments: What the model wrote, parsed; validation comes later.
        token_ids: As of an `AssistantReply`, where the round began with this call.
    """

    call_id: str
    name: str
    arguments: JsonObject
    token_ids: tuple[int, ...] = field(default=(), compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class ToolOutput:
    """What came back from a call, as text for the model."""

    call_id: str
    name: str
    output: str
    status: CallStatus = "ok"


Item: TypeAlias = UserInput | Instruction | AssistantReply | ToolCall | ToolOutput


def unanswered_calls(items: Sequence[Item]) -> Mapping[str, ToolCall]:
    """The calls in ``items`` that have no output yet, by call id, in order."""
    waiting: dict[str, ToolCall] = {}
    for item in items:
        if isinstance(item, ToolCall):
            waiting[item.call_id] = item
        elif isinstance(item, ToolOutput):
            waiting.pop(item.call_id, None)
    return waiting
