"""`junit.xml`: one test case a scenario and mode, for the test views of CI systems."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from xml.etree import ElementTree

from sayso.evals.compare import reasons
from sayso.evals.records import Unit
from sayso.evals.report.load import Report

_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 may not hold in any form (section 2.2)."""


def render_junit(report: Report) -> bytes:
    """The results as JUnit XML.

    A scenario fails where one of its trials does; it is an error where it did not fail but some trial is void, for then
    nobody knows.
    """
    groups: dict[tuple[str, str], dict[str, list[Unit]]] = defaultdict(lambda: defaultdict(list))
    for unit in report.units:
        groups[unit.suite, unit.mode][unit.scenario].append(unit)
    root = ElementTree.Element("testsuites", name=_clean(f"sayso eval: {report.run.agent.name}"))
    totals = [0, 0, 0, 0.0]
    for (suite, mode), scenarios in sorted(groups.items()):
        element = ElementTree.SubElement(root, "testsuite", name=_clean(f"{suite} ({mode})"))
        if report.run.started:
            element.set("timestamp", _clean(report.run.started))
        counts = [0, 0, 0, 0.0]
        for name, units in sorted(scenarios.items()):
            _case(element, f"{suite}.{mode}", name, units)
            verdicts = {unit.verdict for unit in units}
            found = [1, "fail" in verdicts, "fail" not in verdicts and "void" in verdicts, _seconds(units)]
            counts = [a + b for a, b in zip(counts, found, strict=True)]
        _count(element, counts)
        totals = [a + b for a, b in zip(totals, counts, strict=True)]
    _count(root, totals)
    ElementTree.indent(root)
    return ElementTree.tostring(root, encoding="utf-8", xml_declaration=True) + b"\n"


def _case(parent: ElementTree.Element, group: str, name: str, units: Sequence[Unit]) -> None:
    case = ElementTree.SubElement(
        parent, "testcase", classname=_clean(group), name=_clean(name), time=f"{_seconds(units):.3f}"
    )
    failed = [unit for unit in units if unit.verdict == "fail"]
    void = [unit for unit in units if unit.verdict == "void"]
    if failed:
        message = f"{len(failed)} of {len(units)} trials failed: {reasons(failed[0])[0]}"
        ElementTree.SubElement(case, "failure", message=_clean(message), type="fail").text = _clean(_trials(failed))
    elif void:
        message = f"{len(void)} of {len(units)} trials are void: {reasons(void[0])[0]}"
        ElementTree.SubElement(case, "error", message=_clean(message), type="void").text = _clean(_trials(void))


def _trials(units: Iterable[Unit]) -> str:
    return "\n".join(f"trial {unit.trial + 1} (seed {unit.seed}): {'; '.join(reasons(unit))}" for unit in units)


def _seconds(units: Iterable[Unit]) -> float:
    return sum(float(unit.wall.get("seconds", 0.0)) for unit in units)


def _count(element: ElementTree.Element, counts: Sequence[float]) -> None:
    for name, count in zip(("tests", "failures", "errors"), counts, strict=False):
        element.set(name, str(int(count)))
    element.set("time", f"{counts[3]:.3f}")


def _clean(text: str) -> str:
    return _NOT_XML.sub("�", text)
