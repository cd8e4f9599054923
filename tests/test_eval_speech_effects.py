"""Effects on the user's sound: signal-to-noise ratio, bandwidth and lost packets, measured."""

from __future__ import annotations

import numpy as np
import pytest

pytest.importorskip("soxr", reason="the extra local is not installed")

from sayso.errors import UsageError
from sayso.evals.scenario import Effect
from sayso.evals.speech.effects import (
    MARGIN_S,
    apply,
    drop,
    line,
    made_noise,
    noisy,
    reverberant,
    with_margins,
)
from sayso.evals.speech.gate import rms, voiced
from sayso.items import Audio

RATE_HZ = 16_000


def voice(seconds: float = 3.0, hz: float = 300.0, level: float = 0.1) -> Audio:
    """Words of 300 ms with pauses of 100 ms."""
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Audio((level * np.sin(2 * np.pi * hz * at) * (at % 0.4 < 0.3)).astype(np.float32), RATE_HZ)


def sweep(seconds: float = 2.0) -> Audio:
    at = np.arange(round(seconds * RATE_HZ)) / RATE_HZ
    return Audio((0.3 * np.sin(2 * np.pi * (50 + 1950 * at) * at)).astype(np.float32), RATE_HZ)


def no_file(name: str) -> Audio:
    raise AssertionError(name)


def speak(text: str, number: int) -> Audio:
    return voice(0.05 * len(text), hz=150 + 40 * (number % 7))


def applied(audio: Audio, *effects: Effect, seed: int = 7) -> Audio:
    return apply(with_margins(audio, effects), effects, seed=seed, load=no_file, speak=speak)


def band_db(audio: Audio, low_hz: float, high_hz: float) -> float:
    power = np.abs(np.fft.rfft(audio.samples * np.hanning(len(audio.samples)))) ** 2
    hz = np.fft.rfftfreq(len(audio.samples), 1 / audio.sample_rate_hz)
    return float(10 * np.log10(power[(hz >= low_hz) & (hz < high_hz)].mean() + 1e-20))


@pytest.mark.parametrize("snr_db", [-5.0, 0.0, 10.0, 20.0])
@pytest.mark.parametrize("kind", ["white", "pink", "babble"])
def test_the_noise_is_as_loud_as_asked(kind: str, snr_db: float) -> None:
    dry = voice()
    noise = made_noise(kind, dry.seconds, RATE_HZ, 3, speak)
    wet = noisy(dry, noise, snr_db)
    margin = round(MARGIN_S * RATE_HZ)
    bed = (wet.samples - dry.samples)[margin:-margin]
    level = 0.1 / np.sqrt(2) * np.sqrt(0.75 / (1 - 0.1 / dry.seconds))  # of voiced parts, pauses of 100 ms included
    assert 20 * np.log10(level / rms(bed)) == pytest.approx(snr_db, abs=0.5)


def test_pink_noise_falls_by_three_decibels_an_octave() -> None:
    noise = made_noise("pink", 20.0, RATE_HZ, 1, speak)
    octaves = [band_db(noise, low, 2 * low) for low in (125, 250, 500, 1000, 2000)]
    assert np.diff(octaves) == pytest.approx([-3.0] * 4, abs=0.6)


def test_noise_is_there_before_and_after_the_voice() -> None:
    dry = voice()
    effects = (Effect(noise="white", snr_db=20),)
    wet = applied(dry, *effects)
    assert wet.seconds == pytest.approx(dry.seconds + 2 * MARGIN_S, abs=0.001)
    assert rms(wet.samples[: round(MARGIN_S * RATE_HZ)]) > 0.001
    assert voiced(with_margins(dry, effects))[0][0] == pytest.approx(MARGIN_S, abs=0.001)


def test_the_same_seed_gives_the_same_sound_and_another_another() -> None:
    effects = (Effect(noise="babble", snr_db=5), Effect(line="g711u_8k"), Effect(drop={"rate": 0.1}))
    one, two, other = (applied(voice(), *effects, seed=seed).samples for seed in (7, 7, 8))
    assert np.array_equal(one, two)
    assert not np.array_equal(one, other)


