"""From sound to the encoder's input: pieces of at most 25 s, and the log-mel spectrogram of each.

The recipe is that of the reference's ``utils.py``: Whisper's log-mel with 128 bins, except that a piece is padded with
479 zeros instead of up to 30 s. It looks at the loudest frame of the whole piece, so it cannot be made piecemeal.
"""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any, Final

import numpy as np
import torch
from numpy.typing import NDArray

from sayso.errors import AudioError
from sayso.models.step_audio2.arithmetic import as_written

SAMPLE_RATE_HZ: Final = 16_000
PIECE_SECONDS: Final = 25.0
HOP: Final = 160
_FFT: Final = 400
_PADDING: Final = 479
_HIGHEST_HZ: Final = 8000.0
_SHORTEST: Final = 321  # samples; anything shorter gives no embedding at all
_PAUSE_SEARCH_S: Final = 5.0
_PAUSE_S: Final = 0.2
_PAUSE_POWER: Final = 0.01  # of the mean power of what was searched: 20 dB below it


def to_mono16k(samples: NDArray[Any]) -> NDArray[np.float32]:
    """Samples as the functions here take them.

    Args:
        samples: Shape (n,), at 16 kHz (resampling is up to the caller): int16 over its full range, or floats in
            [-1, 1].

    Returns:
        The same as float32.

    Raises:
        AudioError: Another shape or type of array, or samples that are not finite.
    """
    if samples.ndim != 1:
        raise AudioError(f"Samples have the shape {samples.shape}.", "Pass one channel, of shape (n,).")
    if samples.dtype == np.int16:
        return samples.astype(np.float32) / np.float32(32768)
    if samples.dtype.kind != "f":
        raise AudioError(f"Samples are of type {samples.dtype}.", "Pass int16, or floats in [-1, 1].")
    converted = samples.astype(np.float32, copy=False)
    if not np.isfinite(converted).all():
        raise AudioError("Samples are not finite.", "Repair the recording: it holds NaN or infinity.")
    return converted


def frame_count(samples: int) -> int:
    """Log-mel frames of a piece with ``samples`` samples: 302 for 3 s, 2502 for 25 s."""
    return (samples + _PADDING) // HOP


def embedding_count(frames: int) -> int:
    """Embeddings that a piece of ``frames`` frames becomes, one for 80 ms: 38 for 302, 313 for 2502.

    The reference's ``compute_token_num``: two frames are taken off, then come a convolution of stride 2, a pooling by 2
    and another convolution of stride 2.
    """
    pooled = (frames - 2 + 1) // 2 // 2
    return max(0, (pooled - 1) // 2 + 1)


def next_cut(samples: NDArray[np.float32], *, limit_s: float = PIECE_SECONDS, at_pauses: bool = True) -> int | None:
    """Where the first piece of ``samples`` ends, or None where more of them may still belong to it.

    It depends on nothing behind the limit, so sound that is still coming in is cut where the whole would be.

    Args:
        samples: Shape (n,), 16 kHz.
        limit_s: Longest piece in seconds; the model is trained with 25, and holds 30.
        at_pauses: Cut in the middle of the quietest 200 ms of the last 5 s (or fifth) of the piece if they are
            20 dB below the rest; else, and where no such pause is there, at the limit, as the reference does.
    """
    limit = round(limit_s * SAMPLE_RATE_HZ)
    if len(samples) <= limit:
        return None
    if not at_pauses:
        return limit
    searched = min(round(_PAUSE_SEARCH_S * SAMPLE_RATE_HZ), limit // 5)
    window = min(round(_PAUSE_S * SAMPLE_RATE_HZ), searched)
    power = np.square(samples[limit - searched : limit], dtype=np.float64)
    sums = np.concatenate(([0.0], np.cumsum(power)))
    means = (sums[window:] - sums[:-window]) / window
    quietest = len(means) - 1 - int(np.argmin(means[::-1]))  # the last of equals: fewer pieces
    if means[quietest] > _PAUSE_POWER * power.mean():
        return limit
    return limit - searched + quietest + window // 2


def pieces(
    samples: NDArray[np.float32], *, limit_s: float = PIECE_SECONDS, at_pauses: bool = True
) -> Iterator[NDArray[np.float32]]:
    """Cut sound into the pieces that the encoder takes one by one (see `next_cut`).

    A rest too short for a single embedding (20 ms) is dropped.
    """
    while (cut := next_cut(samples, limit_s=limit_s, at_pauses=at_pauses)) is not None:
        yield samples[:cut]
        samples = samples[cut:]
    if len(samples) >= _SHORTEST:
        yield samples


def log_mel(samples: NDArray[np.float32] | torch.Tensor, *, mel_bins: int = 128) -> torch.Tensor:
    """The log-mel spectrogram of one piece.

    Args:
        samples: Shape (n,), float32 in [-1, 1] at 16 kHz. A tensor is worked on where it is.
        mel_bins: Height.

    Returns:
        Shape (mel_bins, `frame_count(n)`), float32: log10 of the power in each band, floored at 8 below the
        loudest, and scaled by (x + 4) / 4.

    Raises:
        AudioError: There are too few samples for a single embedding.
    """
    if len(samples) < _SHORTEST:
        raise AudioError(f"A piece of {len(samples)} samples is too short to be heard.", "Pass 20 ms at least.")
    wave = torch.as_tensor(samples, dtype=torch.float32)
    wave = torch.nn.functional.pad(wave, (0, _PADDING))
    window = torch.hann_window(_FFT, device=wave.device)
    with as_written(wave.device):
        spectrum = torch.stft(wave, _FFT, HOP, window=window, center=True, pad_mode="reflect", return_complex=True)
        power = spectrum[:, :-1].abs().square()  # the last frame goes, as in Whisper
        mel = torch.as_tensor(mel_filters(mel_bins), device=wave.device) @ power
    log = mel.clamp(min=1e-10).log10()
    return (torch.maximum(log, log.max() - 8.0) + 4.0) / 4.0


@lru_cache(maxsize=4)
def mel_filters(bins: int, *, rate_hz: int = SAMPLE_RATE_HZ, fft: int = _FFT) -> NDArray[np.float32]:
    """Slaney's triangular mel filters from 0 to 8000 Hz, each of unit area.

    Source: Slaney, Auditory Toolbox, 1998: linear to 1 kHz (200/3 Hz a mel), then logarithmic (27 mels for a factor
    of 6.4).

    Args:
        bins: How many.
        rate_hz: Of the sound.
        fft: Length of its transform.

    Returns:
        Shape (bins, fft // 2 + 1), float32.
    """
    frequencies = np.linspace(0, rate_hz / 2, fft // 2 + 1)
    edges = _mel_to_hz(np.linspace(0, _hz_to_mel(_HIGHEST_HZ), bins + 2))
    rising = (frequencies - edges[:-2, None]) / np.diff(edges)[:-1, None]
    falling = (edges[2:, None] - frequencies) / np.diff(edges)[1:, None]
    area = 2 / (edges[2:] - edges[:-2])
    return (np.clip(np.minimum(rising, falling), 0, None) * area[:, None]).astype(np.float32)


def _hz_to_mel(hz: float) -> float:
    return hz * 3 / 200 if hz < 1000 else 15 + float(np.log(hz / 1000)) * 27 / float(np.log(6.4))


def _mel_to_hz(mel: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.where(mel < 15, mel * 200 / 3, 1000 * np.exp((mel - 15) * np.log(6.4) / 27))
