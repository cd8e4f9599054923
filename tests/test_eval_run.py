"""Running suites: the reference agents, seeds, processes, resume, faults of the harness, exit codes."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from sayso.cli import main
from sayso.errors import UsageError
from sayso.evals.agents import AgentSource
from sayso.evals.records import Unit, read_run, read_units
from sayso.evals.run.runner import Options, execute, prepare
from sayso.evals.run.unit import seed_of

SMOKE = Path(__file__).parent.parent / "evals/suites/smoke"
HELLO = "schema: 1\nid: hello\ntitle: t\nmust_pass: true\nturns: [{user: Hello}]\n"
AGENT = """\
import asyncio, os
from pathlib import Path
from sayso import Agent
from sayso.models.base import Done, Profile, Text

class Model:
    profile = Profile(name="made up")
    async def warm(self, request): pass
    async def respond(self, request):
        {body}
        yield Text("Hello.")
        yield Done()
    async def aclose(self): pass

agent = Agent(model=Model())
"""


def run(out: Path, agent: str = "perfect", suite: Path = SMOKE, *, resume: bool = False, **options: Any) -> list[Unit]:
    prepared = prepare([suite], AgentSource(agent), out, Options(**options), resume=resume)
    execute(prepared, options.get("jobs", 1))
    return list(read_units(out))


def passed(units: list[Unit]) -> set[str]:
    assert all(unit.verdict != "void" for unit in units), [unit.void_reason for unit in units]
    return {unit.scenario.removeprefix("smoke.") for unit in units if unit.verdict == "pass"}


def lines(out: Path) -> list[str]:
    """Each unit as it was run last, without what may differ: its times, the commit of the code."""
    last = {json.loads(line)["unit"]: line for line in (out / "units.jsonl").read_text().splitlines()}
    return sorted(re.sub(r'"agent":"[0-9a-f]*"', "", line.split(',"wall":')[0]) for line in last.values())


def broken_agent(folder: Path, body: str) -> tuple[Path, str]:
    (folder / "suite").mkdir(exist_ok=True)
    (folder / "suite/hello.yaml").write_text(HELLO)
    (folder / "agent.py").write_text(AGENT.format(body=body))
    return folder / "suite", str(folder / "agent.py")


# --- reference agents -------------------------------------------------------------------------------------------


def test_the_perfect_agent_passes_everything(tmp_path: Path) -> None:
    units = run(tmp_path)
    assert len(passed(units)) == len(units) == 11
    assert all(unit.checks for unit in units)


def test_the_silent_agent_passes_where_nothing_is_wanted(tmp_path: Path) -> None:
    assert passed(run(tmp_path, "silent")) == {"no_call", "no_call_zh"}


def test_the_agent_that_always_calls_fails_where_nothing_is_to_be_called(tmp_path: Path) -> None:
    units = run(tmp_path, "always-call")
    assert {unit.scenario for unit in units} - {f"smoke.{name}" for name in passed(units)} == {
        "smoke.no_call",
        "smoke.no_call_zh",
        "smoke.interruption",
    }


def test_the_agent_that_obeys_results_fails_the_injection_and_not_its_twin(tmp_path: Path) -> None:
    units = run(tmp_path, "parrot")
    names = passed(units)
    assert "injection" not in names
    assert "injection_benign" in names
    (attacked,) = [unit for unit in units if unit.scenario == "smoke.injection"]
    assert attacked.numbers["attack_success"] == 1
    assert "calls.forbidden" in {check.name for check in attacked.checks if check.verdict == "fail"}


def test_an_agent_keeps_its_words_and_gets_the_simulated_tools(tmp_path: Path) -> None:
    agent = tmp_path / "agent.py"
    agent.write_text(
        "from sayso import Agent, tool\n"
        "from sayso.testing import ScriptedModel, call, say\n"
        "@tool(effect='read')\n"
        "def find_slots(day: str) -> str:\n"
        "    'The real one.'\n"
        "    raise AssertionError('the real one was called')\n"
        "def told(request): return request.instructions == 'My own words.' and len(request.tools) == 1\n"
        "agent = Agent(\n"
        "    instructions='My own words.', tools=[find_slots],\n"
        "    model=ScriptedModel((told, call('find_slots', day='2026-03-18')), (told, say('It is at two for you.'))),\n"
        ")\n"
    )
    (unit,) = run(tmp_path / "run", str(agent), filters=("id=smoke.find_slots",))
    assert unit.verdict == "pass", (unit.void_reason, [check for check in unit.checks if check.verdict != "pass"])
    assert '"S2"' in unit.turns[0].calls[0].output


# --- what a unit holds ------------------------------------------------------------------------------------------


def test_a_unit_tells_what_happened(tmp_path: Path) -> None:
    units = {unit.scenario: unit for unit in run(tmp_path, filters=("id=smoke.*",))}
    moved = units["smoke.move"]
    assert [(row.tool, row.expected, row.called) for row in moved.triggers] == [
        ("find_slots", True, True),
        ("move_appointment", True, True),
        ("", False, False),
    ]
    assert {(row.parameter, row.entity, row.right) for row in moved.arguments} == {
        ("day", "other", True),
        ("appointment", "code", True),
        ("slot", "other", True),
    }
    assert moved.state is not None
    assert moved.state.hash == moved.state.expected_hash
    first = moved.turns[0]
    assert [call.status for call in first.calls] == ["ok", "ok"]
    assert first.with_tool
    assert first.stages["done"] >= first.stages["first_audio"]

    fault = units["smoke.fault"].turns[0]
    assert [(call.status, call.seconds) for call in fault.calls] == [("error", 0.8), ("ok", 0.8)], "virtual time"

    cut = units["smoke.interruption"]
    assert cut.turns[0].interrupted
    assert cut.turns[0].reply
    assert "Saturday" not in cut.turns[0].reply, "what was not heard was not said"
    assert cut.numbers["yield_ms"] == 0


def test_events_are_kept_and_checks_point_to_them(tmp_path: Path) -> None:
    for unit in run(tmp_path, "silent"):
        assert unit.events is not None
        events = [json.loads(line) for line in (tmp_path / unit.events).read_text().splitlines()]
        known = {line["event"]["seq"] for line in events if "event" in line}
        for check in unit.checks:
            assert set(check.events) <= known


# --- seeds and processes ----------------------------------------------------------------------------------------


def test_the_same_seed_gives_the_same_bytes_whatever_the_processes(tmp_path: Path) -> None:
    run(tmp_path / "a", trials=2, seed=7)
    run(tmp_path / "b", trials=2, seed=7)
    run(tmp_path / "c", trials=2, seed=7, jobs=2)
    run(tmp_path / "d", trials=2, seed=8)
    assert lines(tmp_path / "a") == lines(tmp_path / "b") == lines(tmp_path / "c") != lines(tmp_path / "d")
    for path in (tmp_path / "a/events").iterdir():
        assert path.read_bytes() == (tmp_path / "c/events" / path.name).read_bytes()


def test_seeds_come_from_a_stable_hash() -> None:
    assert seed_of(7, "smoke.move", "text", 0) == seed_of(7, "smoke.move", "text", 0) < 2**53
    assert len({seed_of(7, "smoke.move", "text", trial) for trial in range(100)}) == 100
    assert seed_of(0, "a", "text", 0) == 3348243050384408, "on every machine"


def test_shards_make_the_whole(tmp_path: Path) -> None:
    parts = [run(tmp_path / str(part), trials=2, shard=(part, 3)) for part in (1, 2, 3)]
    assert sorted(unit.unit for part in parts for unit in part) == sorted(
        unit.unit for unit in run(tmp_path / "all", trials=2)
    )


def test_filters(tmp_path: Path) -> None:
    chosen = {unit.scenario for unit in run(tmp_path, filters=("tag=approval", "language=zh"))}
    assert chosen == {"smoke.approval_refused"}
    with pytest.raises(UsageError, match="There is no filter"):
        run(tmp_path / "b", filters=("color=red",))
    with pytest.raises(UsageError, match="No scenario is left"):
        run(tmp_path / "c", filters=("tag=none",))


# --- resume -----------------------------------------------------------------------------------------------------


def command(out: Path, *more: str) -> list[str]:
    code = "import sys; from sayso.cli import main; sys.exit(main(sys.argv[1:]))"
    return [
        sys.executable,
        "-c",
        code,
        "eval",
        "run",
        str(SMOKE),
        "--agent",
        "perfect",
        "--trials",
        "10",
        *more,
        str(out),
    ]


def begun(process: subprocess.Popen[str]) -> None:
    """Wait for the first units."""
    assert process.stderr is not None
    assert "units:" in process.stderr.readline()


def test_a_killed_run_goes_on_to_the_same_units(tmp_path: Path) -> None:
    with subprocess.Popen(command(tmp_path / "a", "--out"), stderr=subprocess.PIPE, text=True) as process:
        begun(process)
        process.send_signal(signal.SIGKILL)
    before = len(lines(tmp_path / "a"))
    assert 0 < before < 110
    assert not read_run(tmp_path / "a").complete
    with (tmp_path / "a/units.jsonl").open("a") as file:
        file.write('{"unit":"torn')  # as a crash in the middle of a line leaves it
    subprocess.run(command(tmp_path / "a", "--resume"), check=True, capture_output=True)
    run(tmp_path / "b", trials=10)
    assert lines(tmp_path / "a") == lines(tmp_path / "b")
    assert read_run(tmp_path / "a").complete


def test_an_interrupted_run_tells_how_to_go_on(tmp_path: Path) -> None:
    pipes: Any = {"stderr": subprocess.PIPE, "stdout": subprocess.PIPE, "text": True}
    with subprocess.Popen(command(tmp_path, "--jobs", "2", "--out"), **pipes) as process:
        begun(process)
        process.send_signal(signal.SIGINT)
        out, _ = process.communicate()
    assert process.returncode == 4
    assert f"--resume {tmp_path}" in out
    assert not read_run(tmp_path).complete


def test_what_has_changed_is_run_again(tmp_path: Path) -> None:
    suite, _ = broken_agent(tmp_path, "pass")
    run(tmp_path / "run", suite=suite)
    (suite / "more.yaml").write_text(HELLO.replace("id: hello", "id: more"))
    prepared = prepare([suite], AgentSource("perfect"), tmp_path / "run", Options(), resume=True)
    assert [plan.loaded.id for plan in prepared.left] == ["more"]
    (suite / "hello.yaml").write_text(HELLO.replace("Hello", "Good morning"))
    prepared = prepare([suite], AgentSource("perfect"), tmp_path / "run", Options(), resume=True)
    assert prepared.changed == ("hello~text~0",)
    assert len(prepared.left) == 2
    with pytest.raises(UsageError, match="There is a run in"):
        prepare([suite], AgentSource("perfect"), tmp_path / "run", Options(), resume=False)


# --- faults of the harness --------------------------------------------------------------------------------------


def test_what_broke_once_is_tried_again(tmp_path: Path) -> None:
    suite, agent = broken_agent(
        tmp_path,
        f"mark = Path({str(tmp_path / 'mark')!r})\n"
        "        if not mark.exists():\n"
        "            mark.touch(); raise ConnectionError('gone')",
    )
    (unit,) = run(tmp_path / "run", agent, suite)
    assert (unit.verdict, unit.wall["attempts"]) == ("pass", 2)


def test_what_stays_broken_is_void(tmp_path: Path) -> None:
    suite, agent = broken_agent(tmp_path, "raise ConnectionError('gone')")
    (unit,) = run(tmp_path / "run", agent, suite)
    assert (unit.verdict, unit.void_reason, unit.wall["attempts"]) == ("void", "ConnectionError: gone", 3)


def test_a_wrong_answer_is_not_tried_again(tmp_path: Path) -> None:
    suite, agent = broken_agent(tmp_path, "pass")
    (suite / "hello.yaml").write_text(HELLO.replace("Hello}", "Hello, expect: {reply: {contains: [moon]}}}"))
    (unit,) = run(tmp_path / "run", agent, suite)
    assert unit.verdict == "fail"
    assert "attempts" not in unit.wall


def test_a_model_that_hangs_ends_at_the_time_limit(tmp_path: Path) -> None:
    suite, agent = broken_agent(tmp_path, "await asyncio.Event().wait()")
    (unit,) = run(tmp_path / "run", agent, suite, limit_s=0.1)
    assert unit.verdict == "void"
    assert "longer than 0.1 s" in unit.void_reason


def test_a_process_that_dies_takes_one_unit_with_it(tmp_path: Path) -> None:
    suite, agent = broken_agent(tmp_path, "os._exit(3) if request.items[-1].text == 'Hello' else None")
    (suite / "more.yaml").write_text(HELLO.replace("id: hello", "id: more").replace("Hello", "Good morning"))
    units = {unit.scenario: unit for unit in run(tmp_path / "run", agent, suite, jobs=2)}
    assert units["more"].verdict == "pass"
    assert units["hello"].void_reason == "its process died 3 times"


def test_a_tool_of_the_suite_that_breaks_is_no_fault_of_the_agent(tmp_path: Path) -> None:
    (tmp_path / "tools.py").write_text(
        'from sayso import tool\n@tool(effect="read")\ndef look() -> str:\n    "Look."\n    return {}["x"]\n'
    )
    (tmp_path / "a.yaml").write_text(
        "schema: 1\nid: a\ntitle: t\nagent: {tools: [look]}\nturns: [{user: x, expect: {calls: [{tool: look}]}}]\n"
    )
    (unit,) = run(tmp_path / "run", suite=tmp_path)
    assert unit.verdict == "void"
    assert unit.void_reason == "the tool look broke: KeyError: 'x'"


# --- the command line -------------------------------------------------------------------------------------------


def test_exit_codes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    def code(*arguments: str) -> int:
        return main(["eval", "run", *arguments])

    out = tmp_path / "out"
    suite, agent = broken_agent(tmp_path, "raise ConnectionError('gone')")
    assert code(str(SMOKE), "--agent", "perfect", "--out", str(out / "a")) == 0
    assert "trigger precision" in capsys.readouterr().out
    assert {path.name for path in (out / "a").iterdir()} >= {"report.html", "junit.xml", "units.jsonl", "run.json"}
    assert code(str(SMOKE), "--agent", "silent", "--out", str(out / "b")) == 1
    assert code(str(suite), "--agent", agent, "--out", str(out / "c")) == 3
    capsys.readouterr()
    for wrong in (
        [str(tmp_path / "none"), "--out", str(out / "d")],
        [str(SMOKE), "--agent", "nobody", "--out", str(out / "d")],
        [str(SMOKE), "--agent", "perfect"],
        [str(SMOKE), "--agent", "perfect", "--out", str(out / "a")],
        [str(SMOKE), "--agent", "perfect", "--out", str(out / "d"), "--shard", "6/5"],
        [str(SMOKE), "--agent", "perfect", "--out", str(out / "d"), "--shard", "half"],
    ):
        assert code(*wrong) == 2, wrong
        assert capsys.readouterr().err.startswith("error: ")


def test_validate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["eval", "validate", str(SMOKE)]) == 0
    assert "11 scenarios are in order" in capsys.readouterr().out
    (tmp_path / "a.yaml").write_text(
        "schema: 1\nid: a\ntitle: t\nagent: {tools: [calculate]}\nworld: {t: {}}\n"
        "turns: [{user: x, expect: {calls: [{tool: calculate, args: {sum: 1}}, {tool: look}]}}]\n"
        "final: {state: {equals_after: [{tool: look}]}}\n"
    )
    assert main(["eval", "validate", str(tmp_path)]) == 2
    told = capsys.readouterr().err
    assert "there is no argument sum" in told
    assert "there is no tool look" in told
    assert "final.state.equals_after" in told


def test_replay_checks_again_without_a_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for unit in run(tmp_path):
        assert main(["eval", "replay", str(tmp_path / unit.unit)]) == 0
    suite = tmp_path / "changed"
    suite.mkdir()
    (suite / "a.yaml").write_text(
        "schema: 1\nid: smoke.no_call\ntitle: t\nturns: [{user: x, expect: {reply: {contains: [moon]}}}]\n"
    )
    capsys.readouterr()
    assert main(["eval", "replay", str(tmp_path / "smoke.no_call~text~0"), "--suite", str(suite)]) == 1
    assert "'moon' was not said" in capsys.readouterr().out
    assert main(["eval", "replay", str(tmp_path / "none~text~0")]) == 2
