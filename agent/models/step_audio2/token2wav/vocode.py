"""The vocoder over a stream: chunks of mel in, samples out that join without a seam.

The last `HELD` frames of a chunk lack what follows them; they are held back, made again with the next chunk, and the
two versions are blended. Two things differ from the reference, whose way `reference_faults` brings back:

- The excitation goes on. The reference starts its phases anew in each chunk and puts the old excitation over the first
  eight frames, so that its phase jumps right behind them; here phases, pitch and noise are carried over.
- The network sees `LEFT` more frames before what it makes again, as far as it can look, and the two halves of the blend
  add up to one (the reference's Hamming halves add up to 1.08).

So away from the ends of chunks a stream gives what the whole mel gives.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.noise import Noise
from sayso.models.step_audio2.token2wav.sizes import MEL_CHANNELS, SAMPLES_PER_FRAME
from sayso.models.step_audio2.token2wav.source import HARMONICS, frame_cycles

HELD = 8
"""Frames held back: 160 ms."""
LEFT = 24
"""Frames of context before those; the network reaches some 20 (its convolutions and the pitch's, added up)."""
PITCH_REACH = 5
"""Frames that the pitch looks to each side."""


@dataclass(frozen=True, slots=True)
class VocoderState:
    """What the vocoder keeps of one session; tensors are never written to.

    Attributes:
        mel: (context, mel).
        pitch: (context or a few less,), the pitch where it is final.
        cycles: (9,) float64, the phases just before the context.
        excitation: The noise (480 context, 9); the reference's way: the old excitation (480 context, 1).
        tail: (480 held,), the version of the held frames that has not seen what follows.
    """

    mel: Tensor
    pitch: Tensor
    cycles: Tensor
    excitation: Tensor
    tail: Tensor


@dataclass(frozen=True, slots=True)
class VocoderWork:
    """One session's next chunk.

    Attributes:
        state: Of the chunk before.
        mel: (frames, mel) float32.
        noise: Where the session draws from.
        last: Nothing follows.
    """

    state: VocoderState
    mel: Tensor
    noise: Noise
    last: bool


def blank_state(device: torch.device, dtype: torch.dtype) -> VocoderState:
    """The state before the first chunk."""
    return VocoderState(
        torch.zeros(0, MEL_CHANNELS, device=device, dtype=dtype),
        torch.zeros(0, device=device, dtype=dtype),
        torch.zeros(HARMONICS, device=device, dtype=torch.float64),
        torch.zeros(0, 0, device=device, dtype=dtype),
        torch.zeros(0, device=device, dtype=dtype),
    )


@torch.inference_mode()
def vocode(vocoder: Vocoder, mel: Tensor, noise: Tensor) -> Tensor:
    """A whole mel at once.

    Args:
        vocoder: The network.
        mel: (batch, frames, mel).
        noise: (batch, 480 frames, 9).

    Returns:
        (batch, 480 frames).
    """
    channels_first = mel.transpose(1, 2)
    return vocoder(channels_first, vocoder.m_source(vocoder.f0_predictor(channels_first), noise))


@torch.inference_mode()
def vocode_chunks(
    vocoder: Vocoder, works: Sequence[VocoderWork], *, reference_faults: bool = False
) -> list[tuple[Tensor, VocoderState]]:
    """Continue sessions, those of equal lengths together.

    Returns:
        The next samples (n,) of each session and its next state.
    """
    groups: dict[tuple[int, int, int], list[int]] = {}
    for place, work in enumerate(works):
        groups.setdefault((len(work.state.mel), len(work.state.pitch), len(work.mel)), []).append(place)
    results: dict[int, tuple[Tensor, VocoderState]] = {}
    for places in groups.values():
        group = [works[place] for place in places]
        made = _reference_group(vocoder, group) if reference_faults else _group(vocoder, group)
        results.update(zip(places, made, strict=True))
    return [results[place] for place in range(len(works))]


def _group(vocoder: Vocoder, works: Sequence[VocoderWork]) -> list[tuple[Tensor, VocoderState]]:
    mel = torch.stack([torch.cat([w.state.mel, w.mel.to(w.state.mel.dtype)]) for w in works])
    frames = mel.shape[1]
    fresh = [w.noise.samples(len(w.mel) * SAMPLES_PER_FRAME).to(mel) for w in works]
    noise = torch.stack(
        [
            torch.cat([w.state.excitation, f]) if len(w.state.excitation) else f
            for w, f in zip(works, fresh, strict=True)
        ]
    )
    known = torch.stack([w.state.pitch for w in works])
    pitch = torch.cat([known, vocoder.f0_predictor(mel.transpose(1, 2))[:, known.shape[1] :]], dim=1)
    start = torch.stack([w.state.cycles for w in works])
    wave = vocoder(mel.transpose(1, 2), vocoder.m_source(pitch, noise, start))
    cycles = frame_cycles(pitch, start).remainder(1.0)
    dropped = max(0, frames - HELD - LEFT)
    final = max(dropped, frames - PITCH_REACH)
    results: list[tuple[Tensor, VocoderState]] = []
    for row, work in enumerate(works):
        begin = len(work.state.mel) * SAMPLES_PER_FRAME - len(work.state.tail)
        samples, tail = _joined(wave[row, begin:], work.state.tail, last=work.last, window=_even_window)
        state = VocoderState(
            mel[row, dropped:].clone(),
            pitch[row, dropped:final].clone(),
            cycles[row, dropped - 1].clone() if dropped else work.state.cycles,
            noise[row, dropped * SAMPLES_PER_FRAME :].clone(),
            tail,
        )
        results.append((samples, state))
    return results


def _reference_group(vocoder: Vocoder, works: Sequence[VocoderWork]) -> list[tuple[Tensor, VocoderState]]:
    mel = torch.stack([torch.cat([w.state.mel, w.mel.to(w.state.mel.dtype)]) for w in works])
    noise = torch.stack([w.noise.samples(mel.shape[1] * SAMPLES_PER_FRAME) for w in works]).to(mel)
    source = vocoder.m_source(vocoder.f0_predictor(mel.transpose(1, 2)), noise)
    for row, work in enumerate(works):
        if len(work.state.excitation):
            source[row, 0, : len(work.state.excitation)] = work.state.excitation[:, 0]
    wave = vocoder(mel.transpose(1, 2), source)
    results: list[tuple[Tensor, VocoderState]] = []
    for row, work in enumerate(works):
        samples, tail = _joined(wave[row], work.state.tail, last=work.last, window=_hamming_window)
        kept = min(HELD, mel.shape[1])
        excitation = source[row, 0, -kept * SAMPLES_PER_FRAME :, None].clone()
        state = VocoderState(mel[row, -kept:].clone(), work.state.pitch, work.state.cycles, excitation, tail)
        results.append((samples, state))
    return results


def _joined(
    wave: Tensor, tail: Tensor, *, last: bool, window: Callable[[int], tuple[Tensor, Tensor]]
) -> tuple[Tensor, Tensor]:
    """Blend the start of a wave with the tail before it; returns what is due now, and the next tail."""
    if len(tail):
        rising, falling = window(len(tail))
        blended = wave[: len(tail)] * rising.to(wave) + tail * falling.to(wave)
        wave = torch.cat([blended, wave[len(tail) :]])
    if last:
        return wave, wave[:0]
    due = max(0, len(wave) - HELD * SAMPLES_PER_FRAME)
    return wave[:due], wave[due:].clone()


def _even_window(samples: int) -> tuple[Tensor, Tensor]:
    rising = torch.sin((torch.arange(samples, dtype=torch.float64) + 0.5) * (torch.pi / 2 / samples)).square()
    return rising, 1 - rising


def _hamming_window(samples: int) -> tuple[Tensor, Tensor]:
    whole = torch.as_tensor(np.hamming(2 * samples))
    return whole[:samples], whole[samples:]
