"""What `sayso eval` prints at the end of a run: the numbers, the gates, what failed."""

from __future__ import annotations

from rich.console import Console
from rich.table import Table
from rich.text import Text

from sayso.evals.compare import Comparison, reasons
from sayso.evals.report import words
from sayso.evals.report.load import Report
from sayso.evals.report.markdown import chosen

SHOWN = 12
STYLES = {"pass": "green", "fail": "red", "void": "yellow", "worse": "red", "better": "green"}


def print_report(report: Report, console: Console) -> None:
    """Print a run's summary."""
    table = Table(box=None, padding=(0, 1, 0, 0), pad_edge=False, header_style="dim")
    table.add_column(plain(report.run.agent.name), no_wrap=True)
    modes = [mode.mode for mode in report.results.modes]
    for mode in modes:
        table.add_column(mode, no_wrap=True)
        table.add_column("n", justify="right", style="dim")
        table.add_column("void", justify="right", style="dim")
    for _, found in chosen(report.results):
        title = next(iter(found.values())).name.replace("_", " ")
        cells: list[Text] = []
        for mode in modes:
            if mode not in found:
                cells += [Text(words.NOTHING), Text(""), Text("")]
                continue
            one, measure = found[mode].estimate, found[mode].measure
            value = Text(words.value(one.value, measure), "bold")
            value.append(f" {words.interval(one, measure)}", "dim")
            if one.few and one.value is not None:
                value.append(" n too small", "yellow")
            cells += [value, Text(str(one.n)), Text(str(one.void))]
        table.add_row(Text(title), *cells)
    console.print(table)
    if report.results.gap is not None:
        gap = report.results.gap
        console.print(Text(f"speech against text {words.change(gap, 'share')} ({words.interval(gap, 'share')})", "dim"))
    console.print()
    _print_failures(report, console)
    for gate in report.gates:
        verdict = "pass" if gate.passed else "fail"
        console.print(
            Text.assemble((f"{verdict} ", STYLES[verdict]), plain(f"{gate.name} {gate.rule}: {gate.message}"))
        )
    if report.partial:
        console.print(Text(f"partial: {len(report.units)} of {report.run.planned} units are done", "yellow"))


def print_comparison(found: Comparison, console: Console) -> None:
    """Print what changed from one run to another."""
    console.print(Text(found.outcome, f"bold {STYLES.get(found.outcome, '')}".strip()))
    for mode in found.modes:
        one = mode.passed
        change = f"{words.change(one.difference, 'share')} ({words.interval(one.difference, 'share')})"
        line = f"{mode.mode}: passed {words.value(one.before.estimate.value, 'share')}, now "
        line += f"{words.value(one.after.estimate.value, 'share')}, {change}; {mode.pairs} pairs, {mode.void} void, "
        line += f"{mode.lost} lost, {mode.won} won, McNemar p {mode.p:.3g}"
        console.print(Text(line))
        for delta in mode.deltas:
            if delta.outcome != "no difference shown":
                measure = delta.before.measure
                text = f"  {delta.before.title}: {words.change(delta.difference, measure)}"
                text += f" ({words.interval(delta.difference, measure)})"
                console.print(Text(text, STYLES[delta.outcome]))
    if found.only_before or found.only_after:
        note = f"without a pair: {found.only_before} units of the first run, {found.only_after} of the second"
        console.print(Text(note, "yellow"))
    for flip in found.flips:
        line = Text.assemble((f"{flip.before} to {flip.after} ", STYLES[flip.after]))
        line.append(plain(f"{flip.scenario} ({flip.mode}, trial {flip.trial + 1})"))
        line.append(" must pass" if flip.breaks else "", "red")
        line.append(plain(f": {flip.why[0]}") if flip.why else "", "dim")
        console.print(line)


def plain(text: str) -> str:
    """Text on one line, without control characters: it came from a model, a tool or a file."""
    return "".join(c if c.isprintable() else " " for c in text)


def _print_failures(report: Report, console: Console) -> None:
    bad = sorted(
        (unit for unit in report.units if unit.verdict != "pass"),
        key=lambda unit: (unit.verdict == "void", not unit.must_pass, unit.scenario),
    )
    for unit in bad[:SHOWN]:
        line = Text.assemble((f"{unit.verdict} ", STYLES[unit.verdict]))
        line.append(plain(f"{unit.scenario} ({unit.mode}, trial {unit.trial + 1})"))
        line.append(" must pass" if unit.must_pass else "", "red")
        line.append(plain(f": {reasons(unit)[0]}"), "dim")
        console.print(line)
    if len(bad) > SHOWN:
        console.print(Text(f"and {len(bad) - SHOWN} more that did not pass", "dim"))
    if bad:
        console.print()
