"""The command line: what it prints, and one line with the right exit code for every mistake."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from sayso import cli
from sayso.cli import main
from sayso.items import Audio
from sayso.models import embedded
from sayso.speech.audio import save

TWO_OF_ONE_NAME = """
from sayso import tool

@tool(effect="read")
def look() -> str:
    "Look."
    return ""

@tool(effect="read", name="look")
def look_again() -> str:
    "Look again."
    return ""
"""
UNTYPED = """
from sayso import tool

@tool(effect="read")
def look(where) -> str:
    "Look."
    return where
"""
GOOD = """
from sayso import tool

@tool(effect="read")
def look(where: str, times: int = 2) -> str:
    "Look somewhere."
    return where
"""


@pytest.fixture
def no_models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "empty"))
    monkeypatch.delenv("SAYSO_MIRROR", raising=False)
    monkeypatch.setattr(embedded, "_embedded", embedded._embedded.__wrapped__)  # not one that was made before


def failed(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str]:
    """The exit code and the one line of an error."""
    code = main(list(arguments))
    out, err = capsys.readouterr()
    assert out == ""
    assert err.startswith("error: ") and err.count("\n") == 1, err
    assert "Traceback" not in err
    return code, err


def write(path: Path, text: str) -> str:
    path.write_text(text)
    return str(path)


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--help"]) == 0
    shown = capsys.readouterr().out
    for command in ("ask", "talk", "tools", "calls", "mcp", "documents", "voices", "models", "doctor"):
        assert command in shown


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["ask"], "sound file or with --text"),
        (["ask", "a.wav", "--text", "hi"], "sound file or with --text"),
        (["ask", "--no-such-option"], "--no-such-option"),
        (["no-such-command"], "no-such-command"),
        (["ask", "--text", "hi", "--model", "huge"], "huge"),
        (["ask", "--text", "hi", "--out", "reply.xyz"], "WAV or FLAC"),
        (["ask", "--text", "hi", "--out", "no/such/folder/reply.wav"], "folder"),
        (["tools", "--tools", "no_such_file.py"], "no_such_file.py"),
        (["models", "pull", "no-such-model"], "no-such-model"),
    ],
)
def test_a_users_mistake_is_one_line_and_2(
    arguments: list[str], told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    code, line = failed(capsys, *arguments)
    assert code == 2
    assert told in line


@pytest.mark.parametrize(
    ("source", "told"),
    [
        ("def broken(:", "SyntaxError"),
        ("import no_such_package", "no_such_package"),
        ("x = 1", "no tool"),
        (UNTYPED, "where"),
        (TWO_OF_ONE_NAME, "look"),
    ],
)
def test_a_broken_tool_module_is_one_line_that_names_it(
    source: str, told: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    code, line = failed(capsys, "tools", "--tools", write(tmp_path / "my_tools.py", source))
    assert code == 2
    assert "my_tools.py" in line and told in line


@pytest.mark.usefixtures("no_models")
def test_missing_models_say_how_to_get_them(capsys: pytest.CaptureFixture[str]) -> None:
    code, line = failed(capsys, "ask", "--text", "hi")
    assert code == 2
    assert "sayso models pull" in line


def test_sound_that_cannot_be_read_is_told_before_any_model_is_asked(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Callable[[str], Path]
) -> None:
    for name in ("whisper-tiny.en", "qwen2.5-coder-1.5b", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    empty = tmp_path / "empty.wav"
    empty.touch()
    for path, told in ((tmp_path / "none.wav", "none.wav"), (empty, "empty"), (tmp_path, "folder")):
        code, line = failed(capsys, "ask", str(path))
        assert code == 2 and told in line


def test_tools_as_json(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["tools", "--json", "--tools", write(tmp_path / "my_tools.py", GOOD)]) == 0
    (tool,) = json.loads(capsys.readouterr().out)
    assert (tool["name"], tool["effect"]) == ("look", "read")
    assert tool["parameters"]["additionalProperties"] is False


def test_tools_as_a_table(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    assert main(["tools", "--tools", write(tmp_path / "my_tools.py", GOOD)]) == 0
    shown = capsys.readouterr().out
    assert "where: string" in shown and "times: integer = 2" in shown


def test_a_fault_of_ours_is_1_and_debug_shows_it(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(_: object) -> list[object]:
        raise RuntimeError("a bug")

    monkeypatch.setattr(cli, "chosen_tools", broken)
    code, line = failed(capsys, "tools")
    assert code == 1
    assert "a bug" in line and "--debug" in line
    with pytest.raises(RuntimeError, match="a bug"):
        main(["--debug", "tools"])


def test_talk_without_a_sound_device_says_so(
    capsys: pytest.CaptureFixture[str], model_path: Callable[[str], Path]
) -> None:
    from sayso.errors import UsageError
    from sayso.speech.devices import describe

    for name in ("whisper-tiny.en", "qwen2.5-coder-1.5b", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    try:
        describe()
    except UsageError:
        code, line = failed(capsys, "talk")
        assert code == 2
        assert "No sound device" in line
    else:
        pytest.skip("this machine has a sound device")


def test_doctor_finds_what_is_missing(capsys: pytest.CaptureFixture[str], no_models: None) -> None:
    assert main(["doctor"]) == 1
    shown = capsys.readouterr().out
    assert "sayso models pull" in " ".join(shown.split())


@pytest.mark.models
def test_ask_by_sound_writes_the_reply(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Callable[[str], Path]
) -> None:
    for name in ("whisper-tiny.en", "qwen2.5-coder-1.5b", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    question = Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav"
    reply = tmp_path / "reply.wav"
    assert main(["ask", str(question), "--out", str(reply), "--json"]) == 0
    result = json.loads(capsys.readouterr().out)
    assert "tokyo" in result["heard"].casefold()
    assert [(call["name"], call["status"]) for call in result["calls"]] == [("get_date_time", "ok")]
    assert "Tokyo" in result["said"]
    assert reply.stat().st_size > 10_000


@pytest.mark.models
def test_ask_with_noise_finds_no_speech(
    capsys: pytest.CaptureFixture[str], tmp_path: Path, model_path: Callable[[str], Path]
) -> None:
    for name in ("whisper-tiny.en", "qwen2.5-coder-1.5b", "kokoro-82m", "kokoro-voices"):
        model_path(name)
    noise = np.random.default_rng(7).normal(0, 0.05, 32_000).astype(np.float32)
    path = save(tmp_path / "noise.wav", Audio(noise, 16_000))
    assert main(["ask", str(path)]) == 0
    assert "No speech" in capsys.readouterr().out
