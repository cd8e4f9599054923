"""`Scenario`: one scripted conversation with an agent, as a YAML file has it. `schema.json` is made from these models.

Write a scenario by hand (docs/evals.md) or make it in Python and `sayso.evals.loader.save` it. What stands elsewhere is
named by paths relative to the file: ``!include`` for texts, ``world: {$ref: }`` for the world, ``code`` for the tools.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias
from zoneinfo import ZoneInfo

from pydantic import AwareDatetime, Discriminator, Field, Tag, field_validator, model_validator

from sayso.evals.expectations import FinalExpectation, Name, Part, TurnExpectation
from sayso.items import CallStatus
from sayso.tools.guard import AfterUntrusted

SCHEMA = 1
ScenarioId: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9_.-]{0,119}$")]
Milliseconds: TypeAlias = Annotated[float, Field(ge=0, le=86_400_000)]
JsonPointer: TypeAlias = Annotated[str, Field(pattern=r"^(/.*)?$")]


class Clock(Part):
    """When the conversation takes place: what tools and the agent take for now."""

    now: AwareDatetime | None = Field(default=None, description="With an offset; else 2026-01-01T09:00:00Z.")
    tick: Literal["virtual", "real"] = "virtual"
    timezone: str | None = Field(default=None, description="IANA name of the user's zone; else the offset of now.")

    @field_validator("timezone")
    @classmethod
    def _exists(cls, value: str | None) -> str | None:
        try:
            return value if value is None else str(ZoneInfo(value))
        except (ValueError, LookupError, OSError):
            raise ValueError("an IANA name such as Europe/Lisbon is expected") from None


class AgentSetup(Part):
    """The agent that the scenario is made for. An agent that is tested by itself keeps its own words and rules."""

    policy: str = Field(default="", description="Its instructions; a text or !include.")
    tools: tuple[Name, ...] = Field(default=(), description="Names in the code, in tools with define, or built in.")
    max_tool_rounds: int | None = Field(default=None, ge=0)
    filler_after_ms: Milliseconds | None = None
    approval_s: float | None = Field(default=None, ge=0)
    after_untrusted: AfterUntrusted | None = None
    voice: str | None = None


class Patch(Part):
    """One change of a JSON document (RFC 6902)."""

    op: Literal["add", "replace", "remove"]
    path: JsonPointer
    value: Any = None


class WorldSource(Part):
    """A world in a file of its own, with changes."""

    ref: str = Field(alias="$ref")
    patch: tuple[Patch, ...] = ()


def _world_kind(value: Any) -> str:
    return "source" if isinstance(value, WorldSource) or (isinstance(value, dict) and "$ref" in value) else "inline"


_INLINE = Field(json_schema_extra={"not": {"required": ["$ref"]}})
World: TypeAlias = Annotated[
    Annotated[WorldSource, Tag("source")] | Annotated[dict[str, Any], Tag("inline"), _INLINE],
    Discriminator(_world_kind),
]


class Raised(Part):
    """What a tool fails with."""

    code: str = "error"
    message: str


class Fault(Part):
    """What goes wrong with a call. Exactly one of the keys below ``args``."""

    on_call: int | tuple[int, ...] | None = Field(default=None, description="The first is 1; None: every call.")
    args: Any = Field(default=None, description="Only calls with these arguments (subset).")
    raises: Raised | None = Field(default=None, alias="raise", description="The tool fails; nothing was changed.")
    raises_after: Raised | None = Field(default=None, alias="raise_after", description="It fails, but took effect.")
    time_out: Literal[True] | None = Field(default=None, description="It hangs until its call is given up.")
    malformed: Literal[True] | None = Field(default=None, description="JSON that breaks off.")
    empty: Literal[True] | None = None
    slow_ms: Milliseconds | None = Field(default=None, description="It takes so much longer.")
    stale: Literal[True] | None = Field(default=None, description="It answers out of the world of the beginning.")
    partial: float | None = Field(default=None, gt=0, lt=1, description="This share of the result's rows or letters.")
    duplicate: Literal[True] | None = Field(default=None, description="It runs twice.")
    oversized: int | None = Field(default=None, ge=1, le=10_000_000, description="So many characters come with it.")
    language: str | None = Field(default=None, description="It answers with this text, in another language.")
    inject: str | None = Field(default=None, description="This instruction stands in the result.")
    at: JsonPointer | None = Field(default=None, description="Where in the result an instruction is put; else behind.")
    returns: Any = Field(default=None, description="It answers with this value.")

    @model_validator(mode="after")
    def _one_kind(self) -> Fault:
        if len(kinds := self.kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(FAULTS)} is expected, not {len(kinds)}")
        return self

    @property
    def kinds(self) -> tuple[str, ...]:
        """Which keys say what goes wrong."""
        return tuple(name for name in FAULTS.values() if name in self.model_fields_set)

    @property
    def kind(self) -> str:
        """The field that says what goes wrong."""
        return self.kinds[0]


FAULTS = {
    "raise": "raises",
    "raise_after": "raises_after",
} | {
    name: name
    for name in ("time_out malformed empty slow_ms stale partial duplicate oversized language inject returns".split())
}
"""The kinds of faults: the key in a file, and the field."""


class Latency(Part):
    """How long a call takes: log-normal by its median and 95th percentile, or evenly between two values."""

    dist: Literal["lognormal", "uniform"] = "lognormal"
    p50: Milliseconds | None = None
    p95: Milliseconds | None = None
    min: Milliseconds | None = None
    max: Milliseconds | None = None

    @model_validator(mode="after")
    def _complete(self) -> Latency:
        low, high = (self.p50, self.p95) if self.dist == "lognormal" else (self.min, self.max)
        if low is None or high is None or low > high or (self.dist == "lognormal" and low == 0):
            raise ValueError("lognormal has p50 above 0 and p95, uniform has min and max; the smaller comes first")
        return self


class CannedResult(Part):
    """What a defined tool answers to calls with these arguments (a subset, comparators allowed)."""

    args: Any = None
    value: Any


class Definition(Part):
    """A tool without code: a schema, and answers that are written down."""

    description: str
    parameters: dict[str, Any] = Field(description="JSON Schema of type object.")
    effect: Literal["pure", "read", "write", "irreversible"] = "read"
    returns: Any = Field(default=None, description="The answer where none of results fits.")
    results: tuple[CannedResult, ...] = ()
    untrusted: bool = False
    approval: bool | None = None
    say: str | None = None


class ToolBehaviour(Part):
    """What is special about a tool in this scenario."""

    define: Definition | None = None
    faults: tuple[Fault, ...] = ()
    latency_ms: Latency | Milliseconds = 0.0
    timeout_ms: Milliseconds | None = Field(default=None, description="In place of the tool's own time-out.")


class Render(Part):
    """How the user's words are spoken."""

    voice: str | None = Field(default=None, description="None: they rotate by seed.")
    rate: float = Field(default=1.0, ge=0.5, le=2.0)
    seed: int | None = None


