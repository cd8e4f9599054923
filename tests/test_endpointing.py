"""Turns in live audio: the same samples give the same turns, however they come."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from sayso.errors import AudioError, UsageError
from sayso.items import Audio
from sayso.speech.audio import load, resample, to_pcm16
from sayso.speech.endpointing import (
    Endpointer,
    SpeechBegan,
    SpeechEvent,
    SpeechPaused,
    SpeechResumed,
    TurnEnds,
    Utterance,
)
from sayso.speech.vad import FRAME_MS, FRAME_SAMPLES, trim

RATE = 16_000


class Loud:
    """A detector without a model: speech is what is loud. It makes the state machine's arithmetic exact."""

    def probability(self, frame: np.ndarray) -> float:
        return float(np.sqrt(np.mean(np.square(frame))))

    def reset(self) -> None:
        pass


def stream(*runs: tuple[int, float]) -> np.ndarray:
    """Runs of frames (32 ms), each (count, level); every sample differs a little, so that none can be confused."""
    levels = np.concatenate([np.full(count * FRAME_SAMPLES, level) for count, level in runs])
    return (levels + np.arange(len(levels)) * 1e-7).astype(np.float32)


def events_of(samples: np.ndarray, ends: TurnEnds | None = None, rate: int = RATE) -> list[SpeechEvent]:
    endpointer = Endpointer(rate, ends, detector=Loud())
    return [*endpointer.feed(samples), *endpointer.flush()]


def utterances(events: Iterable[SpeechEvent]) -> list[Utterance]:
    return [event for event in events if isinstance(event, Utterance)]


def test_a_turn_from_begin_to_end() -> None:
    """Began after 7 frames (200 ms); 10 frames of pre-roll (300 ms); paused after 7; over after 19 (600 ms)."""
    samples = stream((30, 0), (20, 0.9), (40, 0))
    endpointer = Endpointer(RATE, detector=Loud())
    seen = [(n, event) for n in range(90) for event in endpointer.feed(samples[n * FRAME_SAMPLES :][:FRAME_SAMPLES])]
    assert [(n, type(event)) for n, event in seen] == [(36, SpeechBegan), (56, SpeechPaused), (68, Utterance)]
    began, paused, utterance = (event for _, event in seen)
    assert isinstance(began, SpeechBegan)
    assert isinstance(paused, SpeechPaused)
    assert isinstance(utterance, Utterance)
    assert (began.at_ms, paused.at_ms) == (30 * FRAME_MS, 50 * FRAME_MS)
    assert (utterance.start_ms, utterance.end_ms, utterance.forced) == (30 * FRAME_MS, 50 * FRAME_MS, False)
    np.testing.assert_array_equal(utterance.audio.samples, samples[20 * FRAME_SAMPLES : 57 * FRAME_SAMPLES])
    np.testing.assert_array_equal(paused.audio.samples, utterance.audio.samples)
    assert endpointer.flush() == []


def test_a_pause_inside_a_turn() -> None:
    events = events_of(stream((20, 0), (10, 0.9), (15, 0), (5, 0.9), (30, 0)))
    assert [type(event) for event in events] == [SpeechBegan, SpeechPaused, SpeechResumed, SpeechPaused, Utterance]
    assert [getattr(event, "at_ms", None) for event in events] == [640, 960, 1440, 1600, None]
    assert utterances(events)[0].end_ms == 1600


def test_short_sounds_are_no_turn() -> None:
    assert events_of(stream((20, 0), (6, 0.9), (20, 0), (3, 0.9), (20, 0))) == []


def test_speech_with_short_gaps_begins_a_turn() -> None:
    events = events_of(stream((20, 0), (3, 0.9), (3, 0), (4, 0.9), (30, 0)))
    assert events[0] == SpeechBegan(20 * FRAME_MS)
    assert events_of(stream((20, 0), (3, 0.9), (4, 0), (4, 0.9), (30, 0))) == []


def test_no_sample_is_in_two_turns() -> None:
    samples = stream((5, 0), (10, 0.9), (19, 0), (10, 0.9), (25, 0))
    first, second = utterances(events_of(samples))
    np.testing.assert_array_equal(first.audio.samples, samples[: 22 * FRAME_SAMPLES])
    np.testing.assert_array_equal(second.audio.samples, samples[24 * FRAME_SAMPLES : 51 * FRAME_SAMPLES])


