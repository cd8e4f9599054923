"""The reports of a run: what they hold, what can never get into them, and what they look like to a browser."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields, is_dataclass, replace
from html.parser import HTMLParser
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent))

from eval_run import make_units, write_folder

from sayso.cli import main
from sayso.errors import UsageError
from sayso.evals.records import (
    ArgumentScore,
    Call,
    Check,
    ExpectedCall,
    Origin,
    State,
    StateDiff,
    Trigger,
    Turn,
    Unit,
    append_unit,
    read_run,
    write_run,
)
from sayso.evals.report import compare_runs, load, write_comparison, write_report
from sayso.evals.report.failures import call_diffs, failures
from sayso.evals.report.figures import dots, latency_curves, nice_top
from sayso.evals.report.junit import render_junit
from sayso.evals.report.markdown import render_comparison, render_summary
from sayso.evals.report.page import render_report
from sayso.evals.report.terminal import print_comparison, print_report
from sayso.evals.stats import Estimate

VOID_ELEMENTS = {"meta", "input", "br", "line", "path", "circle", "polyline", "polygon"}
UNIT = Unit(unit="a.text.0", scenario="a", title="", suite="core")


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_folder(tmp_path_factory.mktemp("runs") / "a", make_units(scenarios=24, trials=3))


@pytest.fixture(scope="module")
def page(run: Path) -> Page:
    return Page(render_report(load(run), run))


class Page(HTMLParser):
    """A page's elements; a tag that is not closed, or closed twice, is an error."""

    def __init__(self, text: str) -> None:
        super().__init__(convert_charrefs=True)
        self.source = text
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.handlers: list[str] = []
        self._open: list[str] = []
        self.feed(text)
        self.close()
        assert self._open == []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self.handlers += [name for name, _ in attrs if name.startswith("on")]
        if tag not in VOID_ELEMENTS:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag: str) -> None:
        assert self._open and self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if not {"script", "style"} & set(self._open):
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(" ".join(self.words).split())

    def all(self, tag: str, **wanted: str) -> list[dict[str, str | None]]:
        return [
            found
            for name, found in self.elements
            if name == tag and all(value in (found.get(key.rstrip("_")) or "").split() for key, value in wanted.items())
        ]


def test_the_structure_of_the_page(page: Page, run: Path) -> None:
    report = load(run)
    headings = [name for name, _ in page.elements if name in ("h1", "h2")]
    assert headings == ["h1"] + ["h2"] * 8
    assert [found["id"] for found in page.all("section") if "id" in found] == [
        "totals", "tools", "latency", "slices", "scenarios", "failures",
    ]  # fmt: skip
    bad = [unit for unit in report.units if unit.verdict != "pass"]
    assert {found["id"] for found in page.all("details", class_="failure")} == {unit.unit for unit in bad}
    assert len(page.all("span", class_="trial")) + len(page.all("a", class_="trial")) == len(report.units)
    assert len(page.all("table", class_="confusion")) == len(report.results.modes) == 2
    assert len(page.all("svg", class_="plot")) == 3
    ids = [found["id"] for _, found in page.elements if found.get("id")]
    assert len(ids) == len(set(ids))
    links = {(found.get("href") or "")[1:] for found in page.all("a") if (found.get("href") or "").startswith("#")}
    assert links <= set(ids)


def test_every_number_is_on_the_page_with_its_n(page: Page, run: Path) -> None:
    for mode in load(run).results.modes:
        for name in ("pass@1", "pass^3", "trigger_precision", "arguments_strict", "ttfa.p95"):
            metric = mode.metric(name)
            assert metric is not None and metric.estimate.value is not None
            shown = f"{metric.estimate.value:.2f} s" if metric.measure == "s" else f"{100 * metric.estimate.value:.1f}%"
            assert shown in page.text
            assert f"n {metric.estimate.n}, {metric.estimate.void} void" in page.text or metric.estimate.void == 0


