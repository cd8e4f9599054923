"""Voices of Step-Audio 2: clips that lie beside the checkpoint and clips of the user, switched while it speaks."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="needs the extra step-audio")
pytest.importorskip("xgrammar", reason="needs the extra step-audio")
pytest.importorskip("onnx", reason="needs the extra step-audio")

import torch

from sayso import Agent
from sayso.cli_voices import voices_app
from sayso.errors import AudioError, ModelMissingError, UsageError
from sayso.items import Audio
from sayso.models.step_audio2.clips import PROMPT_S, read_clip, voices_of
from sayso.models.step_audio2.loaded import Options
from sayso.models.step_audio2.model import StepAudio2Model
from sayso.settings import cache_root
from sayso.speech.audio import load, resample, save
from sayso.speech.lines import Lines
from sayso.testing import run
from sayso.tools import Journal
from sayso.tools.builtin.audio_search import timbre_rag
from sayso.tools.voices.clips import add_clip
from sayso.tools.voices.library import VoiceLibrary, open_library
from sayso.voices import Voice, clip_voices, clips_folder, facts_of, write_facts

DEFAULTS = ("default_female", "default_male")


@pytest.fixture(autouse=True)
def folders(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SAYSO_DATA", str(tmp_path / "data"))
    monkeypatch.setenv("SAYSO_CACHE", str(tmp_path / "cache"))
    torch.set_num_threads(1)


def hum(pitch_hz: float, seconds: float = 3.0, rate_hz: int = 24_000) -> Audio:
    t = np.arange(round(seconds * rate_hz)) / rate_hz
    wave = sum(np.sin(2 * np.pi * pitch_hz * n * t) / n for n in range(1, 12))
    return Audio((0.1 * np.asarray(wave)).astype(np.float32), rate_hz)


def add(name: str, pitch_hz: float, description: str = "", seconds: float = 3.0) -> Path:
    clips_folder().mkdir(parents=True, exist_ok=True)
    clip = save(clips_folder() / f"{name}-1.flac", hum(pitch_hz, seconds))
    write_facts(clip, Voice(name, "en", "female", description), licence="CC0-1.0", consent="made by formula")
    return clip


@asynccontextmanager
async def model_of(folder: Path) -> AsyncIterator[StepAudio2Model]:
    model = StepAudio2Model(Options(folder, device="cpu", dtype="float32", max_tokens=40, max_length=512, sessions=2))
    try:
        yield model
    finally:
        await model.aclose()


async def said(model: StepAudio2Model, voice: str | None, text: str = "One moment.") -> np.ndarray:
    return np.concatenate([piece.audio.samples async for piece in model.say(text, voice)])


def real(main: Coroutine[Any, Any, None]) -> None:
    run(main, virtual=False)


def test_the_voices_are_the_default_ones_and_the_user_s(tiny_checkpoint: Path) -> None:
    clip = add("ada", 180, "Ada, our guide")
    model = StepAudio2Model(Options(tiny_checkpoint))
    assert model.profile.voices == (*DEFAULTS, "ada")
    assert model.profile.voice_facts[-1] == Voice("ada", "en", "female", "Ada, our guide", clip)
    assert Agent(model=model, voice="ada").voice == "ada"


def test_each_voice_sounds_in_its_own_way_and_is_prepared_once(tiny_checkpoint: Path) -> None:
    add("ada", 180)

    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            voices = [None, *DEFAULTS, "ada"]
            first, female, male, ada = [await said(model, voice) for voice in voices]
            prepared = {path: path.stat().st_mtime_ns for path in (cache_root() / "step-audio-voices").iterdir()}
            assert len(prepared) == 3
        length = min(map(len, (first, female, male, ada)))
        assert length
        assert not np.array_equal(female[:length], male[:length])
        assert not np.array_equal(male[:length], ada[:length])
        async with model_of(tiny_checkpoint) as model:
            await said(model, "ada")
        kept = {path: path.stat().st_mtime_ns for path in (cache_root() / "step-audio-voices").iterdir()}
        assert kept == prepared  # by their content, in another model too

    real(main())


def test_voices_of_streams_that_run_at_once_do_not_mix(tiny_checkpoint: Path) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            loaded = await model._loaded.get()
            codes = [(7 * k) % 6561 for k in range(60)]
            alone: dict[str, np.ndarray] = {}
            for name in DEFAULTS:
                stream = await model._open_voice(name)
                alone[name] = np.concatenate(
                    [await model._loaded.use(lambda _, s=stream: s.feed(codes)), stream.flush()]
                )
            streams = {name: await model._open_voice(name) for name in DEFAULTS}
            parts: dict[str, list[np.ndarray]] = {name: [] for name in DEFAULTS}
            for start in range(0, 60, 10):
                for name, stream in streams.items():
                    parts[name].append(stream.feed(codes[start : start + 10]))
            for name, stream in streams.items():
                together = np.concatenate([*parts[name], stream.flush()])
                np.testing.assert_allclose(together, alone[name], atol=1e-5)
            assert not np.allclose(alone["default_female"], alone["default_male"], atol=1e-3)
            # the step where one voice follows the other is none that the voices do not make themselves
            one, other = alone["default_female"], alone["default_male"]
            assert abs(other[0] - one[-1]) <= max(np.abs(np.diff(one)).max(), np.abs(np.diff(other)).max())
            assert loaded.clips.keys() == {*DEFAULTS}

    real(main())


def test_a_session_switches_by_description_from_its_next_round_on(tiny_checkpoint: Path) -> None:
    add("ada", 180, "Ada, our guide")

    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            asked: list[str | None] = []
            opened = model._open_voice

            async def noted(voice: str | None) -> object:
                asked.append(voice)
                return await opened(voice)

            model._open_voice = noted  # type: ignore[method-assign, assignment]
            agent = Agent(model=model, tools=[timbre_rag], journal=Journal(), seed=1)
            async with agent.session() as session:
                ctx = session.conductor.context
                assert [voice.name for voice in ctx.voices] == [*DEFAULTS, "ada"]
                for query, name in (("our guide", "ada"), ("默认男音色", "default_male"), ("换回你原来的声音", None)):
                    found = timbre_rag(query, ctx)
                    assert found.voice == name
                    before = len(asked)
                    await session.ask("Hello")
                    assert set(asked[before:]) <= {name}
            assert asked

    real(main())


@pytest.mark.parametrize("voice", ["nobody", "default_female:0.5+default_male:0.5", "/etc/passwd"])
def test_another_voice_is_refused(tiny_checkpoint: Path, voice: str) -> None:
    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            with pytest.raises(UsageError, match=r"mixes none\. There are: default_female, default_male\."):
                await said(model, voice)

    real(main())


def test_a_checkpoint_without_any_voice_is_told(tiny_checkpoint: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(tiny_checkpoint, tmp_path / "bare"))
    for name in DEFAULTS:
        (folder / "token2wav" / f"{name}.wav").unlink()
    assert voices_of(folder) == ()

    async def main() -> None:
        async with model_of(folder) as model:
            assert model.profile.voices == DEFAULTS
            with pytest.raises(ModelMissingError, match="sayso models pull step-audio-voices"):
                await said(model, None)

    real(main())
    pulled = cache_root() / "models" / "step-audio-voices"
    pulled.mkdir(parents=True)
    (pulled / "default_male.wav").write_bytes(b"RIFF")
    assert voices_of(folder) == ()  # not what the manifest says
    add("ada", 180)
    assert [voice.name for voice in voices_of(folder)] == ["ada"]


def test_of_a_long_clip_the_beginning_is_used() -> None:
    clip = add("ada", 180, seconds=20.0)
    assert read_clip(clip).seconds == PROMPT_S


def test_a_clip_that_went_away_is_told(tiny_checkpoint: Path) -> None:
    clip = add("ada", 180)

    async def main() -> None:
        async with model_of(tiny_checkpoint) as model:
            await model._loaded.get()
            await asyncio.to_thread(clip.unlink)
            with pytest.raises(AudioError, match=r"ada-1\.flac"):
                await said(model, "ada")

    real(main())


def test_descriptions_that_do_not_read_are_passed_over(caplog: pytest.LogCaptureFixture) -> None:
    add("ada", 180)
    for number, text in enumerate(("", "[]", '{"description": "nameless"}')):
        (clips_folder() / f"x-{number}.json").write_text(text)
    facts_of(clips_folder() / "gone-1.flac").write_text('{"name": "gone"}')
    assert [voice.name for voice in clip_voices()] == ["ada"]
    assert len(caplog.messages) == 3


# --- real speech ----------------------------------------------------------------------------------------------------


def command(*arguments: str) -> None:
    voices_app(list(arguments), standalone_mode=False)


def test_a_recording_is_added_and_becomes_a_voice(
    tiny_checkpoint: Path, shared_data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = shared_data / "speech" / "read" / "jfk.flac"
    spoken = ("--licence", "public domain", "--consent", "a public speech")
    command("add", str(source), "--description", "an American president", "--name", "jfk", *spoken)
    command("add", str(source), "--description", "nobody agreed", "--name", "mute")
    assert "Nobody may speak similarly" in capsys.readouterr().out
    voice = voices_of(tiny_checkpoint)[-1]
    assert (voice.name, voice.gender, voice.description) == ("jfk", "unknown", "an American president")
    assert voice.clip is not None and load(voice.clip).seconds == pytest.approx(load(source).seconds, abs=0.01)
    assert [one.name for one in clip_voices()] == ["jfk"]
    command("remove", "jfk")
    assert clip_voices() == () and list(clips_folder().glob("jfk*")) == []


def test_the_command_line_lists_the_voices_of_a_checkpoint(
    tiny_checkpoint: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("SAYSO_MODEL_STEP_AUDIO_2_MINI", str(tiny_checkpoint))
    add("ada", 180, "Ada, our guide")
    command("--json")
    rows = [row for row in json.loads(capsys.readouterr().out) if row["model"] == "step-audio-2"]
    assert [row["name"] for row in rows] == [*DEFAULTS, "ada"]
    assert rows[-1]["description"] == "Ada, our guide"
    monkeypatch.delenv("SAYSO_MODEL_STEP_AUDIO_2_MINI")
    with pytest.raises(ModelMissingError):
        command()


def test_a_line_is_spoken_anew_where_a_voice_has_another_clip(tiny_checkpoint: Path) -> None:
    paths: list[Path] = []
    for name in ("ada-1", "ada-2"):
        first = add("ada", 180)
        facts_of(first).rename(clips_folder() / f"{name}.json")
        clip = first.rename(clips_folder() / f"{name}.flac")
        model = StepAudio2Model(Options(tiny_checkpoint))
        assert model.profile.voice_facts[-1].clip == clip
        paths.append(Lines(model, "ada")._path("One moment."))
    assert paths[0] != paths[1]
    assert Lines(model, None)._path("x") == Lines(model, "default_female")._path("x")


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (
            lambda speech: Audio(speech.samples[::2].copy(), speech.sample_rate_hz // 2),
            "8000 samples a second; a voice",
        ),
        (lambda speech: Audio(np.clip(speech.samples * 50, -1, 1), speech.sample_rate_hz), "overdriven: .* full scale"),
        (lambda speech: Audio(speech.samples * 0.003, speech.sample_rate_hz), "too quiet|of speech in the clip"),
        (lambda speech: Audio(speech.samples[: speech.sample_rate_hz], speech.sample_rate_hz), "2 s are needed"),
        (lambda speech: Audio(np.tile(speech.samples, 8), speech.sample_rate_hz), "at most 60 s are taken"),
    ],
    ids=["rate", "clipped", "quiet", "short", "long"],
)
def test_recordings_that_no_voice_can_be_made_of(
    shared_data: Path, tmp_path: Path, damage: Callable[[Audio], Audio], message: str
) -> None:
    library: VoiceLibrary = open_library()
    speech = resample(load(shared_data / "speech" / "read" / "jfk.flac"), 16_000)
    source = save(tmp_path / "clip.wav", damage(speech))
    with pytest.raises(AudioError, match=message):
        add_clip(library, source, "a man", licence="public domain", consent="a public speech")
    assert clip_voices() == ()