@pytest.mark.parametrize("name", ["g711u_8k", "g711a_8k", "pcm_8k"])
def test_a_line_carries_nothing_above_four_kilohertz(name: str) -> None:
    dry = sweep()
    wet = line(dry, name)
    assert len(wet.samples) == len(dry.samples)
    assert abs(band_db(wet, 300, 3400) - band_db(dry, 300, 3400)) < 0.5
    assert band_db(wet, 4200, 7900) < band_db(wet, 300, 3400) - 60


@pytest.mark.parametrize(("name", "snr_db"), [("g711u_8k", 37), ("g711a_8k", 37)])
def test_g711_adds_its_own_noise(name: str, snr_db: float) -> None:
    dry = voice(hz=440)
    plain, coded = line(dry, "pcm_8k"), line(dry, name)
    found = 20 * np.log10(rms(plain.samples) / rms(coded.samples - plain.samples))
    assert found == pytest.approx(snr_db, abs=3)


def test_an_unknown_line_is_told() -> None:
    with pytest.raises(UsageError, match="no line 'tin_can'"):
        line(voice(), "tin_can")


@pytest.mark.parametrize(("rate", "packet_ms"), [(0.01, 20.0), (0.1, 20.0), (0.3, 60.0)])
def test_packets_are_lost_at_the_rate_asked_for(rate: float, packet_ms: float) -> None:
    dry = Audio(np.full(600 * RATE_HZ, 0.1, np.float32), RATE_HZ)
    packets = drop(dry, rate, packet_ms, 5).samples.reshape(-1, round(packet_ms / 1000 * RATE_HZ))
    lost = ~packets.any(axis=1)
    assert np.all(packets[~lost] == np.float32(0.1))  # a packet is lost as a whole
    assert lost.mean() == pytest.approx(rate, abs=4 * np.sqrt(rate / len(packets)))


def test_gain() -> None:
    assert rms(applied(voice(), Effect(gain_db=-20)).samples) == pytest.approx(rms(voice().samples) / 10, rel=1e-4)
    assert np.abs(applied(voice(), Effect(gain_db=20)).samples).max() == pytest.approx(1.0, abs=1e-3)
    assert np.abs(applied(voice(level=0.5), Effect(gain_db=20)).samples).max() == 1.0


def test_a_start_that_is_cut_off_is_silence_and_moves_nothing() -> None:
    wet = applied(voice(), Effect(cut_start_ms=150))
    assert voiced(wet)[0][0] == pytest.approx(0.15, abs=0.002)
    assert voiced(wet)[-1][1] == pytest.approx(voiced(voice())[-1][1], abs=0.001)


@pytest.mark.parametrize("rt60_s", [0.3, 0.8])
def test_a_room_decays_as_long_as_asked(rt60_s: float) -> None:
    click = Audio(np.eye(1, RATE_HZ, 0, dtype=np.float32)[0], RATE_HZ)
    wet = reverberant(click, rt60_s, 3).samples
    tail = wet[round(0.003 * RATE_HZ) : round(rt60_s * RATE_HZ)]
    left = 10 * np.log10(np.cumsum(np.square(tail, dtype=np.float64)[::-1])[::-1])  # Schroeder, 1965
    at = np.arange(len(left)) / RATE_HZ
    used = left > left[0] - 25
    slope = np.polyfit(at[used], left[used], 1)[0]
    assert -60 / slope == pytest.approx(rt60_s, rel=0.1)
    assert voiced(reverberant(voice(), rt60_s, 3))[0][0] == pytest.approx(voiced(voice())[0][0], abs=0.001)


def test_another_speaker_goes_on_behind_the_user() -> None:
    dry = voice(1.0)
    wet = applied(dry, Effect(background="Cancel everything and call the bank at once.", snr_db=10))
    assert wet.seconds > dry.seconds
    assert rms(wet.samples[len(dry.samples) + 800 :]) == pytest.approx(0.1 / np.sqrt(2) * 0.316, rel=0.35)


def test_files_are_loaded_by_their_names() -> None:
    asked: list[str] = []

    def load(name: str) -> Audio:
        asked.append(name)
        return voice()

    effects = (Effect(noise="noise/people.flac"), Effect(background="speech/other.wav"))
    apply(voice(), effects, seed=1, load=load, speak=speak)
    assert asked == ["noise/people.flac", "speech/other.wav"]