def test_nothing_is_loaded_from_elsewhere(page: Page) -> None:
    for tag, found in page.elements:
        for name in ("src", "href", "action", "data", "poster", "srcset", "xlink:href"):
            assert (found.get(name) or "#").startswith(("#", "data:", "audio/")), (tag, found)
    assert page.all("link") == page.all("iframe") == page.all("img") == []
    style, script = page.source.split("<style>")[1].split("</style>")[0], page.source.split("<script>")[1]
    assert "url(" not in style and "@import" not in style and "http" not in style + script
    assert page.handlers == []
    policy = page.all("meta", **{"http-equiv": "Content-Security-Policy"})[0]["content"] or ""
    assert policy.startswith("default-src 'none'") and "unsafe" not in policy
    assert page.all("p", style="") == [] and all(
        "style" not in found for _, found in page.elements
    )  # the policy forbids it


def test_drawings_say_what_they_show(page: Page) -> None:
    for found in page.all("svg"):
        assert found["role"] == "img" and found["aria-label"]
    headers = page.all("th")
    assert headers and all(found.get("scope") in ("row", "col") for found in headers)


def everything_hostile(text: str) -> Unit:
    """A unit in which every text is ``text``."""
    call = Call(call_id=text, tool=text, arguments={text: text}, status=text, output=text)
    turn = Turn(
        user=text, heard=text + ".", reply=text, calls=(call,), no_calls=(text,), stages={text: 1.0}, ttfa_s=1.0,
        expected_calls=(ExpectedCall(tool=text, args={text: {text: text}}), ExpectedCall(tool=text + "2", args=text)),
    )  # fmt: skip
    return Unit(
        unit=text, scenario=text, title=text, suite=text, tags=(text,), must_pass=True, language=text, verdict="fail",
        void_reason=text, turns=(turn,), origin=Origin(set=text, id=text, version=text, licence=text),
        checks=(
            Check(name=text, verdict="fail", turn=0, message=text, events=(1,), expected=text, found={text: text}),
        ),
        triggers=(Trigger(turn=0, tool=text, expected=True, called=True),),
        arguments=(ArgumentScore(turn=0, tool=text, parameter=text, entity=text, right=False),),
        state=State(hash=text, expected_hash="x", diff=(StateDiff(path=text, expected=text, found=[text]),)),
        numbers={text: 1.0}, audio="audio/" + text, events="events/x.jsonl",
    )  # fmt: skip


ATTACKS = (
    "<script>alert(1)</script>",
    '"><img src=x onerror=alert(1)>',
    "'><svg onload=alert(1)>",
    "</style><script>alert(1)</script>",
    "]]><!--<script>alert(1)</script>",
    "javascript:alert(1)",
    "{{ 7 * 7 }}{% for x in y %}",
)


@pytest.mark.parametrize("text", ATTACKS)
def test_what_models_say_stays_text(tmp_path: Path, text: str) -> None:
    folder = write_folder(tmp_path / "run", [UNIT])
    (folder / "events/x.jsonl").write_text(
        json.dumps({"event": {"seq": 1, "type": text, "text": text, "time_s": 1.0}}) + "\n"
    )
    hostile = everything_hostile(text)
    with (folder / "units.jsonl").open("wb") as file:
        append_unit(file, hostile)
        append_unit(file, replace(hostile, unit="void", trial=1, verdict="void"))
    described = read_run(folder)
    described = replace(
        described,
        agent=replace(described.agent, name=text, model=text, commit=text),
        suites={text: text},
        versions={text: text},
        options={text: text},
        machine={text: text},
        caller=text,
        started=text,
    )
    write_run(folder, described)
    clean = write_folder(tmp_path / "clean", [replace(UNIT, verdict="fail", must_pass=True)])
    expected = {tag for tag, _ in Page(render_report(load(clean), clean)).elements}
    page = Page(render_report(load(folder), folder))
    assert page.source.count("<script>") == 1 and page.source.count("<style>") == 1
    assert page.handlers == [] and page.all("img") == []
    assert {tag for tag, _ in page.elements} <= expected | {
        "table", "thead", "tbody", "caption", "tr", "th", "td", "svg", "figure", "figcaption", "polyline", "a", "text",
        "polygon", "path", "circle", "line", "meter",
    }  # fmt: skip
    assert text in page.text or " ".join(text.split()) in page.text
    junit = ElementTree.fromstring(render_junit(load(folder)))
    assert {element.tag for element in junit.iter()} <= {"testsuites", "testsuite", "testcase", "failure", "error"}
    after = write_folder(tmp_path / "after", [UNIT])
    with (after / "units.jsonl").open("wb") as file:
        append_unit(file, replace(hostile, verdict="pass"))
    compared = Page(write_comparison(compare_runs(folder, after), folder, after, tmp_path / "c.html").read_text())
    assert compared.source.count("<script>") == 1 and compared.handlers == [] and compared.all("img") == []


