"""`VoiceModel`: what every model is to the agent loop, and the small events it streams."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field
from typing import Literal, Protocol, TypeAlias, runtime_checkable

from sayso.items import Audio, Item, JsonObject, ToolSpec
from sayso.voices import Voice


@dataclass(frozen=True, slots=True)
class Profile:
    """What a model can do. The loop asks these flags, never a model's name.

    Attributes:
        name: For people to read.
        hears: Takes audio in a `UserInput` (and reports `Transcript`s of it).
        speaks: Streams `Speech` for its replies.
        says_lines: `VoiceModel.say` can speak a given line in a voice of the model.
        constrains_calls: A call's name and arguments always fit the schemas.
        forces_calls: It calls a tool where `ModelRequest.force_call` says so.
        keeps_audio: History has to hold users' audio; where not, it is dropped once its words are known.
        rolls_back: It can cut its own cache at the last token that was heard.
        constrains_answers: Its words always fit `ModelRequest.answer_schema`.
        transcribes: It is a `sayso.models.transcription.Transcribing`.
        translates: It also writes down in English what is said in other languages.
        paces: It is a `Pacing`.
        thinks: It thinks before it answers where `ModelRequest.thinking` says so.
        overhears_s: It is an `Overhearing`, and so many seconds of what a user says are worth the first call; 0: none.
        sample_rate_hz: Of the audio it speaks; 0 where it does not speak.
        voices: Names that `ModelRequest.voice` accepts; the first is the default.
        voice_facts: What is known of them, where anything is.
        languages: BCP 47 tags of what it understands; empty where unknown.
        context_tokens: How long a conversation may be, or 0 where unknown.
    """

    name: str
    hears: bool = False
    speaks: bool = False
    says_lines: bool = False
    constrains_calls: bool = False
    forces_calls: bool = False
    keeps_audio: bool = False
    rolls_back: bool = False
    constrains_answers: bool = False
    transcribes: bool = False
    translates: bool = False
    paces: bool = False
    thinks: bool = False
    overhears_s: float = 0.0
    sample_rate_hz: int = 0
    voices: tuple[str, ...] = ()
    voice_facts: tuple[Voice, ...] = ()
    languages: tuple[str, ...] = ()
    context_tokens: int = 0


@dataclass(frozen=True, slots=True)
class ModelRequest:
    """One round of generation: a conversation in, a stream of `ModelEvent` out.

    Attributes:
        items: The conversation; the last item is what to answer. Empty where the agent speaks first.
        instructions: The agent's system text.
        tools: What may be called; the same tuple for a whole session, so that its prefix can be cached.
        voice: One of the profile's voices, or None for the default.
        speak: Whether speech is wanted beside the text.
        allow_calls: False where the model must answer in words (the rounds of a turn are used up).
        force_call: True where the model announced a call and did not make it.
        transcribe: The words of the last user item decide something: a `Transcript` is wanted before all else, also
            from a model that needs none.
        seed: For sampling; None leaves it to the model.
        max_tokens: Most tokens of this round; None leaves it to the model.
        temperature: For sampling; None leaves it to the model.
        answer_schema: JSON Schema, of type ``object``, of what is answered in words; only where
            `Profile.constrains_answers`. The words are then the text of a JSON object.
        thinking: Most tokens of a thought before the answer; 0: none.
    """

    items: Sequence[Item]
    instructions: str = ""
    tools: tuple[ToolSpec, ...] = ()
    voice: str | None = None
    speak: bool = True
    allow_calls: bool = True
    force_call: bool = False
    transcribe: bool = False
    seed: int | None = None
    max_tokens: int | None = None
    temperature: float | None = None
    answer_schema: JsonObject | None = None
    thinking: int = 0


@dataclass(frozen=True, slots=True)
class Transcript:
    """What the model heard in the last user item. Emitted at most once, before anything else."""

    text: str
    language: str | None = None
    type: Literal["transcript"] = "transcript"


@dataclass(frozen=True, slots=True)
class Text:
    """The next piece of the reply's words."""

    text: str
    type: Literal["text"] = "text"


@dataclass(frozen=True, slots=True)
class Speech:
    """The next piece of the reply's sound, and the words it speaks where known."""

    audio: Audio = field(repr=False)
    text: str = ""
    type: Literal["speech"] = "speech"


@dataclass(frozen=True, slots=True)
class Thinking:
    """A piece of the thought before an answer. It is never spoken and no part of the conversation."""

    text: str
    type: Literal["thinking"] = "thinking"


@dataclass(frozen=True, slots=True)
class CallOpen:
    """A tool call begins; its name is known. Calls of a round are numbered from 0."""

    index: int
    name: str
    type: Literal["call_open"] = "call_open"


@dataclass(frozen=True, slots=True)
class CallDelta:
    """The next characters of call ``index``'s JSON arguments."""

    index: int
    delta: str
    type: Literal["call_delta"] = "call_delta"


@dataclass(frozen=True, slots=True)
class CallClose:
    """Call ``index`` is complete.

    Attributes:
        arguments: The parsed JSON object, or None where the text was no JSON object.
        raw: The argument text as generated.
    """

    index: int
    arguments: JsonObject | None
    raw: str
    type: Literal["call_close"] = "call_close"


@dataclass(frozen=True, slots=True)
class Done:
    """The round is over.

    Attributes:
        prompt_tokens: Tokens prefilled for this round (not those reused from a cache).
        completion_tokens: Tokens generated.
        truncated: The answer was cut off at the most tokens that it may have.
        token_ids: The exact generated ids where the model exposes them: what history is shown with later, in another
            process too.
    """

    prompt_tokens: int = 0
    completion_tokens: int = 0
    truncated: bool = False
    token_ids: tuple[int, ...] = ()
    type: Literal["done"] = "done"


ModelEvent: TypeAlias = Transcript | Text | Speech | Thinking | CallOpen | CallDelta | CallClose | Done


@runtime_checkable
class VoiceModel(Protocol):
    """A model that listens, thinks, calls and speaks.

    One instance serves any number of sessions. Every method may be cancelled: the task that awaits it is
    cancelled and the model stops computing.
    """

    @property
    def profile(self) -> Profile:
        """What it can do."""
        ...

    async def warm(self, request: ModelRequest) -> None:
        """Load what is needed and prefill the part of ``request`` that all its turns share. Idempotent."""
        ...

    def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """Stream one round; the last event is `Done`. Closing the generator stops the computation.

        Raises:
            ModelError: The model failed.
            ModelMissingError: Its files or packages are not here.
        """
        ...

    def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """Speak ``text`` as it stands. Only where `Profile.says_lines`."""
        ...

    async def aclose(self) -> None:
        """Free what it holds. Idempotent."""
        ...


@runtime_checkable
class Pacing(Protocol):
    """A model that can say a line faster or slower; see `Profile.paces`."""

    def say(self, text: str, voice: str | None = None, speed: float = 1.0) -> AsyncGenerator[Speech, None]:
        """As `VoiceModel.say`, at a pace of 0.5 to 2 times the voice's own."""
        ...


@runtime_checkable
class Overhearing(Protocol):
    """A model that can begin to hear before the user has finished; see `Profile.overhears_s`."""

    async def overhear(self, audio: Audio) -> float:
        """Take in the beginning of what a user is saying, so that `VoiceModel.respond` has less left to do.

        It changes nothing else. May be cancelled, and what it did is lost at worst.

        Args:
            audio: All of it so far; the rest follows.

        Returns:
            How long, in seconds, the sound has to be for the next call to be of use.
        """
        ...
