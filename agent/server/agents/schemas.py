"""What goes in and out of the agent endpoint, as its OpenAPI document shows it."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from sayso.wire import AudioData, EventModel, ItemModel

SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9_-]{8,64}$")]


class Body(BaseModel):
    """A request's body: what is not known is refused by name; a number is no word and no truth value."""

    model_config = ConfigDict(extra="forbid", strict=True)


class ToolInfo(BaseModel):
    """A tool that an agent has.

    Attributes:
        effect: What a call does: ``pure``, ``read``, ``write`` or ``irreversible``.
        parameters: JSON Schema of its arguments.
    """

    name: str
    description: str
    effect: Literal["pure", "read", "write", "irreversible"]
    parameters: dict[str, Any]


class AgentInfo(BaseModel):
    """An agent that is served.

    Attributes:
        hears: It takes audio.
        speaks: It answers in audio.
        voices: That it can speak with; the first is its default.
        sample_rate_hz: Of what it speaks; 0 where it does not.
    """

    name: str
    model: str
    hears: bool
    speaks: bool
    voices: list[str]
    languages: list[str]
    sample_rate_hz: int
    tools: list[ToolInfo]


class AgentList(BaseModel):
    """The agents that are served."""

    agents: list[AgentInfo]


class SessionCreate(Body):
    """A new conversation, or one to go on with.

    Attributes:
        id: Of a conversation to go on with, or the name of a new one; left out: a name is made.
        voice: One of the agent's voices.
        instructions: In place of the agent's.
        speak: Whether replies are spoken; left out: where the agent can.
        record: Keep the sound of both sides.
    """

    id: SessionId | None = None
    voice: str | None = None
    instructions: str | None = Field(None, max_length=50_000)
    speak: bool | None = None
    record: bool = False


class Approval(BaseModel):
    """A call that waits for a person.

    Attributes:
        arguments: Canonical JSON: what an answer is bound to.
        question: What the person is asked.
    """

    call_id: str
    name: str
    arguments: str
    question: str


class SessionInfo(BaseModel):
    """A conversation.

    Attributes:
        live: It is in memory; else it is read from disk when it is used again.
        busy: A turn runs.
        turn: The number of the last turn.
        last_seq: The number of its last event.
        voice: It speaks with; null: the agent's own.
        approval: The call that waits for a person.
    """

    id: str
    agent: str
    live: bool
    busy: bool
    turn: int
    last_seq: int
    voice: str | None
    created_s: float
    updated_s: float
    approval: Approval | None = None


class Place(BaseModel):
    """Where a session that is being opened stands.

    Attributes:
        position: In the queue, from 1; 0 where it does not wait.
    """

    position: int


class SessionList(BaseModel):
    """Conversations, the newest first."""

    sessions: list[SessionInfo]


class Options(Body):
    """What is different in one turn.

    Attributes:
        tools: Names of the tools that may be called.
        tool_choice: ``auto``, ``none``, ``required``, or the name of a tool.
    """

    instructions: str | None = Field(None, max_length=50_000)
    speak: bool | None = None
    voice: str | None = None
    tools: list[str] | None = None
    tool_choice: str = "auto"
    max_tokens: int | None = Field(None, ge=1, le=100_000)
    temperature: float | None = Field(None, ge=0, le=2)
    seed: int | None = None


class TurnCreate(Body):
    """What a user says: exactly one of the three.

    Attributes:
        text: Words.
        audio: Samples.
        file: Base64 of a sound file (WAV, FLAC, MP3, Ogg, ...).
    """

    text: str | None = Field(None, max_length=100_000)
    audio: AudioData | None = None
    file: str | None = None
    options: Options | None = None

    @model_validator(mode="after")
    def _one(self) -> TurnCreate:
        if sum(value is not None for value in (self.text, self.audio, self.file)) != 1:
            raise ValueError("give exactly one of text, audio and file")
        return self


class CallInfo(BaseModel):
    """A call of a turn, from its arguments to its outcome."""

    name: str
    arguments: dict[str, Any]
    status: str
    output: str
    seconds: float


class TurnInfo(BaseModel):
    """A whole turn.

    Attributes:
        heard: What was understood of the user.
        text: The reply's words.
        audio: The reply's sound, without fillers.
        stages: Seconds from the turn's start.
        reason: ``completed``, ``interrupted`` or ``no_speech``.
    """

    turn: int
    heard: str
    text: str
    audio: AudioData | None
    calls: list[CallInfo]
    stages: dict[str, float]
    reason: Literal["completed", "interrupted", "no_speech"]


class Interrupt(Body):
    """Cut the reply off, after so much of the turn's sound was played; left out: all that was sent."""

    played_ms: int | None = Field(None, ge=0)


class Interrupted(BaseModel):
    """Whether there was anything to cut."""

    interrupted: bool


class Cancelled(BaseModel):
    """Whether the call ran. A write may have taken effect by then."""

    cancelled: bool


class Events(BaseModel):
    """What happened in a conversation, as far as it is kept: about the last minute."""

    events: list[EventModel]


class History(BaseModel):
    """The conversation's items: whole turns, and what was heard of interrupted ones."""

    items: list[ItemModel]


class JournalEntry(BaseModel):
    """A call as it was written down before it ran.

    Attributes:
        status: How it ended; null while it runs; ``in_doubt`` where a process died inside it.
    """

    call_id: str
    tool: str
    arguments: str
    effect: str
    turn: int
    begun_s: float
    ended_s: float | None
    status: str | None
    output: str | None


class JournalEntries(BaseModel):
    """The calls of a conversation, oldest first."""

    calls: list[JournalEntry]


class Recording(BaseModel):
    """A recorded file of sound."""

    name: str
    bytes: int


class Recordings(BaseModel):
    """What was recorded of a conversation."""

    recordings: list[Recording]
