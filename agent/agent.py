"""`Agent`: the definition of a voice agent. It holds no conversation; a `Session` does."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from sayso.bridge import Waits
from sayso.conversations import Conversations
from sayso.errors import ToolDefinitionError, UsageError
from sayso.intake import Input
from sayso.models.base import VoiceModel
from sayso.result import TurnResult
from sayso.session import Session
from sayso.tools.journal import Journal, default_path
from sayso.tools.registry import Registry
from sayso.tools.tool import Tool
from sayso.turn_policy import TurnPolicy


@dataclass(frozen=True)
class Agent:
    """What an agent is: its instructions, its tools, its model and its voice.

        agent = Agent(tools=[opening_hours], instructions="You answer for a bakery.")
        result = agent.ask_sync("When are you open on Friday?")

    Attributes:
        instructions: What the model is told once, before everything else.
        tools: Functions made tools by `sayso.tool`. Names are unique.
        model: What listens, thinks and speaks, or its name (see `sayso.models.named`); None: the embedded models
            (``pip install 'sayso[local]'``).
        voice: One of the model's voices; None: its default.
        timezone: IANA name of the user's time zone; None: the machine's.
        policy: How turns run.
        journal: Where calls are written down before they run; None: `sayso.tools.journal.default_path`. A
            ``Journal()`` without a path keeps them in memory.
        seed: For models that sample.
        thinking: Whether the model thinks before it answers, `sayso.turn_policy.TurnPolicy.thinking_tokens` at most.
            What it thinks is told (`sayso.events.Thought`), and neither spoken nor kept.
        name: What it is called where several are kept, served or traced.

    Raises:
        ToolDefinitionError: Two tools have one name, or something is not a tool.
        UsageError: ``journal`` is no `Journal` (a path, say), or ``policy`` no `TurnPolicy`.
    """

    instructions: str = ""
    tools: Iterable[Tool[..., Any]] = ()
    model: VoiceModel | str | None = None
    voice: str | None = None
    timezone: str | None = None
    policy: TurnPolicy = field(default_factory=TurnPolicy)
    seed: int | None = None
    journal: Journal | None = None
    thinking: bool = False
    name: str = "agent"

    def __post_init__(self) -> None:
        """Check what can be checked before a model is loaded."""
        if isinstance(self.tools, Tool):
            raise ToolDefinitionError(f"Agent has the tool '{self.tools.name}' for its tools.", "Put it into a list.")
        if self.journal is not None and not isinstance(self.journal, Journal):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"Agent has journal={self.journal!r}.", "Give a Journal: Journal('calls.sqlite').")
        if not isinstance(self.policy, TurnPolicy):  # pyright: ignore[reportUnnecessaryIsInstance]
            raise UsageError(f"Agent has policy={self.policy!r}.", "Give a TurnPolicy, or leave it out.")
        object.__setattr__(self, "tools", tuple(self.tools))
        _ = self.registry

    @cached_property
    def registry(self) -> Registry:
        """The tools by name."""
        return Registry(self.tools)

    @cached_property
    def call_journal(self) -> Journal:
        """The journal; the file is opened here.

        Raises:
            JournalError: It cannot be.
        """
        return self.journal or Journal(default_path())

    @cached_property
    def waits(self) -> Waits:
        """How long the tools made users wait, in all sessions."""
        return Waits()

    @cached_property
    def voice_model(self) -> VoiceModel:
        """The model; the embedded one is made here, and loaded when it is first asked."""
        if isinstance(self.model, str) or self.model is None:
            from sayso.models.named import named

            return named(self.model or "embedded")
        return self.model

    def variant(
        self,
        *,
        instructions: str | None = None,
        tools: Iterable[Tool[..., Any]] | None = None,
        voice: str | None = None,
        name: str | None = None,
    ) -> Agent:
        """The same agent, with the same model and journal, that is told, may call or sounds something else.

        Raises:
            ToolDefinitionError: Two tools have one name.
        """
        changed = replace(
            self,
            instructions=self.instructions if instructions is None else instructions,
            tools=self.tools if tools is None else tuple(tools),
            voice=self.voice if voice is None else voice,
            name=self.name if name is None else name,
        )
        shared: dict[str, Any] = {"voice_model": self.voice_model, "waits": self.waits}
        if changed.registry:
            shared["call_journal"] = self.call_journal
        changed.__dict__.update(shared)
        return changed

    def session(
        self,
        *,
        id: str | None = None,
        conversations: Conversations | None = None,
        user: str = "local",
        clock: Callable[[], float] | None = None,
        speak: bool | None = None,
    ) -> Session:
        """Start a conversation, or go on with the one that is named ``id``; see `Session`.

        Raises:
            UsageError: The model has no such voice, it does not think, or there is no such time zone.
            ModelMissingError: The embedded model's files are not here.
            JournalError: The journal cannot be opened.
            StoreError: The conversation cannot be read.
        """
        return Session(self, id=id, conversations=conversations, user=user, clock=clock, speak=speak)

    async def ask(self, what: Input, *, sample_rate_hz: int | None = None, speak: bool | None = None) -> TurnResult:
        """Ask once, in a conversation of its own; see `Session.ask`."""
        async with self.session(speak=speak) as session:
            return await session.ask(what, sample_rate_hz=sample_rate_hz)

    def ask_sync(self, what: Input, *, sample_rate_hz: int | None = None, speak: bool | None = None) -> TurnResult:
        """`ask`, for code without an event loop.

        Raises:
            UsageError: An event loop is running here; await `ask` instead.
        """
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return asyncio.run(self.ask(what, sample_rate_hz=sample_rate_hz, speak=speak))
        raise UsageError("ask_sync was called where an event loop is running.", "Use: await agent.ask(...)")

    async def aclose(self) -> None:
        """Free the model and close the journal, unless it was given."""
        if self.journal is None and (journal := self.__dict__.get("call_journal")) is not None:
            journal.close()
        if (model := self.__dict__.get("voice_model")) is not None:
            await model.aclose()
