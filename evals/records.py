"""What a run leaves behind: `run.json` and one line of `units.jsonl` a unit. Written and read here and nowhere else.

Two runs of the same scenarios with the same seed give the same lines, byte for byte, but for `Unit.wall`: whatever may
differ between them is in there.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any, Final, Literal, TypeAlias

from pydantic import TypeAdapter, ValidationError

from sayso.errors import UsageError

Verdict: TypeAlias = Literal["pass", "fail", "void"]
"""``void``: the harness, the caller or a judge was at fault; it counts neither way."""
Mode: TypeAlias = Literal["text", "speech"]

UNITS: Final = "units.jsonl"
RUN: Final = "run.json"


@dataclass(frozen=True, slots=True, kw_only=True)
class Origin:
    """Where an imported scenario comes from."""

    set: str
    id: str
    version: str
    licence: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """What one check found.

    Attributes:
        name: Such as ``calls.arguments``: the family, then the check.
        turn: Index of the turn, from 0; None where it is about the whole conversation.
        verdict: See `Verdict`.
        message: For people, one sentence.
        events: The `seq` of the events that show it.
        expected: What was wanted, as JSON.
        found: What was there, as JSON.
    """

    name: str
    verdict: Verdict
    turn: int | None = None
    message: str = ""
    events: tuple[int, ...] = ()
    expected: Any = None
    found: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class ExpectedCall:
    """A call that the scenario wants, or forbids; ``args`` as the scenario has them, comparators included."""

    tool: str
    args: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call that was made.

    Attributes:
        call_id: Its id in the session.
        tool: As the model named it.
        arguments: As the model wrote them.
        status: `sayso.items.CallStatus`, or ``unfinished``.
        output: What the model was shown.
        seconds: How long it ran, on the session's clock (virtual in text mode).
        extra: The scenario did not ask for it.
    """

    call_id: str
    tool: str
    arguments: dict[str, Any]
    status: str
    output: str = ""
    seconds: float = 0.0
    extra: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Turn:
    """One turn as it went.

    Attributes:
        user: What the user said, in words.
        heard: What the agent understood.
        reply: What the agent said; of a reply that was cut off, what was heard of it.
        interrupted: The user cut it off.
        calls: In order.
        expected_calls: What the scenario wants.
        no_calls: Tools that must not be called; ``*`` is any.
        stages: Seconds from the turn's start, by `sayso.turn_policy.Stage`.
        ttfa_s: From the user's last sound to the agent's first; None where there was none to measure.
        with_tool: A tool was called.
    """

    user: str
    heard: str = ""
    reply: str = ""
    interrupted: bool = False
    calls: tuple[Call, ...] = ()
    expected_calls: tuple[ExpectedCall, ...] = ()
    no_calls: tuple[str, ...] = ()
    stages: dict[str, float] = field(default_factory=dict[str, float])
    ttfa_s: float | None = None
    with_tool: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Trigger:
    """Whether a tool was wanted in a turn, and whether it was called. Tools that were neither are left out.

    ``tool`` is empty in the one row of a turn in which no tool was wanted and none was called.
    """

    turn: int
    tool: str
    expected: bool
    called: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ArgumentScore:
    """Whether one parameter of an expected call, made with the right tool, was right.

    ``entity``: name, date, time, number, code, place, money, phone, text or other.
    """

    turn: int
    tool: str
    parameter: str
    entity: str
    right: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class StateDiff:
    """One place where the world is not as it should be; what is not there is None."""

    path: str
    expected: Any = None
    found: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class State:
    """The world after the conversation: its hash, the hash it should have, and the differences (100 at most)."""

    hash: str
    expected_hash: str | None = None
    diff: tuple[StateDiff, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class FormatCounts:
    """How the calls were written: as the form wants it, readable all the same, or not readable."""

    strict: int = 0
    lenient: int = 0
    unparsable: int = 0


@dataclass(frozen=True, slots=True, kw_only=True)
class Unit:
    """One scenario, run once.

    Attributes:
        unit: Its id: scenario, mode and trial, in letters that a file name may have.
        agent: The id of the agent's fingerprint (`AgentFingerprint.id`).
        wall: What differs between two equal runs: ``started`` (ISO 8601), ``seconds``, ``host_pid`` and the like.
        audio: Path of the recording, from the run's folder.
        events: Path of the events, from the run's folder.
    """

    unit: str
    scenario: str
    title: str
    suite: str
    tags: tuple[str, ...] = ()
    must_pass: bool = False
    language: str = "en"
    mode: Mode = "text"
    trial: int = 0
    seed: int = 0
    scenario_hash: str = ""
    agent: str = ""
    origin: Origin | None = None
    verdict: Verdict = "pass"
    void_reason: str = ""
    checks: tuple[Check, ...] = ()
    turns: tuple[Turn, ...] = ()
    triggers: tuple[Trigger, ...] = ()
    arguments: tuple[ArgumentScore, ...] = ()
    state: State | None = None
    format: FormatCounts = FormatCounts()
    numbers: dict[str, float] = field(default_factory=dict[str, float])
    audio: str | None = None
    events: str | None = None
    wall: dict[str, Any] = field(default_factory=dict[str, Any])


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentFingerprint:
    """What was tested. ``id`` is the hash of all the rest.

    Attributes:
        id: First 16 digits of a SHA-256.
        name: For people.
        model: The model's name.
        weights: Hash of its weights, or an empty string where that is not known.
        prompts: Hash of the instructions and prompts.
        tools: Hash of the schemas of its tools.
        commit: Of sayso's code, or an empty string.
    """

    id: str
    name: str
    model: str = ""
    weights: str = ""
    prompts: str = ""
    tools: str = ""
    commit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Run:
    """What is constant in a run: `run.json`.

    Attributes:
        agent: What was tested.
        suites: Hash of each suite, by name.
        versions: Of Python, sayso and the libraries that matter.
        machine: Processor, cores, memory, system.
        options: As the command line was given: mode, trials, seed, filter, ...
        planned: How many units there are in all.
        started: ISO 8601.
        caller: Who spoke for the user, where that was no script.
        complete: Whether all units are there; False in a run that was interrupted.
    """

    agent: AgentFingerprint
    suites: dict[str, str]
    versions: dict[str, str]
    machine: dict[str, Any]
    options: dict[str, Any]
    planned: int = 0
    started: str = ""
    caller: str = ""
    complete: bool = False


_UNIT: Final = TypeAdapter(Unit)
_RUN: Final = TypeAdapter(Run)


def unit_to_line(unit: Unit) -> bytes:
    """A unit as its line, with the line's end."""
    return _UNIT.dump_json(unit) + b"\n"


def unit_from_line(line: str | bytes) -> Unit:
    """The unit of a line. Fields that are not known are passed over: a newer version may write more.

    Raises:
        UsageError: It is none.
    """
    try:
        return _UNIT.validate_json(line)
    except ValidationError as error:
        raise UsageError(f"This is no unit: {_first(error)}.", "Was it written by `sayso eval run`?") from error


def append_unit(file: IO[bytes], unit: Unit) -> None:
    """Write a unit behind the others and make sure that it is on the disk."""
    file.write(unit_to_line(unit))
    file.flush()
    os.fsync(file.fileno())


def read_units(run: Path) -> Iterator[Unit]:
    """The units of a run, in the order in which they ended. A last line that was cut off by a crash is passed over.

    Raises:
        UsageError: There are none, or a line is no unit.
    """
    path = run / UNITS if run.is_dir() else run
    if not path.is_file():
        raise UsageError(f"There is no {path}.", "Give the folder that `sayso eval run --out` made.")
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                yield unit_from_line(line)
            except UsageError as error:
                raise UsageError(f"{path}:{number}: {error.args[0]}", error.hint) from error


def write_run(folder: Path, run: Run) -> None:
    """Write `run.json`, whole or not at all."""
    target = folder / RUN
    partial = folder / f".{RUN}"
    partial.write_bytes(_RUN.dump_json(run, indent=2) + b"\n")
    os.replace(partial, target)


def read_run(folder: Path) -> Run:
    """The `run.json` of a run.

    Raises:
        UsageError: There is none, or it is none.
    """
    path = folder / RUN
    try:
        return _RUN.validate_json(path.read_bytes())
    except OSError as error:
        raise UsageError(f"There is no {path}.", "Give the folder that `sayso eval run --out` made.") from error
    except ValidationError as error:
        raise UsageError(f"{path} is no description of a run: {_first(error)}.", "Run the evaluation again.") from error


def _first(error: ValidationError) -> str:
    detail = error.errors(include_url=False, include_input=False)[0]
    return f"{'.'.join(map(str, detail['loc'])) or 'it'}: {detail['msg']}"