def test_a_long_turn_is_cut_and_nothing_is_lost() -> None:
    ends = TurnEnds(max_utterance_ms=1600, pre_roll_ms=0)
    samples = stream((10, 0), (120, 0.9), (30, 0))
    found = utterances(events_of(samples, ends))
    assert [turn.forced for turn in found] == [True, True, False]
    assert [len(turn.audio.samples) // FRAME_SAMPLES for turn in found] == [50, 50, 27]
    whole = np.concatenate([turn.audio.samples for turn in found])
    np.testing.assert_array_equal(whole, samples[10 * FRAME_SAMPLES : 137 * FRAME_SAMPLES])


def test_the_end_of_the_stream_ends_the_turn() -> None:
    samples = stream((20, 0), (10, 0.9))[:-100]
    endpointer = Endpointer(RATE, detector=Loud())
    assert [type(event) for event in endpointer.feed(samples)] == [SpeechBegan]
    (turn,) = endpointer.flush()
    assert isinstance(turn, Utterance)
    assert turn.forced
    assert len(turn.audio.samples) == 20 * FRAME_SAMPLES
    assert endpointer.position_ms == 0
    assert endpointer.flush() == []


def test_reset_begins_a_new_stream() -> None:
    endpointer = Endpointer(RATE, detector=Loud())
    samples = stream((20, 0), (10, 0.9))
    first = endpointer.feed(samples)
    assert endpointer.speaking
    endpointer.reset()
    assert not endpointer.speaking
    assert endpointer.held_samples == 0
    assert endpointer.feed(samples) == first


RUNS = st.lists(st.tuples(st.integers(1, 40), st.sampled_from([0.0, 0.0, 0.4, 0.9])), min_size=1, max_size=8)
CUTS = st.lists(st.integers(0, 6000), min_size=1, max_size=8)


def in_pieces(data: Any, cuts: list[int]) -> Iterable[Any]:
    """``data`` cut at these lengths, over and over; the first is not too short, so that it ends soon."""
    start, turn = 0, 0
    while start < len(data):
        length = cuts[turn % len(cuts)] if turn % len(cuts) else max(201, cuts[0])
        yield data[start : start + length]
        start, turn = start + length, turn + 1


def same(first: list[SpeechEvent], second: list[SpeechEvent]) -> bool:
    def samples(events: list[SpeechEvent]) -> list[bytes]:
        return [event.audio.samples.tobytes() for event in events if isinstance(event, SpeechPaused | Utterance)]

    return first == second and samples(first) == samples(second)


@given(runs=RUNS, cuts=CUTS, rate=st.sampled_from([8_000, 16_000, 22_050, 24_000, 48_000]))
def test_any_cut_gives_the_same_turns(runs: list[tuple[int, float]], cuts: list[int], rate: int) -> None:
    samples = resample(Audio(stream(*runs), RATE), rate).samples
    endpointer = Endpointer(rate, detector=Loud())
    cut = [event for piece in in_pieces(samples, cuts) for event in endpointer.feed(piece)] + endpointer.flush()
    assert same(cut, events_of(samples, rate=rate))


@given(runs=RUNS, cuts=CUTS)
def test_bytes_may_be_cut_inside_a_sample(runs: list[tuple[int, float]], cuts: list[int]) -> None:
    data = to_pcm16(Audio(stream(*runs), RATE))
    endpointer = Endpointer(RATE, detector=Loud())
    cut = [event for piece in in_pieces(data, cuts) for event in endpointer.feed(piece)] + endpointer.flush()
    assert same(cut, events_of(np.frombuffer(data, "<i2").astype(np.int16)))


@given(runs=RUNS, pre_roll=st.integers(0, 500), pause=st.integers(1, 600), silence=st.integers(0, 400))
def test_rules_of_every_stream(runs: list[tuple[int, float]], pre_roll: int, pause: int, silence: int) -> None:
    ends = TurnEnds(pre_roll_ms=pre_roll, pause_ms=pause, end_silence_ms=pause + silence, max_utterance_ms=2000)
    samples = stream(*runs)
    endpointer = Endpointer(RATE, ends, detector=Loud())
    last_audio, open_turn, end_ms = None, False, 0
    for event in [*endpointer.feed(samples), *endpointer.flush()]:
        if isinstance(event, SpeechBegan):
            assert not open_turn
            assert event.at_ms >= end_ms
            open_turn = True
        else:
            assert open_turn
        if isinstance(event, SpeechPaused):
            last_audio = event.audio
        elif isinstance(event, SpeechResumed):
            last_audio = None
        elif isinstance(event, Utterance):
            assert event.start_ms < event.end_ms
            assert event.start_ms >= end_ms
            assert event.audio.samples.tobytes() in np.append(samples, np.zeros(FRAME_SAMPLES, np.float32)).tobytes()
            assert event.audio.seconds * 1000 >= event.end_ms - event.start_ms
            if last_audio is not None:
                np.testing.assert_array_equal(event.audio.samples, last_audio.samples)
            last_audio, open_turn, end_ms = None, False, event.end_ms
    assert not open_turn


def test_an_hour_of_silence_holds_no_more_than_the_pre_roll() -> None:
    endpointer = Endpointer(RATE, detector=Loud())
    minute = np.zeros(60 * RATE, np.float32)
    most = 0
    for _ in range(60):
        assert endpointer.feed(minute) == []
        most = max(most, endpointer.held_samples)
    assert endpointer.position_ms == 3_600_000
    assert most <= 10 * FRAME_SAMPLES + FRAME_SAMPLES
    assert all(kept.base is None for kept in endpointer._kept)  # no view keeps a long piece alive


def test_an_hour_of_hesitation_is_bounded_too() -> None:
    """Speech that never lasts long enough to begin a turn."""
    endpointer = Endpointer(RATE, detector=Loud())
    piece = stream((6, 0.9), (4, 0))
    most = 0
    for _ in range(500):
        assert endpointer.feed(piece) == []
        most = max(most, endpointer.held_samples)
    assert most <= (10 + 7 * 4 + 1) * FRAME_SAMPLES


@pytest.mark.parametrize(
    "frame",
    [
        np.zeros((160, 2), np.float32),
        np.zeros(()),
        np.float32(0.5),
        np.zeros(160, np.int32),
        np.zeros(160, bool),
        [0.5],
    ],
)
def test_frames_of_another_shape_or_type(frame: Any) -> None:
    with pytest.raises(AudioError, match=r"Feed mono samples of shape \(n,\)"):
        Endpointer(RATE, detector=Loud()).feed(frame)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_bad_frame_is_refused_and_the_stream_goes_on(bad: float) -> None:
    samples = stream((20, 0), (20, 0.9), (30, 0))
    endpointer = Endpointer(RATE, detector=Loud())
    events = endpointer.feed(samples[:9000])
    with pytest.raises(AudioError, match="NaN or infinite samples"):
        endpointer.feed(np.array([0.1, bad], np.float32))
    assert same([*events, *endpointer.feed(samples[9000:])], events_of(samples))


def test_impossible_settings() -> None:
    with pytest.raises(AudioError, match="a sample rate of 100 Hz"):
        Endpointer(100, detector=Loud())
    for options in (
        {"pause_ms": 700},
        {"pause_ms": 0},
        {"min_speech_ms": 0},
        {"pre_roll_ms": -1},
        {"stop_threshold": 0.6},
    ):
        with pytest.raises(UsageError, match=r"do not fit together\. Keep "):
            TurnEnds(**options)  # type: ignore[arg-type]


# With the real model


@pytest.mark.parametrize("level", [0.0, 0.001, 0.03, 0.3])
def test_no_turn_in_noise(level: float) -> None:
    noise = (np.random.default_rng(3).standard_normal(10 * RATE) * level).astype(np.float32)
    endpointer = Endpointer(RATE)
    assert [*endpointer.feed(noise), *endpointer.flush()] == []


def test_human_clips_in_a_stream(shared_data: Path) -> None:
    """Each clip, with room noise around it, at 48 kHz and in frames of 20 ms, is heard; its speech is in the turns."""
    manifest = shared_data / "speech" / "manifest.jsonl"
    rows = [json.loads(line) for line in manifest.read_text().splitlines()]
    files = [row["file"] for row in rows if row["human"] and row["file"].split("/")[1] in ("assistant", "commands")]
    room = np.random.default_rng(0).standard_normal(RATE).astype(np.float32) * 0.0005
    for file in files[::12]:
        spoken = resample(load(shared_data / file), RATE).samples
        whole = resample(Audio(np.concatenate([room, spoken, room]), RATE), 48_000).samples
        endpointer = Endpointer(48_000)
        events = [event for piece in in_pieces(whole, [960]) for event in endpointer.feed(piece)] + endpointer.flush()
        found = utterances(events)
        trimmed = trim(Audio(spoken, RATE))
        assert found, file
        assert trimmed is not None
        assert sum(turn.audio.seconds for turn in found) >= trimmed.seconds - 0.6, file
