"""What a run must reach, from one YAML file, and the exit code that tells whether it did.

must_pass: all                                # or a list of scenarios
max_void: 0.02
trigger_f1: ">= 0.90 (lower bound 0.85)"      # any metric of a report, by its name
speech.ttfa.p95: "<= 3.0"                     # of one mode; without a mode it holds in each mode that was run
no_worse_than: runs/baseline                  # beside this file
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, cast

from sayso.errors import UsageError
from sayso.evals.compare import compare
from sayso.evals.file_errors import invalid
from sayso.evals.metrics import Measured, Metric, Results
from sayso.evals.records import Unit, read_units
from sayso.evals.yaml_text import Document, read_documents

PASSED, FAILED, BAD_INPUT, TOO_MANY_VOID, INTERRUPTED = range(5)
"""Exit codes."""

MAX_VOID = 0.02
COMPARISONS: Mapping[str, Callable[[float, float], bool]] = {
    ">=": operator.ge,
    "<=": operator.le,
    "==": operator.eq,
    ">": operator.gt,
    "<": operator.lt,
}
_NUMBER = r"-?\d+(?:\.\d+)?"
_RULE = re.compile(rf"(>=|<=|==|>|<)\s*({_NUMBER})(?:\s*\((lower|upper) bound ({_NUMBER})\))?")
_MODES = ("text", "speech")


@dataclass(frozen=True, slots=True)
class Rule:
    """What a metric must be.

    Attributes:
        metric: Its name, without a mode.
        mode: Where it must hold; empty: in each mode that was run.
        comparison: One of `COMPARISONS`.
        limit: What the value is compared with.
        end: Which end of the interval is looked at too, or None.
        bound: The least lower end, or the greatest upper end.
        text: As it is in the file.
    """

    metric: str
    mode: str
    comparison: str
    limit: float
    end: Literal["lower", "upper"] | None
    bound: float
    text: str

    @property
    def name(self) -> str:
        """As it is in the file."""
        return f"{self.mode}.{self.metric}" if self.mode else self.metric


@dataclass(frozen=True, slots=True)
class Gates:
    """Everything that a run must reach.

    Attributes:
        must_pass: Scenarios that must pass in every trial; None: those that say so themselves.
        max_void: Largest share of units that may be void.
        rules: About metrics.
        baseline: The folder of a run that this one may not be worse than, or None.
    """

    must_pass: tuple[str, ...] | None = None
    max_void: float = MAX_VOID
    rules: tuple[Rule, ...] = ()
    baseline: Path | None = None


@dataclass(frozen=True, slots=True)
class GateResult:
    """What came of one gate.

    Attributes:
        name: The key in the file.
        rule: What it asks for.
        passed: Whether it was reached.
        message: What was found.
    """

    name: str
    rule: str
    passed: bool
    message: str


def read_gates(path: Path) -> Gates:
    """The gates of a file.

    Raises:
        ScenarioError: It cannot be read; the message says which line and what was expected.
    """
    documents = read_documents(path)
    if len(documents) != 1 or not isinstance(documents[0].value, dict):
        raise invalid(path, 1, 'gates are one mapping, such as `trigger_f1: ">= 0.90"`')
    document = documents[0]
    values = cast("dict[str, Any]", document.value)
    gates: dict[str, Any] = {}
    rules: list[Rule] = []
    for key, value in values.items():
        if key == "must_pass":
            gates[key] = _must_pass(path, document, value)
        elif key == "max_void":
            gates[key] = _max_void(path, document, value)
        elif key == "no_worse_than":
            if not isinstance(value, str):
                raise _wrong(path, document, key, "expected is the folder of a run")
            gates["baseline"] = path.parent / value
        else:
            rules.append(_rule(path, document, str(key), value))
    return Gates(rules=tuple(rules), **gates)


def judge(gates: Gates, units: Sequence[Unit], results: Results) -> list[GateResult]:
    """Hold a run against its gates.

    Raises:
        UsageError: A gate names a metric that there is not, or the baseline is no run.
    """
    found = [_judge_void(gates, units), _judge_must_pass(gates, units)]
    for rule in gates.rules:
        found += _judge_rule(rule, results)
    if gates.baseline is not None:
        found.append(_judge_baseline(gates.baseline, units))
    return found


def exit_code(results: Sequence[GateResult], *, interrupted: bool = False) -> int:
    """0 where all passed, 1 where one failed, 3 where too many units were void, 4 where the run was interrupted."""
    if interrupted:
        return INTERRUPTED
    if any(not result.passed and result.name == "max_void" for result in results):
        return TOO_MANY_VOID
    return PASSED if all(result.passed for result in results) else FAILED


def _must_pass(path: Path, document: Document, value: Any) -> tuple[str, ...] | None:
    if value == "all":
        return None
    names = cast("list[Any]", value) if isinstance(value, list) else [None]
    if not all(isinstance(name, str) for name in names):
        raise _wrong(path, document, "must_pass", "expected is `all` or a list of scenarios")
    return tuple(cast("list[str]", names))


def _max_void(path: Path, document: Document, value: Any) -> float:
    if not isinstance(value, int | float) or isinstance(value, bool) or not 0 <= value <= 1:
        raise _wrong(path, document, "max_void", "expected is a share of 0 to 1, such as 0.02")
    return float(value)


def _rule(path: Path, document: Document, key: str, value: Any) -> Rule:
    text = value.strip() if isinstance(value, str) else ""
    found = _RULE.fullmatch(text)
    if found is None:
        raise _wrong(path, document, key, 'expected is such as ">= 0.90" or ">= 0.90 (lower bound 0.85)"')
    mode, _, rest = key.partition(".")
    mode, metric = (mode, rest) if mode in _MODES and rest else ("", key)
    end = cast('Literal["lower", "upper"] | None', found[3])
    return Rule(metric, mode, found[1], float(found[2]), end, float(found[4] or 0), text)


def _wrong(path: Path, document: Document, key: str, expected: str) -> UsageError:
    value = cast("dict[str, Any]", document.value)[key]
    return invalid(path, document.line([key]), f"{key}: {value!r} was found; {expected}")


def _judge_void(gates: Gates, units: Sequence[Unit]) -> GateResult:
    void = sum(unit.verdict == "void" for unit in units)
    share = void / len(units) if units else 1.0
    message = f"{void} of {len(units)} units are void ({share:.1%})" if units else "there are no units"
    return GateResult("max_void", f"<= {gates.max_void:g}", share <= gates.max_void, message)


def _judge_must_pass(gates: Gates, units: Sequence[Unit]) -> GateResult:
    own = {unit.scenario for unit in units if unit.must_pass}
    wanted = own if gates.must_pass is None else set(gates.must_pass)
    verdicts = {name: {unit.verdict for unit in units if unit.scenario == name} for name in sorted(wanted)}
    failed = [name for name, found in verdicts.items() if "fail" in found]
    unproven = [name for name, found in verdicts.items() if found <= {"void"}]
    parts = [f"failed: {_some(failed)}"] * bool(failed) + [f"void or not run: {_some(unproven)}"] * bool(unproven)
    message = "; ".join(parts) or (f"all {len(wanted)} passed" if wanted else "no scenario has to")
    rule = "all" if gates.must_pass is None else ", ".join(gates.must_pass)
    return GateResult("must_pass", rule, not parts, message)


def _judge_rule(rule: Rule, results: Results) -> Iterator[GateResult]:
    modes = [measured for measured in results.modes if rule.mode in ("", measured.mode)]
    if not modes:
        yield GateResult(rule.name, rule.text, False, f"nothing was run in the mode {rule.mode}")
    for measured in modes:
        metric = measured.metric(rule.metric)
        if metric is None:
            raise _unknown(rule, measured)
        passed, message = _held_against(rule, metric)
        yield GateResult(f"{measured.mode}.{rule.metric}", rule.text, passed, message)


def _held_against(rule: Rule, metric: Metric) -> tuple[bool, str]:
    found = metric.estimate
    if found.value is None:
        return False, "nothing of the kind was measured"
    passed = COMPARISONS[rule.comparison](found.value, rule.limit)
    message = f"{found.value:.3f}"
    if found.low is not None and found.high is not None:
        message += f" [{found.low:.3f}, {found.high:.3f}]"
    if rule.end is not None:
        end = found.low if rule.end == "lower" else found.high
        if end is None:
            return False, f"{message}: there is no interval"
        passed = passed and (end >= rule.bound if rule.end == "lower" else end <= rule.bound)
    return passed, f"{message}, n {found.n}" + (": n too small" if found.few else "")


def _unknown(rule: Rule, measured: Measured) -> UsageError:
    names = [metric.name for metric in measured.metrics]
    near = get_close_matches(rule.metric, names, 1)
    hint = f"The nearest is {near[0]}." if near else f"There are: {', '.join(names)}."
    return UsageError(f"A gate asks for the metric {rule.metric!r}, which the run in {measured.mode} has not.", hint)


def _judge_baseline(baseline: Path, units: Sequence[Unit]) -> GateResult:
    found = compare(read_units(baseline), units)
    changes = [f"{mode.mode} {100 * (mode.passed.difference.value or 0):+.1f} points" for mode in found.modes]
    broken = sorted({flip.scenario for flip in found.flips if flip.breaks})
    parts = [*changes, *([f"must pass and broke: {_some(broken)}"] if broken else [])]
    message = f"{found.outcome}: {'; '.join(parts)}"
    return GateResult("no_worse_than", str(baseline.name), found.outcome != "worse", message)


def _some(names: Sequence[str]) -> str:
    return ", ".join(names[:5]) + (f" and {len(names) - 5} more" if len(names) > 5 else "")
