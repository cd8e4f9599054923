"""`Policy`: how the calls of a tool are scheduled, guarded and answered."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from sayso.errors import ToolDefinitionError

OnDuplicate: TypeAlias = Literal["allow", "reject", "replace", "confirm"]
Question: TypeAlias = Callable[[dict[str, Any]], str]
"""From a call's validated arguments to what a person is asked before it runs."""

Asks: TypeAlias = Callable[[dict[str, Any]], bool]
"""Whether a call with these validated arguments needs a person's agreement."""

OUTPUT_TOKENS = 1000
"""Of a result that a model is shown, unless a tool says otherwise."""


@dataclass(frozen=True, slots=True)
class Policy:
    """The rules of one tool; `sayso.tool` takes them as keywords of the same names.

    Attributes:
        resource: What a write changes, by name. Writes of one resource run one at a time in this process; a write
            that names none waits for the other such writes of its session.
        on_duplicate: What becomes of a write that was made before in the conversation with the same arguments and
            is running or worked: it runs (``allow``), the model is told that it was done (``reject``), the earlier
            one is cancelled if it still runs and this one runs (``replace``), or a person is asked (``confirm``).
        approval: A person has to agree to each call before it runs.
        retries: How often a pure or read call that failed by an exception is tried again, with growing pauses.
        background: A call is answered at once ("started"), and its result comes in a later turn.
        reply: False where the agent stays silent after a call that worked: it is recorded, and the turn ends.
        untrusted: Results come from outside (the web, mail, documents): they are marked as data for the model, and
            `sayso.turn.TurnPolicy.after_untrusted` decides about writes in a turn that read them.
        max_output_tokens: Of a result; more is cut with a visible mark.
    """

    resource: str | None = None
    on_duplicate: OnDuplicate = "allow"
    approval: bool = False
    retries: int = 0
    background: bool = False
    reply: bool = True
    untrusted: bool = False
    max_output_tokens: int = OUTPUT_TOKENS

    def check(self, place: str, *, changes_something: bool) -> None:
        """Refuse rules that contradict each other.

        Args:
            place: Which tool, for the message.
            changes_something: Its effect is ``write`` or ``irreversible``.

        Raises:
            ToolDefinitionError: The message says which rule.
        """
        if self.on_duplicate not in ("allow", "reject", "replace", "confirm"):
            raise ToolDefinitionError(
                f"{place} has on_duplicate={self.on_duplicate!r}.", "Use allow, reject, replace or confirm."
            )
        if self.on_duplicate != "allow" and not changes_something:
            raise ToolDefinitionError(
                f"{place} has on_duplicate={self.on_duplicate!r}, but its effect changes nothing.",
                "Leave it out, or declare effect='write'.",
            )
        for name in ("retries", "max_output_tokens"):
            if type(getattr(self, name)) is not int:
                raise ToolDefinitionError(f"{place} has {name}={getattr(self, name)!r}.", "Give a whole number.")
        for name in ("background", "reply", "untrusted"):
            if type(getattr(self, name)) is not bool:  # a text such as "no" would count as true
                raise ToolDefinitionError(f"{place} has {name}={getattr(self, name)!r}.", "Give True or False.")
        if self.retries < 0 or (self.retries and changes_something):
            raise ToolDefinitionError(
                f"{place} has retries={self.retries}.", "Give 0 or more; what changes something is never tried again."
            )
        if self.max_output_tokens < 16:
            raise ToolDefinitionError(f"{place} has max_output_tokens={self.max_output_tokens}.", "Give 16 or more.")
        if self.resource is not None and not (isinstance(self.resource, str) and self.resource):
            raise ToolDefinitionError(f"{place} has resource={self.resource!r}.", "Give a name, or leave it out.")
        if self.resource is not None and not changes_something:
            raise ToolDefinitionError(
                f"{place} names the resource {self.resource!r}, but its effect changes nothing.",
                "Use max_concurrency to limit calls, or declare effect='write'.",
            )


PLAIN = Policy()
"""A tool that declares nothing."""
