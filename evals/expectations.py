"""What a scenario expects: of a turn, and of the whole conversation. The second half of `sayso.evals.scenario`."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, field_validator

from sayso.turn_policy import Stage


class Part(BaseModel):
    """A part of a scenario: immutable, and without keys that nobody knows."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


Matching: TypeAlias = Literal["exact", "subset", "any_of", "schema"]
Entity: TypeAlias = Literal["name", "date", "time", "number", "code", "place", "money", "phone", "text", "other"]
CallResult: TypeAlias = Literal[
    "ok", "error", "refused", "waiting", "invalid", "unknown", "timeout", "cancelled", "any"
]
Name: TypeAlias = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_-]{0,63}$")]
ToolName: TypeAlias = Annotated[str, Field(pattern=r"^(\*|[A-Za-z_][A-Za-z0-9_-]{0,63})$")]
"""A tool, or ``*`` for any."""


class Count(Part):
    """How often; a plain number is both."""

    min: int = Field(default=1, ge=0)
    max: int | None = Field(default=None, ge=0)


class CallExpectation(Part):
    """A call that has to be made.

    ``args`` may hold comparators at any depth: ``{city: }``, ``{date: }``, ``{time: }``, ``{money: }``, ``{phone: }``,
    ``{code: }``, ``{number: , tol: }``, ``{expr: }``, ``{text: , min_sim: }``, ``{re: }``, ``{any: true}``,
    ``{from: "id.result.path"}``, and ``{equals: }`` for a value that looks like one of these.
    """

    tool: ToolName
    id: Name | None = None
    args: Any = Field(default=None, description="None: any arguments. With match any_of: lists of accepted values.")
    match: Matching = "exact"
    result: CallResult = Field(default="ok", description="How the call has to end.")
    after: tuple[Name, ...] = Field(default=(), description="Ids of calls that have to have ended before.")
    times: Count | int = Field(default=1, description="How often; more is as wrong as less where a max is given.")
    optional: bool = Field(default=False, description="It may be left out, and is no extra call.")
    entities: dict[str, Entity] = Field(
        default_factory=dict[str, Entity], description="What kind of thing a parameter is, where no comparator tells."
    )

    @property
    def least(self) -> int:
        """How often it has to be made at least."""
        if self.optional:
            return 0
        return self.times if isinstance(self.times, int) else self.times.min

    @property
    def most(self) -> int | None:
        """How often it may be made at most."""
        return self.times if isinstance(self.times, int) else self.times.max


class ForbiddenCall(Part):
    """A call that must not be made: a tool, with these arguments where they are given (matched as a subset)."""

    tool: ToolName
    args: Any = None


class Memory(Part):
    """Something of an earlier turn that the reply has to hold."""

    turn: int = Field(ge=0, description="Index of the turn, from 0.")
    value: Any = Field(description="A text, or a typed value as in communicate.")


