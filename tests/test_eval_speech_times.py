"""What is measured on recordings, by made sounds whose answers are known to the millisecond."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

pytest.importorskip("soundfile", reason="the extra local is not installed")


import soundfile

from sayso.evals.speech.gate import GATE, active_level, voiced
from sayso.evals.speech.recorder import RATE_HZ, Piece, Player, track, write_recording
from sayso.evals.speech.ttfa import overlap_s, turn_times, yield_s
from sayso.events import AudioDelta, Interrupted, TurnStarted
from sayso.items import Audio

MS = 0.001


def tone(seconds: float, rate_hz: int = RATE_HZ, level: float = 0.2, hz: float = 300.0) -> Audio:
    at = np.arange(round(seconds * rate_hz)) / rate_hz
    return Audio((level * np.sin(2 * np.pi * hz * at)).astype(np.float32), rate_hz)


def padded(before_s: float, sound: Audio, after_s: float) -> Audio:
    rate_hz = sound.sample_rate_hz
    parts = [np.zeros(round(before_s * rate_hz)), sound.samples, np.zeros(round(after_s * rate_hz))]
    return Audio(np.concatenate(parts).astype(np.float32), rate_hz)


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 24_000, 48_000])
@pytest.mark.parametrize("start_s", [0.0, 0.1234, 1.5])
def test_the_gate_is_exact_to_the_millisecond(rate_hz: int, start_s: float) -> None:
    ((first, last),) = voiced(padded(start_s, tone(0.5, rate_hz), 0.7))
    assert first == pytest.approx(start_s, abs=MS)
    assert last == pytest.approx(start_s + 0.5, abs=MS)


def test_silence_clicks_and_hiss_are_not_voiced() -> None:
    assert voiced(Audio(np.zeros(0, np.float32), RATE_HZ)) == []
    assert voiced(Audio(np.zeros(RATE_HZ, np.float32), RATE_HZ)) == []
    assert voiced(padded(0.5, tone(0.02), 0.5)) == []
    hiss = np.random.default_rng(1).normal(0, 0.0003, RATE_HZ).astype(np.float32)
    assert voiced(Audio(hiss, RATE_HZ)) == []


def test_a_click_before_the_voice_moves_nothing() -> None:
    sound = padded(1.0, tone(0.5), 0.5)
    sound.samples[round(0.9 * RATE_HZ)] = 0.9
    assert voiced(sound)[0][0] == pytest.approx(1.0, abs=MS)


def test_noise_under_the_voice_moves_its_ends_little() -> None:
    sound = padded(1.0, tone(0.5), 1.0)
    noise = np.random.default_rng(2).normal(0, 0.01, len(sound.samples)).astype(np.float32)
    ((first, last),) = voiced(Audio(sound.samples + noise, RATE_HZ))
    assert (first, last) == pytest.approx((1.0, 1.5), abs=10 * MS)


def test_short_pauses_join_and_long_ones_divide() -> None:
    two = np.concatenate([tone(0.3).samples, np.zeros(round(0.15 * RATE_HZ), np.float32), tone(0.3).samples])
    assert len(voiced(Audio(two, RATE_HZ))) == 1
    two = np.concatenate([tone(0.3).samples, np.zeros(round(0.25 * RATE_HZ), np.float32), tone(0.3).samples])
    assert len(voiced(Audio(two, RATE_HZ))) == 2


def test_the_active_level_leaves_silence_out() -> None:
    assert active_level(padded(3.0, tone(0.5), 3.0)) == pytest.approx(0.2 / np.sqrt(2), rel=0.01)
    assert active_level(Audio(np.zeros(100, np.float32), RATE_HZ)) == 0.0


def test_ttfa_is_from_voice_to_voice() -> None:
    times = turn_times([(1.0, 2.0), (2.5, 3.25)], [(4.1, 5.0), (5.5, 6.0)])
    assert times.ttfa_s == pytest.approx(0.85)
    assert (times.user, times.agent, times.overlap_s) == ((1.0, 3.25), (4.1, 6.0), 0.0)


def test_an_agent_that_does_not_wait_has_a_negative_ttfa() -> None:
    times = turn_times([(1.0, 3.0)], [(2.5, 4.0)])
    assert (times.ttfa_s, times.overlap_s) == (pytest.approx(-0.5), pytest.approx(0.5))


def test_the_end_of_the_reply_before_is_no_answer() -> None:
    times = turn_times([(5.0, 6.0)], [(3.0, 5.4), (6.7, 8.0)])
    assert (times.ttfa_s, times.overlap_s) == (pytest.approx(0.7), pytest.approx(0.4))
    assert turn_times([(5.0, 6.0)], []).ttfa_s is None
    assert turn_times([], [(1.0, 2.0)]).ttfa_s is None


def test_a_yield_is_to_the_last_sample_of_the_reply() -> None:
    assert yield_s([(2.0, 3.0)], [(0.0, 1.0), (1.5, 2.32)]) == pytest.approx(0.32)
    assert yield_s([(2.0, 3.0)], [(0.0, 2.2), (2.6, 9.0)]) == pytest.approx(7.0)  # a breath is no yield
    assert yield_s([(2.0, 3.0)], [(0.0, 1.9)]) == 0.0
    assert yield_s([], [(0.0, 1.0)]) is None
    assert yield_s([(0.0, 1.0)], []) is None


def test_overlap() -> None:
    assert overlap_s([(0, 2), (3, 4)], [(1, 3.5)]) == pytest.approx(1.5)


class Clock:
    now_s = 0.0

    def __call__(self) -> float:
        return self.now_s


def test_play_out_is_one_piece_behind_the_other() -> None:
    clock = Clock()
    player = Player(clock)
    clock.now_s = 2.0
    player.take(TurnStarted(turn=1))
    player.take(AudioDelta(turn=1, audio=tone(0.5), filler=True))
    player.take(AudioDelta(turn=1, audio=tone(1.0)))
    clock.now_s = 10.0
    player.take(AudioDelta(turn=1, audio=tone(0.25)))
    assert [(piece.start_s, piece.end_s, piece.filler) for piece in player.pieces] == [
        (2.0, 2.5, True),
        (2.5, 3.5, False),
        (10.0, 10.25, False),
    ]
    assert player.is_playing
    clock.now_s = 10.125
    assert player.played_ms() == 1625
    assert (player.began_s(0.0), player.began_s(3.0), player.began_s(10.1)) == (2.0, 10.0, None)


def test_an_interruption_stops_the_sound_at_once() -> None:
    clock = Clock()
    player = Player(clock)
    player.take(AudioDelta(turn=1, audio=tone(1.0)))
    player.take(AudioDelta(turn=1, audio=tone(1.0)))
    clock.now_s = 0.75
    player.take(Interrupted(turn=1, generation=1, played_ms=750))
    player.take(AudioDelta(turn=1, generation=0, audio=tone(1.0)))  # late, of the reply that was cut off
    assert (player.ends_s, player.is_playing, player.played_ms()) == (0.75, False, 750)
    player.take(TurnStarted(turn=2, generation=1))
    assert player.played_ms() is None
    clock.now_s = 1.5
    player.take(AudioDelta(turn=2, generation=1, audio=tone(1.0)))
    heard = voiced(track(player.pieces, 0.0, 3.0))
    assert heard == [(pytest.approx(0.0, abs=MS), pytest.approx(0.75, abs=MS)), pytest.approx((1.5, 2.5), abs=MS)]


@pytest.mark.parametrize("rate_hz", [8_000, 16_000, 22_050, 24_000])
def test_a_track_keeps_times_at_every_rate(rate_hz: int) -> None:
    pieces = [Piece(0.5, tone(0.3, rate_hz)), Piece(0.8, tone(0.2, rate_hz)), Piece(2.0, tone(0.5, rate_hz))]
    one, two = voiced(track(pieces, 0.0, 3.0))
    assert (*one, *two) == pytest.approx((0.5, 1.0, 2.0, 2.5), abs=2 * MS)
    (only,) = voiced(track(pieces, 0.9, 1.9))
    assert only == pytest.approx((0.0, 0.1), abs=2 * MS)


def test_the_recording_has_the_user_left_and_the_agent_right(tmp_path: Path) -> None:
    user, agent = padded(0.5, tone(1.0), 0.0), padded(2.0, tone(1.0, hz=500), 0.5)
    path = write_recording(tmp_path / "audio" / "unit.flac", user, agent)
    samples, rate_hz = soundfile.read(path, dtype="float32")
    assert (samples.shape, rate_hz) == ((round(3.5 * RATE_HZ), 2), RATE_HZ)
    left, right = (voiced(Audio(samples[:, channel], rate_hz), GATE) for channel in (0, 1))
    assert turn_times(left, right).ttfa_s == pytest.approx(0.5, abs=MS)
    assert list((tmp_path / "audio").iterdir()) == [path]
