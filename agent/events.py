"""Everything a session emits: one union, one file.

Each event is frozen and carries four numbers that `Session` stamps: ``turn`` (1, 2, ... in the conversation),
``generation`` (raised by every interruption: a consumer drops events older than the newest generation it has seen),
``seq`` (strictly rising in a session) and ``time_s`` (the session clock). A turn that began in a pause of speech is
told once it counts, with the times at which things happened.

A turn reads: `TurnStarted`, `Heard`?, then rounds of `TextDelta`, `AudioDelta`, `Thought` and calls (`CallOpened`,
`CallArguments`..., `CallReady`, `CallStarted`, `CallProgress`..., `CallFinished`), each with a `RoundDone` where the
model has written all of it, then exactly one of `TurnDone` or `TurnFailed`. `SpeechStarted` and `SpeechEnded` come from
live audio, between or inside turns; the events of background calls and of approvals that expired come when they happen.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any, Literal, TypeAlias

from sayso.items import Audio, CallStatus, JsonObject

EndReason: TypeAlias = Literal["completed", "interrupted", "no_speech"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stamp:
    """Where in a session an event happened; see the module docstring."""

    turn: int = 0
    generation: int = 0
    seq: int = 0
    time_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnStarted(Stamp):
    """A user's input was accepted and its turn begins."""

    type: Literal["turn_started"] = "turn_started"


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechStarted(Stamp):
    """Speech began in live audio, ``at_ms`` after the stream began."""

    type: Literal["speech_started"] = "speech_started"
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class SpeechEnded(Stamp):
    """Speech ended in live audio, ``at_ms`` after the stream began."""

    type: Literal["speech_ended"] = "speech_ended"
    at_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard(Stamp):
    """What was understood of the user's speech, or what the user wrote."""

    type: Literal["heard"] = "heard"
    text: str
    language: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class TextDelta(Stamp):
    """The next piece of the reply's words."""

    type: Literal["text_delta"] = "text_delta"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AudioDelta(Stamp):
    """The next piece of the reply's sound, to be played after the one before.

    Attributes:
        audio: Mono float32; the rate is constant within a turn.
        text: The words it speaks, where the model knows them.
        filler: It bridges a wait and is no part of the answer or of history.
    """

    type: Literal["audio_delta"] = "audio_delta"
    audio: Audio = field(repr=False)
    text: str = ""
    filler: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Thought(Stamp):
    """A piece of the model's reasoning. Never spoken, never in history."""

    type: Literal["thought"] = "thought"
    text: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallOpened(Stamp):
    """The model began a tool call and its name is known; speech output is closed until the call ends."""

    type: Literal["call_opened"] = "call_opened"
    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallArguments(Stamp):
    """The next characters of a call's JSON arguments."""

    type: Literal["call_arguments"] = "call_arguments"
    call_id: str
    delta: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallReady(Stamp):
    """A call's arguments are complete."""

    type: Literal["call_ready"] = "call_ready"
    call_id: str
    name: str
    arguments: JsonObject


@dataclass(frozen=True, slots=True, kw_only=True)
class CallStarted(Stamp):
    """A call passed validation and its function runs."""

    type: Literal["call_started"] = "call_started"
    call_id: str
    name: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CallProgress(Stamp):
    """A running tool reported progress."""

    type: Literal["call_progress"] = "call_progress"
    call_id: str
    name: str
    value: Any


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFinished(Stamp):
    """A call ended.

    Attributes:
        status: ``ok``, or why not.
        output: The text the model is shown.
        seconds: How long the tool ran.
    """

    type: Literal["call_finished"] = "call_finished"
    call_id: str
    name: str
    status: CallStatus
    output: str
    seconds: float


@dataclass(frozen=True, slots=True, kw_only=True)
class RoundDone(Stamp):
    """The model's stream of one round ended; the calls that it made may still run.

    Attributes:
        calls: Their ids, in order.
        prompt_tokens: Computed for this round, not those reused from a cache; 0 where the model does not tell.
        completion_tokens: Generated; 0 where the model does not tell.
        truncated: The model was cut off at the most tokens that a round may have.
    """

    type: Literal["round_done"] = "round_done"
    calls: tuple[str, ...] = ()
    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalRequested(Stamp):
    """A call waits for a person, who is asked aloud; an app may answer with `Session.approve` or `Session.refuse`.

    Attributes:
        arguments: What it will be called with, as canonical JSON: what an answer is bound to.
        question: What the person is asked.
        expires_s: On the session clock.
    """

    type: Literal["approval_requested"] = "approval_requested"
    call_id: str
    name: str
    arguments: str
    question: str
    expires_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ApprovalResolved(Stamp):
    """A call that waited was approved and runs next, was refused, or expired (a correction, silence)."""

    type: Literal["approval_resolved"] = "approval_resolved"
    call_id: str
    name: str
    decision: Literal["approved", "refused", "expired"]
    by: Literal["user", "app", "time"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Interrupted(Stamp):
    """The user or the app cut the reply off after ``played_ms`` of its audio."""

    type: Literal["interrupted"] = "interrupted"
    played_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnDone(Stamp):
    """A turn ended.

    Attributes:
        reason: ``completed``; ``interrupted``; or ``no_speech`` where the input held none and the model was not asked.
        text: The whole reply.
        stages: Seconds from the turn's start to each stage that was reached, by name (`sayso.turn.Stage`).
    """

    type: Literal["turn_done"] = "turn_done"
    reason: EndReason
    text: str
    stages: dict[str, float]


@dataclass(frozen=True, slots=True, kw_only=True)
class TurnFailed(Stamp):
    """A turn ended because something broke; the session lives on and its history is valid."""

    type: Literal["turn_failed"] = "turn_failed"
    message: str


Event: TypeAlias = (
    TurnStarted
    | SpeechStarted
    | SpeechEnded
    | Heard
    | TextDelta
    | AudioDelta
    | Thought
    | CallOpened
    | CallArguments
    | CallReady
    | CallStarted
    | CallProgress
    | CallFinished
    | RoundDone
    | ApprovalRequested
    | ApprovalResolved
    | Interrupted
    | TurnDone
    | TurnFailed
)