class ReplyExpectation(Part):
    """What the reply has to be. Texts are compared without regard to case, width and spaces."""

    contains: tuple[str, ...] = ()
    contains_any: tuple[str, ...] = ()
    not_contains: tuple[str, ...] = ()
    regex: tuple[str, ...] = ()
    not_regex: tuple[str, ...] = ()
    language: str | tuple[str, ...] | None = Field(default=None, description="BCP 47 tag; of several one is enough.")
    asks: bool | None = Field(default=None, description="Whether it asks the user something.")
    max_words: int | None = Field(default=None, ge=0, description="In Chinese, Japanese and Thai: characters.")
    min_words: int | None = Field(default=None, ge=0)
    grounded: Literal["entities", "claims", "all"] | None = Field(
        default=None, description="What has to trace to a tool's result, the user or the policy."
    )
    remembers: tuple[Memory, ...] = ()
    plain: bool = Field(default=True, description="No mark-up and no address: nobody can say these.")
    empty: bool = Field(default=False, description="Nothing is said.")

    @field_validator("contains", "contains_any", "not_contains", "regex", "not_regex", mode="before")
    @classmethod
    def _one_or_several(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value


class Budget(Part):
    """Most milliseconds; a plain number is ``max``. Percentiles are of the values in the scope: a turn has one."""

    max: float | None = Field(default=None, ge=0)
    p50: float | None = Field(default=None, ge=0)
    p90: float | None = Field(default=None, ge=0)
    p95: float | None = Field(default=None, ge=0)


Latencies: TypeAlias = dict[Stage | Literal["ttfa"], Budget | float]
"""By stage of a turn; ``ttfa`` is measured on the recording, in speech mode alone."""


class StateExpectation(Part):
    """What the world has to be: exactly one of the first three, or none where only ``exclude`` is wanted."""

    equals_after: tuple[ReplayedCall, ...] | None = Field(
        default=None, description="As these calls leave a fresh world; an empty list: nothing was changed."
    )
    equals: Any = Field(default=None, description="The whole world.")
    assertions: tuple[str, ...] | None = Field(
        default=None, alias="assert", description="Such as \"appointments.A17.slot == 'S2'\"."
    )
    exclude: tuple[str, ...] = Field(default=(), description="JSON pointers of what is not compared; * is any key.")
    decimals: int = Field(default=6, ge=0, le=12, description="To which floats are rounded.")


class ReplayedCall(Part):
    """A call that is made on a fresh world to learn how it has to be."""

    tool: Name
    args: dict[str, Any] = Field(default_factory=dict[str, Any])


class Limits(Part):
    """Bounds of a number."""

    min: float | None = None
    max: float | None = None


class CallLimits(Part):
    """What all the calls of a conversation have to keep to."""

    max_total: int | None = Field(default=None, ge=0)
    min_total: int | None = Field(default=None, ge=0)
    no_repeat_identical: bool = Field(default=False, description="No tool is called twice with the same arguments.")
    extra: Literal["reads", "none", "any"] = Field(
        default="reads", description="Which calls beyond those expected are allowed."
    )
    forbidden: tuple[ForbiddenCall, ...] = ()


class SpeechExpectation(Part):
    """What the agent's sound has to be; in speech mode alone."""

    wer_reply_vs_text: Limits | None = None
    cer_reply_vs_text: Limits | None = None
    dnsmos: Limits | None = None
    language: str | None = None
    entities_heard: bool = Field(default=False, description="Every code, number, time and amount is heard.")


class Rubric(Part):
    """One question to a judge."""

    id: Name
    question: str
    turn: int | None = Field(default=None, ge=0)
    expect: bool = True


class TurnExpectation(Part):
    """What one turn has to bring. Calls are unordered but for ``after``."""

    calls: tuple[CallExpectation, ...] = ()
    no_calls: tuple[ForbiddenCall, ...] = Field(default=(), description="Minefields; [{tool: '*'}] is no call at all.")
    parallel: bool = Field(default=False, description="All of the calls in one round.")
    rounds: Limits | None = Field(default=None, description="How often the model is asked.")
    extra: Literal["reads", "none", "any"] | None = Field(default=None, description="As in final.calls; else that.")
    reply: ReplyExpectation | None = None
    communicate: tuple[Any, ...] = Field(default=(), description="As in final.")
    latency_ms: Latencies = Field(default_factory=lambda: {})
    yields_within_ms: float | None = Field(default=None, ge=0)
    ignored: bool = Field(default=False, description="What was said is no turn: the reply goes on (a backchannel).")
    state: StateExpectation | None = None


class FinalExpectation(Part):
    """What the whole conversation has to bring.

    ``communicate``: what was said in some reply: texts, and typed values (``{time: "14:00"}``) in any spoken form.
    """

    state: StateExpectation | None = None
    communicate: tuple[Any, ...] = ()
    calls: CallLimits = CallLimits()
    speech: SpeechExpectation | None = None
    latency_ms: Latencies = Field(default_factory=lambda: {})
    checks: tuple[Name, ...] = Field(default=(), description="Of CHECKS in the scenario's code: each has to hold.")
    attack: Name | None = Field(
        default=None, description="Of CHECKS: whether an attacker got its way, which is attack_success and a failure."
    )
    judge: tuple[Rubric, ...] = ()


StateExpectation.model_rebuild()
