"""`Guard`: what is asked before a call may run: was it made before, must a person agree, was the turn misled?"""

from __future__ import annotations

import logging
from dataclasses import dataclass
from itertools import takewhile
from typing import Literal, TypeAlias

from sayso.items import CallStatus
from sayso.settings import redact
from sayso.tools.job import Job
from sayso.tools.journal import Journal
from sayso.tools.policy import PLAIN
from sayso.tools.say import plain_question
from sayso.tools.text import neutralise

_log = logging.getLogger(__name__)

AfterUntrusted: TypeAlias = Literal["allow", "ask", "forbid"]
"""What becomes of a write in a turn that read text from outside."""

FORBIDDEN = (
    "{name} was not run: this turn read text from outside, and nothing may be changed in such a turn."
    " If the user wants it, they have to ask for it again."
)
DONE_BEFORE = "{name} was done before in this conversation with the same arguments; it was not done again."
MAYBE_DONE = (
    "{name} was begun before in this conversation with the same arguments, and it is not known whether it took effect;"
    " it was not begun again."
)
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
        self._done: dict[tuple[str, str], CallStatus] = {}

    def held(self, job: Job, after_untrusted: AfterUntrusted) -> Held | None:
        """Why ``job`` does not run, or None.

        Args:
            job: Admitted, and not yet approved.
            after_untrusted: What to do with writes now; ``allow`` where nothing from outside was read.
        """
        tool = job.tool
        if tool.policy is PLAIN and after_untrusted == "allow":
            return None
        if tool.effect.changes_something and after_untrusted == "forbid":
            return Held("refused", FORBIDDEN.format(name=tool.name))
        careful = tool.effect.changes_something and tool.policy.on_duplicate in ("reject", "confirm")
        if careful and (found := self._before(job)):
            if tool.policy.on_duplicate == "reject":
                return found
            return _ask(f"{found.output} {self._question(job)}")
        if _needs_approval(job) or (tool.effect.changes_something and after_untrusted == "ask"):
            return _ask(self._question(job))
        return None

    def to_replace(self, job: Job) -> list[str]:
        """The ids of the equal calls that are still open and have to give way to ``job``, which has begun."""
        if job.tool.policy.on_duplicate != "replace":
            return []
        key, before = (job.tool.name, job.canonical), takewhile(lambda call_id: call_id != job.call.call_id, self._open)
        return [call_id for call_id in before if self._open[call_id] == key]

    def begun(self, job: Job) -> None:
        """``job`` was set going."""
        if job.tool.policy is not PLAIN and job.tool.effect.changes_something:
            self._open[job.call.call_id] = (job.tool.name, job.canonical)

    def ended(self, call_id: str, status: CallStatus, *, ran: bool) -> None:
        """A call ended; one that worked, or may have, counts as done. ``ran``: its function was begun."""
        key = self._open.pop(call_id, None)
        if key is not None and (status in ("ok", "in_doubt") or (ran and status in ("timeout", "cancelled"))):
            self._done[key] = status

    def _before(self, job: Job) -> Held | None:
        key = (job.tool.name, job.canonical)
        if key in self._open.values():
            return Held("refused", IN_WORK.format(name=job.tool.name))
        status = self._done.get(key)
        if status is None and self._journal is not None and (entry := self._journal.same(self._session, *key)):
            status = entry.status or "in_doubt"
        if status is None:
            return None
        text = DONE_BEFORE if status == "ok" else MAYBE_DONE
        return Held("refused", text.format(name=job.tool.name))

    def _question(self, job: Job) -> str:
        ask = job.tool.question
        return (ask(job.arguments) if ask else "") or plain_question(job.tool.name, job.arguments)


def read_out(question: str) -> str:
    """A question that a tool itself asks, as it is spoken."""
    return " ".join(redact(neutralise(question)).split())


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