def test_every_text_of_a_unit_was_attacked() -> None:
    """A field that is new in the records has to be in the test above."""
    hostile, plain = everything_hostile("<b>"), Unit(unit="", scenario="", title="", suite="")
    trusted = {"mode", "trial", "seed", "scenario_hash", "agent", "format", "wall", "verdict", "must_pass"}
    same = {one.name for one in fields(Unit) if getattr(hostile, one.name) == getattr(plain, one.name)}
    assert same <= trusted
    assert all(is_dataclass(part) for part in (*hostile.turns, *hostile.checks))


def test_control_characters_cannot_break_the_xml_or_the_terminal(tmp_path: Path) -> None:
    text = "a\x00b\x1b[31mc\ud800d\u202ee"[:8] + "\x85"
    folder = write_folder(tmp_path / "run", [UNIT])
    bad = replace(
        UNIT, verdict="fail", scenario="x\x1b[2Jy", checks=(Check(name="n", verdict="fail", message=text[:6]),)
    )
    with (folder / "units.jsonl").open("wb") as file:
        append_unit(file, bad)
    report = load(folder)
    root = ElementTree.fromstring(render_junit(report))
    assert root.find(".//testcase") is not None
    out = io.StringIO()
    print_report(report, Console(file=out, highlight=False, soft_wrap=True))
    assert "\x1b" not in out.getvalue() and "x [2Jy" in out.getvalue()


def test_the_summary_is_plain_markdown(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "run", [UNIT])
    words = "@everyone [x](http://evil.example) <img src=x> `rm` | a\n# b #12"
    with (folder / "units.jsonl").open("wb") as file:
        append_unit(file, replace(UNIT, verdict="fail", checks=(Check(name="n", verdict="fail", message=words),)))
    summary = render_summary(load(folder))
    (line,) = [line for line in summary.splitlines() if "everyone" in line]
    assert line == "- a (text, trial 1): `@everyone [x](http://evil.example) <img src=x> 'rm' \\| a # b #12`"


def test_calls_side_by_side() -> None:
    turn = Turn(
        user="",
        expected_calls=(
            ExpectedCall(tool="book", args={"day": "Wed", "who": "Ann"}),
            ExpectedCall(tool="mail", args={"to": "Ann"}),
            ExpectedCall(tool="find"),
        ),
        calls=(
            Call(call_id="1", tool="book", arguments={"day": "Tue"}, status="error"),
            Call(call_id="2", tool="book", arguments={"day": "Wed", "why": "x"}, status="ok"),
            Call(call_id="3", tool="find", arguments={}, status="ok"),
            Call(call_id="4", tool="pay", arguments={"n": 1}, status="ok"),
        ),
        no_calls=("pay",),
    )
    found = call_diffs(replace(UNIT, turns=(turn,)), 0)
    assert [(one.tool, one.match, one.call and one.call.call_id) for one in found] == [
        ("book", "wrong", "2"),
        ("mail", "missing", None),
        ("find", "right", "3"),
        ("book", "extra", "1"),
        ("pay", "forbidden", "4"),
    ]
    assert [(field.name, field.expected, field.found, field.right) for field in found[0].fields] == [
        ("day", '"Wed"', '"Wed"', True),
        ("who", '"Ann"', None, False),
        ("why", None, '"x"', True),
    ]


