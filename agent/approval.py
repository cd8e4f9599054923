"""`Approvals`: the action that waits for a person, bound to its exact arguments.

A call that needs approval does not run in the turn that made it. Its question is spoken, and the next thing that the
user says decides: a plain yes runs it as it was read back, a plain no drops it, and anything else (a correction,
another wish) lets it expire and is answered as what it is. Silence lets it expire too. An app may decide in the user's
place, with the same effect.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Literal, TypeAlias

from sayso.errors import UsageError
from sayso.events import ApprovalRequested, ApprovalResolved
from sayso.items import ToolOutput
from sayso.tools.consent import Verdict, judge
from sayso.tools.job import Job

Decision: TypeAlias = Literal["approved", "refused", "expired"]
By: TypeAlias = Literal["user", "app", "time"]

REFUSED = "The user said no. It was not done."
EXPIRED = "The user did not confirm it. It was not done."


@dataclass(frozen=True, slots=True)
class Approval:
    """A call that waits for a person.

    Attributes:
        job: The call, its tool and its validated arguments.
        question: What the person is asked.
        expires_s: On the session's clock; a later answer confirms nothing.
    """

    job: Job = field(repr=False)
    question: str
    expires_s: float

    @property
    def call_id(self) -> str:
        """The id of the call."""
        return self.job.call.call_id

    @property
    def name(self) -> str:
        """The tool."""
        return self.job.tool.name

    @property
    def arguments(self) -> str:
        """What it will be called with, as canonical JSON."""
        return self.job.canonical


class Approvals:
    """The one call of a session that waits, if any.

    Args:
        now: The session's clock in seconds, which is the event loop's.
        tell: Takes `ApprovalRequested` and `ApprovalResolved`.
        remember: Takes the output that history gets where a call is not to run.
    """

    def __init__(
        self,
        now: Callable[[], float],
        tell: Callable[[ApprovalRequested | ApprovalResolved], None],
        remember: Callable[[ToolOutput], None],
    ) -> None:
        self._now = now
        self._tell = tell
        self._remember = remember
        self._waiting: Approval | None = None
        self._by_voice = True
        self._timer: asyncio.TimerHandle | None = None

    @property
    def waiting(self) -> Approval | None:
        """The call that waits; what waited too long has expired, whether its timer has fired or not."""
        if self._waiting is not None and self._now() >= self._waiting.expires_s:
            self._run_out(self._waiting)
        return self._waiting

    def ask(self, job: Job, question: str, within_s: float, *, by_voice: bool = True) -> None:
        """A person is asked about ``job``; an older question expires.

        Args:
            job: What they may agree to.
            question: What they are asked.
            within_s: How long an answer counts.
            by_voice: The question was said to them as it is. Where a model put it in its own words, only the app can
                agree: nobody knows what the user's yes is an answer to.
        """
        self.expire("user")
        self._by_voice = by_voice
        self._waiting = found = Approval(job, question, self._now() + within_s)
        self._timer = asyncio.get_running_loop().call_at(found.expires_s, self._run_out, found)
        self._tell(
            ApprovalRequested(
                call_id=found.call_id,
                name=found.name,
                arguments=found.arguments,
                question=question,
                expires_s=found.expires_s,
            )
        )

    def unasked(self, job: Job) -> ToolOutput:
        """What history gets where the question about ``job`` was cut off: no answer can confirm it."""
        return ToolOutput(job.call.call_id, job.tool.name, EXPIRED, "refused")

    def expire(self, by: By) -> None:
        """What waits, if anything, is not to be confirmed any more."""
        if (approval := self.waiting) is not None:
            self._drop(approval, "expired", by)

    def hear(self, answer: str, language: str | None) -> tuple[Verdict, Job | None]:
        """What the user's words decide. ``other`` where nothing waited or they decide nothing.

        Returns:
            The verdict, and with ``yes`` the call to run.
        """
        if (approval := self.waiting) is None:
            return "other", None
        verdict = judge(answer, approval.job.arguments, language, question=approval.question)
        if verdict == "yes" and not self._by_voice:
            verdict = "other"
        if verdict == "yes":
            return verdict, self._take(approval, "user")
        self._drop(approval, "refused" if verdict == "no" else "expired", "user")
        return verdict, None

    def approve(self, call_id: str) -> Job:
        """The app agrees.

        Raises:
            UsageError: No such call waits (any more).
        """
        return self._take(self._named(call_id), "app")

    def refuse(self, call_id: str) -> None:
        """The app says no.

        Raises:
            UsageError: No such call waits (any more).
        """
        self._drop(self._named(call_id), "refused", "app")

    def close(self) -> None:
        """The session ends: nobody answers any more. Idempotent."""
        if self._timer is not None:
            self._timer.cancel()

    def _run_out(self, approval: Approval) -> None:
        if self._waiting is approval:
            self._drop(approval, "expired", "time")

    def _named(self, call_id: str) -> Approval:
        approval = self.waiting
        if approval is None or approval.call_id != call_id:
            raise UsageError(
                f"No call {call_id!r} waits for approval.", "It was decided, or expired; see Session.approval."
            )
        return approval

    def _take(self, approval: Approval, by: By) -> Job:
        self._settle(approval, "approved", by)
        return approval.job

    def _drop(self, approval: Approval, decision: Decision, by: By) -> None:
        self._settle(approval, decision, by)
        text = REFUSED if decision == "refused" else EXPIRED
        self._remember(ToolOutput(approval.call_id, approval.name, text, "refused"))

    def _settle(self, approval: Approval, decision: Decision, by: By) -> None:
        self._waiting = None
        self.close()
        self._tell(ApprovalResolved(call_id=approval.call_id, name=approval.name, decision=decision, by=by))
