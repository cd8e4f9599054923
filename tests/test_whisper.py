from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import AudioError, ModelError, ModelMissingError, UsageError
from sayso.items import Audio
from sayso.models.whisper import Recognition, WhisperRecognizer, cut_restart, is_speech, repeats_itself

# --- The cut (every restart here was written by tiny.en or base for a real clip) ---


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("What time is it? What time is it?", "What time is it?"),
        ("Turn on the lamp. turn on the lamp.", "Turn on the lamp."),
        (
            "I will go. Is there food at the conference? Is there food at the conference?",
            "I will go. Is there food at the conference?",
        ),
        ("go forward 10 meters. Go forward 10 meters. Go forward 10 meters.", "go forward 10 meters."),
        ("今天天气怎么样？今天天气怎么样？", "今天天气怎么样？"),
        ("twenty two, twenty two", "twenty two"),
    ],
)
def test_a_whole_repeat_at_the_end_is_cut(text: str, cut: str) -> None:
    assert cut_restart(text) == cut
    assert cut_restart(text, truncated=True) == cut


@pytest.mark.parametrize(
    ("text", "cut"),
    [
        ("what time is it in new york what time is", "what time is it in new york"),
        ("In 1813, in 1813, in 1813, in", "In 1813"),
        ("What time is lunch? Yes. What time is lunch? Yes. What", "What time is lunch? Yes."),
        ("Is it? I can't access the maps. I can't access the maps. I can", "Is it? I can't access the maps."),
    ],
)
def test_an_unfinished_repeat_is_cut_only_from_truncated_text(text: str, cut: str) -> None:
    assert cut_restart(text, truncated=True) == cut
    assert len(cut_restart(text)) > len(cut) or cut_restart(text) == cut


@pytest.mark.parametrize(
    "text",
    [
        "",
        "...",
        "no",
        "No, no.",
        "No no no no no no",
        "two two four",
        "5 5 5 5 5 5 5 5",
        "Yes, yes, yes.",
        "To be or not to be",
        "I know what I know",
        "the bank near the bank",
        "Ask not what your country can do for you, ask what you can do for your country.",
        "Call Ann, then call Bob, then call Ann.",
        "Turn it on. Turn it off.",
        "谢谢谢谢",
    ],
)
def test_what_people_really_repeat_stays(text: str) -> None:
    assert cut_restart(text) == text


def test_a_repeat_that_does_not_reach_the_end_stays() -> None:
    text = "Turn it on. Turn it on. Now turn it off."
    assert cut_restart(text) == cut_restart(text, truncated=True) == text


words = st.sampled_from(["turn", "on", "the", "lamp", "no", "two", "5", "it's", "x"])
sentences = st.lists(words, min_size=1, max_size=8)


@given(
    st.lists(words, unique=True, min_size=2, max_size=9),
    st.integers(2, 5),
    st.integers(0, 8),
    st.sampled_from([" ", ". "]),
)
def test_any_sentence_said_over_is_cut_to_one(unit: list[str], copies: int, more: int, joint: str) -> None:
    sentence = " ".join(unit)
    text = joint.join([sentence] * copies)
    assert cut_restart(text).rstrip(".") == sentence
    unfinished = text + joint + " ".join(unit[: more % len(unit)])
    assert cut_restart(unfinished, truncated=True).rstrip(".") == sentence


@given(st.lists(sentences, max_size=4), st.booleans())
def test_a_cut_leaves_a_beginning_that_is_left_alone(text: list[list[str]], truncated: bool) -> None:
    whole = ". ".join(" ".join(sentence) for sentence in text)
    cut = cut_restart(whole, truncated=truncated)
    assert whole.startswith(cut) and (cut or not whole)
    missing = whole[len(cut) :].replace(".", " ").split()
    kept = cut.replace(".", " ").split()
    assert set(missing[:-1]) <= set(kept) and len(missing) != 1
    assert not missing or any(word.startswith(missing[-1]) for word in kept)


@given(st.lists(words, unique=True, max_size=9))
def test_text_without_a_word_twice_is_left_alone(text: list[str]) -> None:
    assert cut_restart(" ".join(text), truncated=True) == " ".join(text)


# --- The guards ---


@pytest.mark.parametrize(
    ("text", "no_speech", "log_probability", "speech"),
    [
        ("What time is it?", 0.1, -0.1, True),
        ("8.", 0.57, -0.45, True),
        ("six", 0.29, -1.19, True),
        ("Thank you.", 0.1, -0.2, True),
        ("you", 0.95, -0.44, False),
        ("I'm not here.", 0.66, -2.01, False),
        ("Thank you.", 0.6, -0.4, False),
        ("NGTV", 0.44, -2.79, False),
        (". . .", 0.1, -0.1, False),
        ("", 0.1, -0.1, False),
    ],
)
def test_guards(text: str, no_speech: float, log_probability: float, speech: bool) -> None:
    assert is_speech(text, no_speech, log_probability) is speech


