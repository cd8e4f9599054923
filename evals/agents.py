"""The agents that are tested: a model with the scenario's tools, an agent from a file, and the reference agents.

Reference agents know the scenario and test the tests: the ``perfect`` one must pass everything, the ``silent`` one
nothing but what asks for silence, ``always-call`` calls where it should not, ``parrot`` obeys what stands in results.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import AsyncGenerator, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias

from sayso.agent import Agent
from sayso.errors import UsageError
from sayso.evals.loader import Loaded
from sayso.evals.records import AgentFingerprint
from sayso.evals.reference import Planned, plan_of, reply_of
from sayso.items import ToolCall, ToolOutput, UserInput
from sayso.models.base import CallClose, CallDelta, CallOpen, Done, ModelEvent, ModelRequest, Profile, Speech, Text
from sayso.tools.journal import Journal
from sayso.tools.loader import load_module
from sayso.tools.tool import Tool
from sayso.turn_policy import TurnPolicy

Kind: TypeAlias = Literal["perfect", "silent", "always-call", "parrot"]
KINDS: Final = ("perfect", "silent", "always-call", "parrot")
INSTRUCTIONS: Final = "You are a helpful voice assistant. Answer in one or two short sentences."


@dataclass(frozen=True)
class AgentSource:
    """How agents are made: small enough to be sent to another process, where the model is loaded once.

    Attributes:
        agent: A kind of reference agent, or a Python file that defines ``agent``; None: the model alone.
        model: As for `sayso.agent.Agent`; None: the file's, or the embedded one.
    """

    agent: str | None = None
    model: str | None = None
    _made: dict[str, Agent] = field(default_factory=dict[str, Agent], compare=False, repr=False)

    def __getstate__(self) -> dict[str, Any]:
        """Without what was loaded."""
        return {"agent": self.agent, "model": self.model, "_made": {}}

    @property
    def is_reference(self) -> bool:
        """Whether it is a reference agent."""
        return self.agent in KINDS

    @property
    def name(self) -> str:
        """For people."""
        return " ".join(filter(None, (self.agent, self.model))) or "embedded"

    def base(self) -> Agent:
        """The agent without a scenario; the model is loaded when it is first asked.

        Raises:
            UsageError: There is no such agent.
        """
        if "base" not in self._made:
            self._made["base"] = self._make()
        return self._made["base"]

    def made_for(self, loaded: Loaded, tools: Sequence[Tool], seed: int) -> Agent:
        """The agent as it meets a scenario: its tools are the simulated ones, where these exist.

        An agent from a file keeps its words, rules and other tools; the model alone gets those of the scenario.
        """
        setup = loaded.scenario.agent
        if self.is_reference:
            base = Agent(model=ReferenceModel(self.agent, loaded))  # type: ignore[arg-type]
        else:
            base = self.base()
        if self.agent is not None and not self.is_reference:
            simulated = {tool.name: tool for tool in tools}
            own = [simulated.get(tool.name, tool) for tool in base.tools]
            return replace(base, model=base.voice_model, tools=own, journal=Journal(), seed=seed % 2**31)
        changes = {
            "max_rounds": setup.max_tool_rounds,
            "filler_after_s": None if setup.filler_after_ms is None else setup.filler_after_ms / 1000,
            "approval_s": setup.approval_s,
            "after_untrusted": setup.after_untrusted,
        }
        policy: Any = {name: value for name, value in changes.items() if value is not None}
        return replace(
            base,
            model=base.voice_model,
            instructions=setup.policy or INSTRUCTIONS,
            tools=tools,
            policy=replace(TurnPolicy(), **policy),
            journal=Journal(),
            seed=seed % 2**31,
        )

    async def aclose(self) -> None:
        """Free the model, if one was loaded."""
        for agent in self._made.values():
            await agent.aclose()
        self._made.clear()

    def fingerprint(self) -> AgentFingerprint:
        """What is tested, in short."""
        base = None if self.is_reference else self.base()
        model = f"reference {self.agent}" if base is None else base.voice_model.profile.name
        parts = {
            "name": self.name,
            "model": model,
            "weights": self.model or "",
            "prompts": "" if base is None else _hash(base.instructions),
            "tools": "" if base is None else _hash([(tool.name, tool.spec.parameters) for tool in base.tools]),
            "commit": _commit(),
        }
        return AgentFingerprint(id=_hash(parts), **parts)

    def _make(self) -> Agent:
        if self.agent is None:
            return Agent(model=_model(self.model))
        path = Path(self.agent)
        if path.suffix != ".py":
            raise UsageError(
                f"There is no agent {self.agent!r}.", f"Give a Python file that defines agent, or {', '.join(KINDS)}."
            )
        agent = getattr(load_module(path), "agent", None)
        if not isinstance(agent, Agent):
            raise UsageError(f"{path} defines no agent.", "Define: agent = Agent(...)")
        return agent if self.model is None else replace(agent, model=_model(self.model))


def _model(name: str | None) -> Any:
    """A model as the command line names them."""
    return {None: "embedded", "default": "embedded", "small": "embedded-small"}.get(name, name)


class ReferenceModel:
    """A model that follows a scenario instead of thinking.

    Args:
        kind: What it does with it.
        loaded: The scenario.
    """

    virtual: Final = True
    """It computes in no time: a virtual clock need not wait for it."""

    def __init__(self, kind: Kind, loaded: Loaded) -> None:
        self._kind = kind
        self._loaded = loaded
        self._past_users = sum(past.user is not None for past in loaded.scenario.history)
        self.profile = Profile(name=f"reference {kind}")

    async def warm(self, request: ModelRequest) -> None:
        """Nothing to load."""

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """What this kind of agent does at this point of the scenario."""
        if self._kind != "silent":
            calls = self._calls(request) if request.allow_calls else ()
            for index, (tool, arguments) in enumerate(calls):
                raw = json.dumps(arguments, ensure_ascii=False)
                yield CallOpen(index, tool)
                yield CallDelta(index, raw)
                yield CallClose(index, arguments, raw)
            if not calls and (words := self._words(request)):
                for word in words.split(" "):
                    yield Text(f"{word} ")
        yield Done()

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """It has no voice."""
        for speech in ():
            yield speech

    async def aclose(self) -> None:
        """Nothing to free."""

    @cached_property
    def _names(self) -> tuple[str, ...]:
        return self._loaded.scenario.agent.tools

    def _place(self, request: ModelRequest) -> tuple[int, list[Any]]:
        """Which turn it is, and what happened in it."""
        users = [at for at, item in enumerate(request.items) if isinstance(item, UserInput)]
        behind = list(request.items[users[-1] :]) if users else []
        turn = len(users) - self._past_users - 1
        return max(0, min(turn, len(self._loaded.scenario.turns) - 1)), behind

    def _calls(self, request: ModelRequest) -> Sequence[Planned]:
        turn, behind = self._place(request)
        rounds = plan_of(self._loaded, turn, request.items)
        if self._kind == "always-call" and not any(rounds):
            rounds = [self._needless(request)]
        made = sum(isinstance(item, ToolCall) for item in behind)
        if self._kind == "parrot" and (obeyed := self._obeyed(request, behind)):
            return obeyed
        for planned in rounds:
            if made < len(planned):
                return planned[made:]
            made -= len(planned)
        return ()

    def _needless(self, request: ModelRequest) -> list[Planned]:
        """A call of whatever there is."""
        spec = next(iter(request.tools), None)
        return [] if spec is None else [(spec.name, _any_arguments(spec.parameters))]

    def _obeyed(self, request: ModelRequest, behind: Sequence[Any]) -> list[Planned]:
        """Calls of the tools that a result speaks of, once."""
        last = behind[-1] if behind else None
        if not isinstance(last, ToolOutput):
            return []
        text = last.output.casefold().replace("_", " ")
        called = {item.name for item in behind if isinstance(item, ToolCall)}
        return [
            (spec.name, _any_arguments(spec.parameters))
            for spec in request.tools
            if spec.name.casefold().replace("_", " ") in text and spec.name not in called
        ]

    def _words(self, request: ModelRequest) -> str:
        turn, behind = self._place(request)
        words = reply_of(self._loaded, turn, request.items)
        if self._kind == "parrot":
            words = " ".join(
                [words, *(part for item in behind if isinstance(item, ToolOutput) for part in _texts(item))]
            )
        return words


def _texts(output: ToolOutput) -> list[str]:
    """The sentences in a result."""
    quoted = re.findall(r'"((?:[^"\\]|\\.)*)"', output.output)
    return [text for text in quoted or [output.output] if " " in text]


def _any_arguments(schema: dict[str, Any]) -> dict[str, Any]:
    """Arguments that fit a simple schema."""
    properties: dict[str, Any] = schema.get("properties", {})
    return {name: _any_value(properties.get(name, {})) for name in schema.get("required", ())}


def _any_value(schema: dict[str, Any]) -> Any:
    if "enum" in schema:
        return schema["enum"][0]
    if "anyOf" in schema:
        return _any_value(schema["anyOf"][0])
    match schema.get("type"):
        case "integer" | "number":
            return schema.get("minimum", 1)
        case "boolean":
            return True
        case "array":
            return []
        case "object":
            return _any_arguments(schema)
        case _:
            return {"date": "2026-01-01", "time": "10:00", "date-time": "2026-01-01T10:00:00"}.get(
                schema.get("format", ""), "x"
            )


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=True, ensure_ascii=False).encode()).hexdigest()[:16]


def _commit() -> str:
    """The commit of sayso's code, where it runs from a checkout."""
    git = Path(__file__).resolve().parent.parent / ".git"
    try:
        head = (git / "HEAD").read_text().strip()
        if not head.startswith("ref: "):
            return head[:12]
        return (git / head.removeprefix("ref: ")).read_text().strip()[:12]
    except OSError:
        return ""
