"""`Guard`: what is asked before a call may run: was it made before, must a person agree, was the turn misled?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from typing import Literal, TypeAlias

from sayso.items import CallStatus
from sayso.tools.job import Job
from sayso.tools.journal import Journal
from sayso.tools.policy import PLAIN
from sayso.tools.say import plain_question

_log = logging.getLogger(__name__)

AfterUntrusted: TypeAlias = Literal["allow", "ask", "forbid"]
"""What becomes of a write in a turn that read text from outside."""

FORBIDDEN = (
    "{name} was not run: this turn read text from outside, and nothing may be changed in such a turn."
    " If the user wants it, they have to ask for it again."
)
DONE_BEFORE = "{name} was done before in this conversation with the same arguments; it was not done again."
IN_WORK = "{name} is being done already with the same arguments; it was not started again."
WAITING = "Waits for the user: they were asked “{question}”. Nothing has been done yet."


@dataclass(frozen=True, slots=True)
class Held:
    """Why a call does not run (now).

    Attributes:
        status: ``refused``, or ``waiting`` where a person may still agree.
        output: What the model is told.
        question: What the person is asked, where they may agree.
    """

    status: CallStatus
    output: str
    question: str = ""


class Guard:
    """The rules of one conversation.

    Args:
        session: The conversation's id in the journal.
        journal: Knows what an earlier process did in it; None: nothing is known.
    """

    def __init__(self, session: str, journal: Journal | None) -> None:
        self._session = session
        self._journal = journal
        self._open: dict[str, tuple[str, str]] = {}  # writes by call id
        self._done: set[tuple[str, str]] = set()

    def held(self, job: Job, after_untrusted: AfterUntrusted) -> Held | None:
        """Why ``job`` does not run, or None.

        Args:
            job: Admitted, and not yet approved.
            after_untrusted: What to do with writes now; ``allow`` where nothing from outside was read.
        """
        tool = job.tool
        if tool.effect.changes_something and after_untrusted == "forbid":
            return Held("refused", FORBIDDEN.format(name=tool.name))
        if tool.policy.on_duplicate in ("reject", "confirm") and (found := self._before(job)):
            if tool.policy.on_duplicate == "reject":
                return found
            return _ask(f"{found.output} {self._question(job)}")
        if _needs_approval(job) or (tool.effect.changes_something and after_untrusted == "ask"):
            return _ask(self._question(job))
        return None

    def to_replace(self, job: Job) -> str | None:
        """The id of the equal call that is still open and has to give way to ``job``."""
        if job.tool.policy.on_duplicate != "replace":
            return None
        key = (job.tool.name, job.canonical)
        return next((call_id for call_id, other in self._open.items() if other == key), None)

    def begun(self, job: Job) -> None:
        """``job`` was set going."""
        if job.tool.policy is not PLAIN and job.tool.effect.changes_something:
            self._open[job.call.call_id] = (job.tool.name, job.canonical)

    def ended(self, call_id: str, status: CallStatus) -> None:
        """A call ended; one that worked, or may have, counts as done."""
        key = self._open.pop(call_id, None)
        if key is not None and status in ("ok", "timeout", "in_doubt"):
            self._done.add(key)

    def _before(self, job: Job) -> Held | None:
        key = (job.tool.name, job.canonical)
        if key in self._open.values():
            return Held("refused", IN_WORK.format(name=job.tool.name))
        known = self._journal is not None and self._journal.same(self._session, *key) is not None
        return Held("refused", DONE_BEFORE.format(name=job.tool.name)) if known or key in self._done else None

    def _question(self, job: Job) -> str:
        ask = job.tool.question
        return (ask(job.arguments) if ask else "") or plain_question(job.tool.name, job.arguments)


def _needs_approval(job: Job) -> bool:
    tool = job.tool
    if not tool.policy.approval or tool.asks is None:
        return tool.policy.approval
    try:
        return bool(tool.asks(job.arguments))
    except Exception:
        _log.exception("%s: the rule for approval failed, so a person is asked", tool.name)
        return True


def _ask(question: str) -> Held:
    return Held("waiting", WAITING.format(question=question), question)