def test_the_matchers_verdict_counts_not_the_letters() -> None:
    turn = Turn(
        user="",
        expected_calls=(ExpectedCall(tool="go", args={"to": {"city": "Chengdu"}}),),
        calls=(Call(call_id="1", tool="go", arguments={"to": "成都"}, status="ok"),),
    )
    score = ArgumentScore(turn=0, tool="go", parameter="to", entity="place", right=True)
    (found,) = call_diffs(replace(UNIT, turns=(turn,), arguments=(score,)), 0)
    assert found.match == "right" and found.fields[0].expected == '{"city": "Chengdu"}'


def bad_unit(folder: Path, **given: Any) -> Any:
    unit = replace(UNIT, verdict="fail", **given)
    (found,) = failures([unit], folder, folder)
    return found


def test_small_recordings_are_in_the_page_and_large_ones_beside_it(tmp_path: Path) -> None:
    (tmp_path / "small.flac").write_bytes(b"fLaC" * 10)
    (tmp_path / "large.flac").write_bytes(b"fLaC" * 300_000)
    small, large = bad_unit(tmp_path, audio="small.flac"), bad_unit(tmp_path, audio="large.flac")
    assert small.audio == "data:audio/flac;base64," + base64.b64encode(b"fLaC" * 10).decode() and small.embedded
    assert large.audio == "large.flac" and not large.embedded


@pytest.mark.parametrize("name", ["../secret.wav", "/etc/passwd", "nowhere.wav", "page.html", "..", ""])
def test_only_recordings_of_the_run_are_taken(tmp_path: Path, name: str) -> None:
    (tmp_path / "secret.wav").write_bytes(b"x")
    run = tmp_path / "run"
    run.mkdir()
    (run / "page.html").write_text("<script>")
    found = bad_unit(
        run, audio=name or None, events="../secret.wav", checks=(Check(name="n", verdict="fail", events=(3,)),)
    )
    assert found.audio == "" and found.checks[0].evidence[0].kind == ""


def test_checks_show_the_events_that_they_point_to(tmp_path: Path) -> None:
    event = {"seq": 4, "type": "heard", "time_s": 0.5, "turn": 1, "text": "hi", "language": None}
    lines = ["no json", {"unit": {}}, {"event": event}, ["event"], {"event": [4]}, {"event": {"seq": "4"}}]
    (tmp_path / "events.jsonl").write_text("\n".join(json.dumps(line) for line in lines) + "\nno json")
    found = bad_unit(tmp_path, events="events.jsonl", checks=(Check(name="n", verdict="fail", events=(4, 9)),))
    known, unknown = found.checks[0].evidence
    assert (known.seq, known.kind, known.time_s, known.text) == (4, "heard", 0.5, '{"text": "hi"}')
    assert (unknown.seq, unknown.kind) == (9, "")


def test_what_must_pass_comes_first_and_void_last(run: Path) -> None:
    order = [(one.unit.verdict == "void", not one.unit.must_pass) for one in failures(load(run).units, run, run)]
    assert order == sorted(order) and len(set(order)) >= 3


def test_junit_counts_scenarios(tmp_path: Path) -> None:
    def trial(scenario: str, at: int, verdict: Any) -> Unit:
        return replace(
            UNIT, unit=f"{scenario}{at}", scenario=scenario, trial=at, verdict=verdict, wall={"seconds": 0.5}
        )

    rows = {"good": "pass pass", "bad": "pass fail", "both": "void fail", "lost": "pass void"}
    units = [trial(name, at, verdict) for name, row in rows.items() for at, verdict in enumerate(row.split())]
    root = ElementTree.fromstring(render_junit(load(write_folder(tmp_path, units))))
    assert {key: root.get(key) for key in ("tests", "failures", "errors", "time")} == {
        "tests": "4", "failures": "2", "errors": "1", "time": "4.000",
    }  # fmt: skip
    kinds = {case.get("name"): [child.tag for child in case] for case in root.iter("testcase")}
    assert kinds == {"bad": ["failure"], "both": ["failure"], "good": [], "lost": ["error"]}


def test_a_unit_that_was_run_again_counts_once(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [replace(UNIT, verdict="fail"), UNIT])
    assert [unit.verdict for unit in load(folder).units] == ["pass"]


