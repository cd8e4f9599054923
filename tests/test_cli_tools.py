"""The command line's part in tools that act: which tools, which conversation, what was done, who agrees."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sayso.cli import main
from sayso.cli_options import build_agent
from sayso.items import ToolCall
from sayso.testing import ScriptedModel, call, run, say
from sayso.tools import Executor, Journal, tool
from sayso.tools.journal import Entry, default_path

SEND = """
from pathlib import Path
from sayso import tool

@tool(effect="irreversible", confirm="Shall I send {amount}?", say="Sent.")
def send(amount: int) -> None:
    "Send."
    Path("sent.txt").write_text(str(amount))
"""


@pytest.fixture(autouse=True)
def apart(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_DATA", str(tmp_path / "data"))
    monkeypatch.chdir(tmp_path)


def shown(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert code == 0, err
    return out


def test_builtin_tools_by_group_by_name_and_from_a_file(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(SEND)
    out = shown(capsys, "tools", "--json", "--tools", "notes", "--tools", "get_weather", "--tools", "mine.py")
    found = {one["name"]: one for one in json.loads(out)}
    assert {"remember", "recall", "forget", "get_weather", "send"} <= found.keys()
    assert found["send"]["policy"]["approval"] is True


def test_every_group_can_be_loaded(capsys: pytest.CaptureFixture[str]) -> None:
    from sayso.tools.builtin.catalogue import GROUPS

    for group in GROUPS:
        assert json.loads(shown(capsys, "tools", "--json", "--tools", group)), group


def test_two_tools_of_one_name_from_two_files_are_refused(capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("one.py", "two.py"):
        Path(name).write_text(SEND)
    for command in (["ask", "--text", "hi"], ["tools"], ["mcp"]):
        assert main([*command, "--tools", "one.py", "--tools", "two.py"]) == 2
        assert "Two tools are named 'send'" in capsys.readouterr().err


def test_a_file_that_is_named_twice_is_loaded_once(capsys: pytest.CaptureFixture[str]) -> None:
    Path("mine.py").write_text(SEND)
    assert len(json.loads(shown(capsys, "tools", "--json", "--tools", "mine.py", "--tools", "mine.py"))) == 1


def test_the_journal_is_shown(capsys: pytest.CaptureFixture[str]) -> None:
    assert "No calls yet" in shown(capsys, "calls")
    journal = Journal(default_path())
    journal.begin(Entry("s1", "call_1_1", "send", '{"amount":5}', "write", 1))
    journal.begin(Entry("s2", "call_1_1", "look", "{}", "read", 1))
    journal.end("s2", "call_1_1", "ok", "seen\x1b[31m")
    journal.close()
    everything = json.loads(shown(capsys, "calls", "--json"))
    assert [entry["session"] for entry in everything] == ["s1", "s2"]
    (doubt,) = json.loads(shown(capsys, "calls", "--in-doubt", "--json"))
    assert (doubt["tool"], doubt["status"]) == ("send", None)
    (other,) = json.loads(shown(capsys, "calls", "--session", "s2", "--json"))
    assert other["tool"] == "look"
    assert "\x1b[31m" not in shown(capsys, "calls", "--session", "s2")
    assert "No calls in doubt" in shown(capsys, "calls", "--in-doubt", "--session", "s2")


@pytest.mark.parametrize("approve", [False, True])
def test_ask_runs_what_needs_approval_only_where_it_was_given(
    approve: bool, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    Path("mine.py").write_text(SEND)
    model = ScriptedModel((None, call("send", amount=5)), speaks=False)
    monkeypatch.setattr("sayso.models.embedded.embedded_model", lambda **_: model)
    options = ["--approve"] if approve else []
    out = shown(capsys, "ask", "--text", "Send 5", "--tools", "mine.py", "--session", "s1", *options)
    assert "Shall I send 5?" in out
    assert ("Sent." in out) is approve
    assert Path("sent.txt").exists() is approve
    assert ("call_2_1" in shown(capsys, "calls", "--session", "s1", "--json")) is approve


def test_a_named_conversation_goes_on_with_what_is_in_doubt(monkeypatch: pytest.MonkeyPatch) -> None:
    @tool
    def send(amount: int) -> None:
        """Send."""

    journal = Journal(default_path())
    journal.begin(Entry("s1", "call_3_1", "send", '{"amount":5}', "write", 3))
    model = ScriptedModel((lambda r: "not known" in r.items[1].output, say("I am not sure that it was sent.")))
    monkeypatch.setattr("sayso.models.embedded.embedded_model", lambda **_: model)

    async def main() -> None:
        agent = build_agent([send], "", None, "default", "kokoro", "en")
        async with agent.session(id="s1") as session:
            assert [entry.call_id for entry in session.in_doubt] == ["call_3_1"]
            assert "not sure" in (await session.ask("Was it sent?")).text
        await agent.aclose()

    run(main())


def test_tools_that_list_and_stop_what_runs() -> None:
    from sayso.tools.builtin import CALL_TOOLS

    outcome = run(Executor(CALL_TOOLS).call(ToolCall("c1", "stop_running", {"name": "send"})))
    assert outcome.status == "error" and "Running now: nothing" in outcome.output
    outcome = run(Executor(CALL_TOOLS).call(ToolCall("c1", "list_running", {})))
    assert outcome.say == "Nothing is running."