class Effect(Part):
    """What happens to the user's sound on its way. Exactly one of the keys but snr_db."""

    noise: str | None = Field(default=None, description="A sound file, or made: white, pink, babble.")
    background: str | None = Field(default=None, description="Words of another speaker, or a sound file.")
    snr_db: float | None = Field(default=None, ge=-20, le=60)
    line: str | None = Field(default=None, description="Such as g711u_8k.")
    drop: dict[Literal["rate", "ms"], float] | None = None
    cut_start_ms: Milliseconds | None = None
    gain_db: float | None = Field(default=None, ge=-60, le=20)
    reverb_s: float | None = Field(default=None, gt=0, le=5, description="A room; how long until 60 dB less.")

    @model_validator(mode="after")
    def _one_kind(self) -> Effect:
        kinds = ("noise", "background", "line", "drop", "cut_start_ms", "gain_db", "reverb_s")
        if sum(getattr(self, kind) is not None for kind in kinds) != 1:
            raise ValueError(f"exactly one of {', '.join(kinds)} is expected")
        return self


class AudioSetup(Part):
    """How the user sounds; in speech mode alone."""

    render: Render = Render()
    effects: tuple[Effect, ...] = ()


class Interruption(Part):
    """When the user begins to speak, before the turn before has ended.

    ``agent_audio``: so long after the agent began to be heard. ``turn_start``: after the turn before began.
    ``call``: after a call began to run.
    """

    after: Literal["agent_audio", "turn_start", "call"] = "agent_audio"
    ms: Milliseconds = 0.0


class ReferenceCall(Part):
    """A call that a perfect agent makes."""

    tool: Name
    args: dict[str, Any] = Field(default_factory=dict[str, Any])