def test_partial_runs_say_so(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, make_units(scenarios=3, trials=1), complete=False)
    report = load(folder)
    out = io.StringIO()
    print_report(report, Console(file=out, highlight=False, soft_wrap=True))
    assert report.partial
    for text in (render_report(report, folder), render_summary(report), out.getvalue()):
        assert "partial" in text.lower() and "6 of 46" in text


def test_a_run_in_which_all_passed(tmp_path: Path) -> None:
    report = load(write_folder(tmp_path, [UNIT]))
    page = Page(render_report(report, tmp_path))
    assert "Nothing failed, and nothing is void." in page.text and "n too small" in page.text
    assert "Nothing failed." in render_summary(report)
    assert page.all("details") == page.all("svg", class_="plot") == []


def test_an_agent_that_never_calls_has_no_precision(tmp_path: Path) -> None:
    missed = replace(UNIT, verdict="fail", triggers=(Trigger(turn=0, tool="x", expected=True, called=False),))
    report = load(write_folder(tmp_path, [missed]))
    out = io.StringIO()
    print_report(report, Console(file=out, highlight=False, soft_wrap=True))
    lines = out.getvalue().splitlines()
    assert any(line.startswith("trigger precision –") for line in lines)
    assert any(line.startswith("trigger recall") and " 0.0%" in line for line in lines)
    assert not re.search(r"\bnan\b", Page(render_report(report, tmp_path)).text)


def test_an_empty_run_is_refused(tmp_path: Path) -> None:
    folder = write_folder(tmp_path, [])
    with pytest.raises(UsageError, match="no finished unit"):
        load(folder)


def test_axes_end_at_round_numbers() -> None:
    assert [nice_top([number]) for number in (0, 0.7, 1, 1.2, 3, 7, 42)] == [1, 1, 1, 2, 5, 10, 50]


def test_dots_stay_inside() -> None:
    drawing = str(dots([("text", Estimate(9.0, -3.0, 20.0, 50)), ("speech", Estimate())]))
    places = [float(x) for x in re.findall(r'cx="([\d.]+)"', drawing)]
    assert places == [195.0] and drawing.count("<circle") == 1


def test_latencies_of_zero_can_be_drawn() -> None:
    from sayso.evals.metrics import Latency

    drawing = str(latency_curves([("text", "solid", Latency("ttfa", "Time", (0.0, 0.0, 2000.0, 9000.0)))]))
    assert "nan" not in drawing and "-inf" not in drawing


