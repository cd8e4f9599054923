"""What is decided without the model: by the user's words, or by what became of the calls."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import TypeAlias

from sayso.tools.job import Job
from sayso.tools.outcome import CallOutcome
from sayso.tools.promises import announces_action


@dataclass(frozen=True, slots=True)
class Resume:
    """What was heard decides: the call that waited is run."""

    job: Job


@dataclass(frozen=True, slots=True)
class Say:
    """What was heard decides: a fixed line is the answer."""

    line: str


Reaction: TypeAlias = Resume | Say
Interpret: TypeAlias = Callable[[str, str | None], Reaction | None]
"""From the words heard and their language to what they decide without the model, or None."""


def spoken_line(outcomes: Sequence[CallOutcome]) -> str | None:
    """What to say where every tool worked and said its result itself; None where the model has to phrase it."""
    lines = [outcome.say for outcome in outcomes if outcome.status == "ok" and outcome.say]
    return " ".join(lines) if lines and len(lines) == len(outcomes) else None


def needs_no_answer(outcomes: Sequence[CallOutcome]) -> bool:
    """Whether every tool worked and wants no word about it."""
    return all(outcome.silent and outcome.status == "ok" for outcome in outcomes)


def is_bundled(
    words: str, outcomes: Sequence[CallOutcome], changes_something: Callable[[str], bool], language: str | None
) -> bool:
    """Whether the words that came with the calls are the reply: writes that worked, and no announcement."""
    return (
        bool(words)
        and all(outcome.status == "ok" and changes_something(outcome.name) for outcome in outcomes)
        and not announces_action(words, language)
        and not words.rstrip().endswith(("?", "？"))
    )