class Reference(Part):
    """What a perfect agent does in a turn; left out, it is made from what is expected.

    ``rounds``: its calls, those of one round together.
    """

    rounds: tuple[tuple[ReferenceCall, ...], ...] | None = None
    reply: str | None = None


class UserTurn(Part):
    """One thing that the user says.

    Attributes:
        say: How it is spoken, with ``<pause MS/>`` and ``<spell>...</spell>``; else as ``user``.
        audio: A recording, in place of rendering.
        wait_s: Seconds of silence before it, once the reply was heard.
    """

    user: str = Field(description="The words; empty: silence.")
    say: str | None = None
    audio: str | None = None
    language: str | None = None
    interrupt: Interruption | None = None
    wait_s: float = Field(default=0.0, ge=0, le=86_400)
    effects: tuple[Effect, ...] | None = Field(default=None, description="In place of the scenario's.")
    expect: TurnExpectation = TurnExpectation()
    reference: Reference | None = None


class PastCall(Part):
    """A call of the past, with what came of it."""

    tool: Name
    args: dict[str, Any] = Field(default_factory=dict[str, Any])
    result: Any = None
    status: CallStatus = "ok"


class Past(Part):
    """Something that happened before the first turn. Exactly one of the keys."""

    user: str | None = None
    agent: str | None = None
    call: PastCall | None = None

    @model_validator(mode="after")
    def _one_kind(self) -> Past:
        if len(self.model_fields_set) != 1:
            raise ValueError("exactly one of user, agent, call is expected")
        return self


class UserSim(Part):
    """A simulated caller in place of a script (`sayso.evals.callers`)."""

    kind: Literal["rules", "llm"] = "rules"
    opening: str | None = None
    reason: str = ""
    persona: str = ""
    instructions: str = ""
    known: Any = None
    unknown: Any = None
    must_have: tuple[str, ...] = ()
    nice_to_have: tuple[str, ...] = ()
    stop: tuple[str, ...] = ()
    max_turns: int = Field(default=20, ge=1, le=200)
    more: dict[str, Any] = Field(default_factory=dict[str, Any], description="What one kind of caller needs beside.")
    expect: TurnExpectation = Field(default=TurnExpectation(), description="Of every turn.")


class Origin(Part):
    """Where an imported scenario comes from; its scores are called adapted."""

    set: str
    id: str
    version: str
    licence: str


class Scenario(Part):
    """One scripted conversation, and what is expected of it."""

    schema_: Literal[1] = Field(alias="schema")
    id: ScenarioId
    title: str
    why: str = Field(default="", description="Why it exists.")
    tags: tuple[str, ...] = ()
    suite: str = Field(default="", description="core, regression, adversarial, imported/...; else the folder's name.")
    must_pass: bool = False
    language: str = Field(default="en", pattern=r"^[A-Za-z]{2,3}(-[A-Za-z0-9]+)*$")
    modes: tuple[Literal["text", "speech"], ...] = Field(default=("text", "speech"), min_length=1)
    trials: int = Field(default=1, ge=1, le=1000)
    time_limit_s: float | None = Field(default=None, gt=0, description="Of the unit, on the machine's clock.")
    twin: ScenarioId | None = Field(default=None, description="Its benign or adversarial counterpart.")
    clock: Clock = Clock()
    agent: AgentSetup = AgentSetup()
    code: str | None = Field(default=None, description="The tools' Python file; else tools.py beside or above.")
    world: World = Field(default_factory=dict[str, Any], description="Tables of rows; any JSON object.")
    tools: dict[Name, ToolBehaviour] = Field(default_factory=dict[str, ToolBehaviour])
    target_tools: tuple[Name, ...] | None = Field(
        default=None, description="Only these count in trigger precision and recall; None: all; an empty list: none."
    )
    audio: AudioSetup = AudioSetup()
    history: tuple[Past, ...] = ()
    turns: tuple[UserTurn, ...] = ()
    final: FinalExpectation = FinalExpectation()
    user_sim: UserSim | None = None
    origin: Origin | None = None

    @model_validator(mode="after")
    def _speaks(self) -> Scenario:
        if not self.turns and self.user_sim is None:
            raise ValueError("turns or a user_sim is expected: somebody has to speak")
        if self.turns and self.turns[0].interrupt is not None:
            raise ValueError("the first turn has an interrupt, but there is nothing to interrupt")
        return self