def test_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    gates = tmp_path / "gates.yaml"
    gates.write_text("must_pass: []\nmax_void: 1\ntrigger_f1: '>= 0.5'\n")
    out = tmp_path / "report"
    assert main(["eval", "report", str(run), "--gates", str(gates), "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "trigger precision" in printed and "trigger recall" in printed
    assert {path.name for path in out.iterdir()} == {"report.html", "junit.xml", "summary.md"}
    gates.write_text("trigger_f1: '>= 1.01'\nmax_void: 1\n")
    assert main(["eval", "report", str(run), "--gates", str(gates), "--out", str(out)]) == 1
    gates.write_text("max_void: 0\n")
    assert main(["eval", "report", str(run), "--gates", str(gates), "--out", str(out)]) == 3
    gates.write_text("trigger_f1: high\n")
    assert main(["eval", "report", str(run), "--gates", str(gates)]) == 2
    assert main(["eval", "report", str(tmp_path / "nowhere")]) == 2
    assert "gates.yaml:1" in (err := capsys.readouterr().err) and "nowhere" in err


def test_comparing_on_the_command_line(run: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    worse = write_folder(tmp_path / "worse", make_units(scenarios=24, trials=3, skill=0.5))
    html, markdown = tmp_path / "c.html", tmp_path / "c.md"
    arguments = ["eval", "compare", str(run), str(worse), "--html", str(html), "--markdown", str(markdown)]
    assert main(arguments) == 1
    found = compare_runs(run, worse)
    assert f"{len(found.flips)} flips" in markdown.read_text()
    printed = capsys.readouterr().out
    assert printed.startswith("worse") and all(flip.scenario in printed for flip in found.flips)
    page = Page(html.read_text())
    assert len(page.all("table", class_="flips")) == 1 and "Worse" in page.text
    assert len(page.all("tr")) > len(found.flips)
    assert main(["eval", "compare", str(run), str(run)]) == 0
    assert "Nothing flipped." in render_comparison(compare_runs(run, run))
    out = io.StringIO()
    print_comparison(compare_runs(run, run), Console(file=out))
    assert out.getvalue().startswith("no difference shown")


def test_without_jinja_the_remedy_is_told(run: Path) -> None:
    code = "import sys; sys.modules['jinja2'] = None\nfrom sayso.cli import main\n"
    code += "sys.exit(main(['eval', 'report', sys.argv[1]]))"
    ended = subprocess.run([sys.executable, "-c", code, str(run)], capture_output=True, text=True, check=False)
    assert ended.returncode == 2 and ended.stdout == ""
    assert ended.stderr == "error: Reports need the package jinja2. Install it with: pip install 'sayso[evals]'\n"


def test_where_the_report_goes(run: Path, tmp_path: Path) -> None:
    written = write_report(load(run), tmp_path / "deep/er")
    assert written.page.read_text().startswith("<!DOCTYPE html>")
    assert written.junit.read_bytes().startswith(b"<?xml")
    assert written.summary.read_text().startswith("## Evaluation of clinic-desk")


@pytest.mark.parametrize(("width", "scheme"), [(1280, "light"), (390, "dark")])
def test_a_browser_shows_filters_and_prints_it(
    chromium: Any, run: Path, tmp_path: Path, width: int, scheme: str
) -> None:
    written = write_report(load(run), tmp_path)
    bad = [unit for unit in load(run).units if unit.verdict != "pass"]

    async def look(_: Any) -> None:
        context = await chromium._browser.new_context(viewport={"width": width, "height": 800}, color_scheme=scheme)
        page = await context.new_page()
        wrong: list[str] = []
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda told: wrong.append(told.text))
        page.on("request", lambda request: request.url.startswith(("file:", "data:")) or wrong.append(request.url))
        try:
            await page.goto(written.page.as_uri())
            assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert await page.locator("details.failure:visible").count() == len(bad)
            await page.select_option("#by-mode", "speech")
            assert await page.locator("details.failure:visible").count() == sum(one.mode == "speech" for one in bad)
            await page.fill("#q", "no such words")
            assert await page.locator("#found").inner_text() == f"0 of {len(bad)} shown"
            await page.click("button[type=reset]")
            await page.wait_for_function(f"document.querySelector('#found').textContent === '{len(bad)} shown'")
            await page.locator("a[data-check]").first.click()
            name = await page.locator("a[data-check]").first.get_attribute("data-check")
            shown = await page.locator("details.failure:visible").count()
            failed = [one for one in bad if name in {c.name for c in one.checks if c.verdict == "fail"}]
            assert shown == len(failed) > 0
            await page.locator("a.trial.fail").last.click()
            assert await page.locator("details.failure[open]").count() == 1
            assert await page.locator("details.failure[open] .turn").first.is_visible()
            if width > 1000:
                assert (await page.pdf())[:5] == b"%PDF-"
            assert wrong == []
        finally:
            await context.close()

    chromium.run(look)


def test_numbers_have_one_form_everywhere() -> None:
    def forms() -> Iterator[str]:
        from sayso.evals.report import words

        found = Estimate(0.8534, 0.7964, 0.9041, 60, 4, "wilson")
        yield words.sentence(found, "share")
        yield words.sentence(replace(found, n=9, void=0), "s")
        yield words.sentence(Estimate(), "number")
        yield words.change(Estimate(-0.0612), "share")
        yield words.change(Estimate(-0.0004), "share")
        yield words.value(12.345, "number") + " " + words.value(0.02194, "number")
        yield words.as_json("x" * 20, 5)

    assert list(forms()) == [
        "85.3% (79.6 to 90.4), n 60, 4 void",
        "0.85 s (0.80 to 0.90), n 9: n too small",
        "–, n 0: n too small",
        "-6.1 points",
        "0 points",
        "12.35 0.022",
        "xxxxx… (20 characters)",
    ]
