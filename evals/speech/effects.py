"""What happens to a user's sound on its way: noise, other speakers, bad lines. Deterministic by seed.

Effects are applied in the order in which a scenario names them. None of them moves the voice in time: what is measured
on the sound before is right for the sound after.
"""

from __future__ import annotations

import hashlib
import random
from collections.abc import Callable, Sequence
from typing import Final, TypeAlias

import numpy as np

from sayso.errors import UsageError
from sayso.evals.scenario import Effect
from sayso.evals.speech.gate import active_level, rms, voiced
from sayso.items import Audio, Samples
from sayso.speech import g711
from sayso.speech.audio import concatenate, from_pcm16, resample, to_pcm16

MADE_NOISES: Final = ("white", "pink", "babble")
LINES: Final = {"g711u_8k": "pcmu", "g711a_8k": "pcma", "pcm_8k": ""}
"""Telephone lines: the law of G.711; none: 8 kHz alone."""
PACKET_MS: Final = 20.0
SNR_DB: Final = 15.0
"""Of noise, where a scenario does not say."""
BACKGROUND_SNR_DB: Final = 10.0
BABBLE_VOICES: Final = 6
MARGIN_S: Final = 0.3
"""Noise is heard so long before and after the voice, fading in and out: it was there all the time."""
_BABBLE: Final = (
    "The train to the coast leaves from platform four, and I have not even bought the ticket yet.",
    "Could you put the blue boxes beside the door? They will be picked up around noon.",
    "My sister grows tomatoes on her balcony, and this year there are far too many of them.",
    "We walked along the river until it began to rain, then we looked for somewhere warm.",
    "He said the kitchen would be painted in spring, but nobody has chosen a colour so far.",
    "There is a small bakery behind the school where they sell bread with walnuts on Fridays.",
)

Speak: TypeAlias = Callable[[str, int], Audio]
"""Renders words by the voice of a number."""
Load: TypeAlias = Callable[[str], Audio]
"""Loads a sound file that a scenario names."""


def apply(audio: Audio, effects: Sequence[Effect], *, seed: int, load: Load, speak: Speak) -> Audio:
    """``audio`` with every effect, at its own rate.

    Args:
        audio: The voice alone, `with_margins`.
        effects: In order.
        seed: Of all chance.
        load: For noise and background that are files.
        speak: For babble, and background that is words.

    Raises:
        UsageError: No such line.
        AudioError: A sound file cannot be read.
    """
    for number, effect in enumerate(effects):
        audio = _apply(audio, effect, _seed(seed, number), load, speak)
    return audio


def with_margins(audio: Audio, effects: Sequence[Effect]) -> Audio:
    """``audio`` with silence round it, where an effect is heard before and after the voice."""
    if all(effect.noise is None for effect in effects):
        return audio
    margin = Audio(np.zeros(round(MARGIN_S * audio.sample_rate_hz), np.float32), audio.sample_rate_hz)
    return concatenate([margin, audio, margin])


def noisy(voice: Audio, noise: Audio, snr_db: float, *, at: int = 0) -> Audio:
    """A voice in noise.

    Args:
        voice: Its level is that of its voiced parts.
        noise: Repeated as often as it takes; its level is the root mean square of the part that is used.
        snr_db: The first level over the second.
        at: The sample of the noise to begin with.

    Returns:
        As long as the voice; softer as a whole where the sum would clip.
    """
    bed = np.resize(np.roll(resample(noise, voice.sample_rate_hz).samples, -at), len(voice.samples))
    level, bed_level = active_level(voice), rms(bed)
    if not level or not bed_level:
        return voice
    bed = _faded(bed * np.float32(level / bed_level * 10 ** (-snr_db / 20)), voice.sample_rate_hz)
    return _unclipped(Audio(voice.samples + bed, voice.sample_rate_hz))


def made_noise(kind: str, seconds: float, rate_hz: int, seed: int, speak: Speak) -> Audio:
    """Noise of the kinds of `MADE_NOISES`.

    Pink noise is white noise whose spectrum falls by 3 dB an octave from 20 Hz on; babble is `BABBLE_VOICES` voices
    that speak at the same time.
    """
    count = round(seconds * rate_hz)
    chance = np.random.default_rng(seed)
    if kind == "babble":
        voices = [speak(text, number) for number, text in enumerate(_BABBLE[:BABBLE_VOICES])]
        sounds = [resample(voice, rate_hz).samples for voice in voices]
        turned = [np.resize(np.roll(sound, int(chance.integers(len(sound)))), count) for sound in sounds]
        return _levelled(np.sum(turned, axis=0), rate_hz)
    white = chance.standard_normal(count)
    if kind == "white":
        return _levelled(white, rate_hz)
    spectrum = np.fft.rfft(white)
    hz = np.fft.rfftfreq(count, 1 / rate_hz)
    return _levelled(np.fft.irfft(spectrum / np.sqrt(np.maximum(hz, 20.0)), count), rate_hz)


def line(audio: Audio, name: str) -> Audio:
    """Through a telephone line: nothing above 4 kHz, 8 bits a sample, then back at the sound's own rate.

    Raises:
        UsageError: There is no such line.
    """
    if name not in LINES:
        raise UsageError(f"There is no line {name!r}.", f"Lines are: {', '.join(LINES)}.")
    narrow = resample(audio, g711.RATE_HZ)
    law = LINES[name]
    if law == "pcmu" or law == "pcma":
        samples = np.frombuffer(to_pcm16(narrow), "<i2")
        narrow = from_pcm16(g711.decode(g711.encode(samples, law), law).astype("<i2").tobytes(), g711.RATE_HZ)
    return _as_long(resample(narrow, audio.sample_rate_hz), len(audio.samples))