def test_loops_compress_well_and_speech_does_not() -> None:
    assert repeats_itself("Oh, " * 30)
    assert not repeats_itself("If the reader will excuse me, I will say nothing of my antecedents.")


# --- Without a model ---


def test_a_folder_without_a_model(tmp_path: Path) -> None:
    with pytest.raises(ModelMissingError, match="sayso models pull"):
        WhisperRecognizer(tmp_path).load()


def test_a_broken_model(tmp_path: Path) -> None:
    pytest.importorskip("faster_whisper")
    (tmp_path / "model.bin").write_bytes(b"not a model")
    with pytest.raises(ModelError, match="sayso models verify"):
        WhisperRecognizer(tmp_path).load()


@pytest.mark.parametrize("samples", [[0.0, np.nan], [np.inf]])
def test_samples_that_are_not_finite(tmp_path: Path, samples: list[float]) -> None:
    with pytest.raises(AudioError, match="not finite"):
        WhisperRecognizer(tmp_path).transcribe(Audio(np.array(samples, np.float32), 16_000))


def test_a_rate_that_cannot_be(tmp_path: Path) -> None:
    with pytest.raises(AudioError, match="0"):
        WhisperRecognizer(tmp_path).transcribe(Audio(np.zeros(10, np.float32), 0))


# --- With the real ones ---


def clip(data: Path, name: str) -> Audio:
    soundfile = pytest.importorskip("soundfile")
    samples, rate = soundfile.read(data / "speech" / name, dtype="float32")
    return Audio(samples, rate)


def noises() -> dict[str, Audio]:
    random = np.random.default_rng(7)
    time_s = np.arange(48_000) / 16_000
    return {
        "nothing": Audio(np.zeros(0, np.float32), 16_000),
        "one sample": Audio(np.full(1, 0.5, np.float32), 16_000),
        "silence": Audio(np.zeros(16_000, np.float32), 16_000),
        "hiss": Audio((0.01 * random.standard_normal(48_000)).astype(np.float32), 16_000),
        "loud hiss": Audio((0.1 * random.standard_normal(48_000)).astype(np.float32), 16_000),
        "hum": Audio((0.05 * np.sin(2 * np.pi * 50 * time_s)).astype(np.float32), 16_000),
        "tone": Audio((0.1 * np.sin(2 * np.pi * 440 * time_s)).astype(np.float32), 16_000),
    }


@pytest.mark.models
def test_tiny_english_hears_speech_and_nothing_in_noise(model_path: Callable[[str], Path], shared_data: Path) -> None:
    recognizer = WhisperRecognizer(model_path("whisper-tiny.en"))
    assert {name: recognizer.transcribe(noise).text for name, noise in noises().items()} == dict.fromkeys(noises(), "")
    with pytest.raises(UsageError, match="only English"):
        recognizer.transcribe(noises()["silence"], "zh")
    heard = recognizer.transcribe(clip(shared_data, "assistant/what_time_is_it.flac"), "en-US")
    assert heard.text == "What time is it?" and heard.language == "en"
    assert heard.no_speech_probability < 0.5 and heard.average_log_probability > -0.5


@pytest.mark.models
def test_a_clip_that_needs_the_second_look_is_not_said_twice(
    model_path: Callable[[str], Path], shared_data: Path
) -> None:
    audio = clip(shared_data, "assistant/turn_on_living_room_lamp.flac")
    for window_s in (0.0, 10.0):  # with 0 the first look ends in a loop
        recognizer = WhisperRecognizer(model_path("whisper-tiny.en"), shortest_window_s=window_s)
        assert recognizer.transcribe(audio).text.casefold() == "turn on the living room lamp."


@pytest.mark.models
def test_base_finds_the_language_and_hears_a_clip_longer_than_its_window(
    model_path: Callable[[str], Path], shared_data: Path
) -> None:
    recognizer = WhisperRecognizer(model_path("whisper-base"))
    assert recognizer.transcribe(clip(shared_data, "read/aishell_BAC009S0724W0121.flac")).language == "zh"
    assert {name: recognizer.transcribe(noise).text for name, noise in noises().items()} == dict.fromkeys(noises(), "")
    with pytest.raises(UsageError, match="xx"):
        recognizer.transcribe(noises()["silence"], "xx")
    speech = clip(shared_data, "read/jfk.flac")
    long = Audio(np.tile(speech.samples, 3), speech.sample_rate_hz)
    heard = recognizer.transcribe(long)
    assert heard.language == "en" and heard.text.casefold().count("your country can do for you") == 3
    assert recognizer.transcribe(long, "en") == heard


def test_recognition_of_nothing() -> None:
    assert Recognition("") == Recognition("", None, 1.0, 0.0)