def drop(audio: Audio, rate: float, packet_ms: float, seed: int) -> Audio:
    """Each packet is lost with the probability ``rate``; in its place is silence."""
    size = max(1, round(packet_ms / 1000 * audio.sample_rate_hz))
    chance = random.Random(seed)
    samples = audio.samples.copy()
    for start in range(0, len(samples), size):
        if chance.random() < rate:
            samples[start : start + size] = 0
    return Audio(samples, audio.sample_rate_hz)


def cut_start(audio: Audio, milliseconds: float) -> Audio:
    """Silent up to so much behind its first voiced sample: the line opened late."""
    stretches = voiced(audio)
    begins_s = stretches[0][0] if stretches else 0.0
    samples = audio.samples.copy()
    samples[: round((begins_s + milliseconds / 1000) * audio.sample_rate_hz)] = 0
    return Audio(samples, audio.sample_rate_hz)


def reverberant(audio: Audio, rt60_s: float, seed: int) -> Audio:
    """In a room: noise that decays by 60 dB in ``rt60_s``, 6 dB below the voice that comes directly.

    As in the simplest model of a diffuse room (Moorer, 1979: exponentially decaying white noise).
    """
    rate_hz = audio.sample_rate_hz
    at = np.arange(max(1, round(rt60_s * rate_hz))) / rate_hz
    tail = np.random.default_rng(seed).standard_normal(len(at)) * 10 ** (-3 * at / rt60_s)
    tail[: round(0.003 * rate_hz)] = 0  # the nearest wall is half a metre away
    energy = float(np.sum(np.square(tail)))
    if not energy:
        return audio
    response = tail * np.sqrt(10 ** (-6 / 10) / energy)
    response[0] = 1.0
    count = len(audio.samples) + len(response) - 1
    size = 1 << (count - 1).bit_length()
    wet = np.fft.irfft(np.fft.rfft(audio.samples, size) * np.fft.rfft(response, size), size)[:count]
    return _unclipped(Audio(wet.astype(np.float32), rate_hz))


def _apply(audio: Audio, effect: Effect, seed: int, load: Load, speak: Speak) -> Audio:
    rate_hz = audio.sample_rate_hz
    if effect.noise is not None:
        made = effect.noise in MADE_NOISES
        noise = made_noise(effect.noise, audio.seconds, rate_hz, seed, speak) if made else load(effect.noise)
        at = 0 if made else random.Random(seed).randrange(max(1, round(noise.seconds * rate_hz)))
        return noisy(audio, noise, SNR_DB if effect.snr_db is None else effect.snr_db, at=at)
    if effect.background is not None:
        is_file = "." in effect.background.split("/")[-1] and " " not in effect.background
        other = load(effect.background) if is_file else speak(effect.background, seed)
        return _behind(audio, other, BACKGROUND_SNR_DB if effect.snr_db is None else effect.snr_db)
    if effect.line is not None:
        return line(audio, effect.line)
    if effect.drop is not None:
        return drop(audio, effect.drop.get("rate", 0.0), effect.drop.get("ms", PACKET_MS), seed)
    if effect.cut_start_ms is not None:
        return cut_start(audio, effect.cut_start_ms)
    if effect.gain_db is not None:
        gained = audio.samples * np.float32(10 ** (effect.gain_db / 20))
        return Audio(np.clip(gained, -1, 1), rate_hz)
    if effect.reverb_s is not None:
        return reverberant(audio, effect.reverb_s, seed)
    return audio


def _behind(audio: Audio, other: Audio, snr_db: float) -> Audio:
    """Another speaker, from the beginning on, once: as long as one of the two speaks."""
    other = resample(other, audio.sample_rate_hz)
    level, other_level = active_level(audio), active_level(other)
    if not level or not other_level:
        return audio
    count = max(len(audio.samples), len(other.samples))
    both = np.zeros(count, np.float32)
    both[: len(audio.samples)] = audio.samples
    both[: len(other.samples)] += other.samples * np.float32(level / other_level * 10 ** (-snr_db / 20))
    return _unclipped(Audio(both, audio.sample_rate_hz))


def _faded(samples: Samples, rate_hz: int) -> Samples:
    count = min(round(MARGIN_S * rate_hz), len(samples) // 4)
    if count:
        ramp = np.linspace(0, 1, count, dtype=np.float32)
        samples = samples.copy()
        samples[:count] *= ramp
        samples[-count:] *= ramp[::-1]
    return samples


def _levelled(samples: np.ndarray, rate_hz: int) -> Audio:
    level = rms(samples)
    return Audio((samples * (0.1 / level if level else 1.0)).astype(np.float32), rate_hz)


def _unclipped(audio: Audio) -> Audio:
    peak = float(np.abs(audio.samples).max(initial=0.0))
    return audio if peak <= 1 else Audio(audio.samples / np.float32(peak), audio.sample_rate_hz)


def _as_long(audio: Audio, count: int) -> Audio:
    samples = np.zeros(count, np.float32)
    kept = audio.samples[:count]
    samples[: len(kept)] = kept
    return Audio(samples, audio.sample_rate_hz)


def _seed(seed: int, number: int) -> int:
    return int.from_bytes(hashlib.sha256(f"{seed}/{number}".encode()).digest()[:8])
