"""What the networks of a prompt voice hear: resampling, log-mel, the vocoder's mel, and Kaldi's filter bank.

All in plain torch on the CPU, so that neither torchaudio nor librosa is needed. Sources: torchaudio's ``resample`` with
its default window; Kaldi's ``compute-fbank-feats`` with the options that CAM++ was trained with; HiFi-GAN's mel with
24 kHz numbers.
"""

from __future__ import annotations

import math
from functools import lru_cache
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from sayso.models.step_audio2.features import mel_filters
from sayso.models.step_audio2.token2wav.sizes import MEL_CHANNELS, SAMPLE_RATE_HZ, SAMPLES_PER_FRAME

SPEECH_RATE_HZ = 16_000
LOG_MEL_BINS = 128
LOG_MEL_FFT = 400
LOG_MEL_HOP = 160
VOICE_FFT = 1920
FBANK_BINS = 80
FBANK_WINDOW = 400
FBANK_HOP = 160
FBANK_FFT = 512
FBANK_LOWEST_HZ = 20.0
PREEMPHASIS = 0.97


def resample(samples: Tensor, from_hz: int, to_hz: int) -> Tensor:
    """Change the rate by band-limited interpolation: a sinc over six zero crossings under a Hann window.

    Args:
        samples: (n,) float32.
        from_hz: Its rate.
        to_hz: The wanted one.

    Returns:
        (ceil(n to / from),) float32.
    """
    if from_hz == to_hz:
        return samples
    common = math.gcd(from_hz, to_hz)
    before, after = from_hz // common, to_hz // common
    crossings, rolloff = 6, 0.99
    cutoff = min(before, after) * rolloff
    reach = math.ceil(crossings * before / cutoff)
    grid = torch.arange(-reach, reach + before, dtype=torch.float64) / before
    times = (torch.arange(0, -after, -1, dtype=torch.float64)[:, None] / after + grid) * cutoff
    times = times.clamp(-crossings, crossings)
    kernel = torch.sinc(times) * torch.cos(times * math.pi / crossings / 2).square() * (cutoff / before)
    padded = F.pad(samples.double(), (reach, reach + before))
    out = F.conv1d(padded[None, None], kernel[:, None], stride=before)[0].T.reshape(-1)
    return out[: math.ceil(len(samples) * after / before)].to(samples.dtype)


def log_mel(samples: Tensor) -> Tensor:
    """The speech tokenizer's input: Whisper's log-mel with 128 bins.

    Args:
        samples: (n,) float32 at 16 kHz.

    Returns:
        (128, n // 160) float32.
    """
    window = torch.hann_window(LOG_MEL_FFT)
    spectrum = torch.stft(samples, LOG_MEL_FFT, LOG_MEL_HOP, window=window, return_complex=True)
    filters = torch.as_tensor(mel_filters(LOG_MEL_BINS))
    loudness = (filters @ spectrum[:, :-1].abs().square()).clamp(min=1e-10).log10()
    return (loudness.maximum(loudness.max() - 8.0) + 4.0) / 4.0


def voice_mel(samples: Tensor) -> Tensor:
    """The mel that flow model and vocoder speak in.

    Args:
        samples: (n,) float32 at 24 kHz.

    Returns:
        (n // 480, 80) float32, natural logarithm of the magnitude.
    """
    side = (VOICE_FFT - SAMPLES_PER_FRAME) // 2
    padded = F.pad(samples[None], (side, side), mode="reflect")[0]
    window = torch.hann_window(VOICE_FFT)
    spectrum = torch.stft(padded, VOICE_FFT, SAMPLES_PER_FRAME, window=window, center=False, return_complex=True)
    magnitude = (torch.view_as_real(spectrum).square().sum(dim=2) + 1e-9).sqrt()
    filters = torch.as_tensor(mel_filters(MEL_CHANNELS, rate_hz=SAMPLE_RATE_HZ, fft=VOICE_FFT))
    return (filters @ magnitude).clamp(min=1e-5).log().T.contiguous()


def filter_bank(samples: Tensor) -> Tensor:
    """The speaker network's input: Kaldi's log filter bank without dither, less its mean over time.

    Args:
        samples: (n,) float32 at 16 kHz in [-1, 1].

    Returns:
        (1 + (n - 400) // 160, 80) float32.
    """
    frames = samples.unfold(0, FBANK_WINDOW, FBANK_HOP)
    frames = frames - frames.mean(dim=1, keepdim=True)
    frames = frames - PREEMPHASIS * torch.cat([frames[:, :1], frames[:, :-1]], dim=1)
    window = torch.hann_window(FBANK_WINDOW, periodic=False, dtype=torch.float64).pow(0.85).float()
    fft: Any = torch.fft
    spectrum: Tensor = fft.rfft(frames * window, FBANK_FFT)
    power = spectrum.abs().square()
    bank = (power @ _kaldi_filters().T).clamp(min=torch.finfo(torch.float32).eps).log()
    return bank - bank.mean(dim=0, keepdim=True)


@lru_cache(maxsize=1)
def _kaldi_filters() -> Tensor:
    """Triangles that are straight on the mel axis, of height one; the bin at half the rate is left out, as in Kaldi."""
    lowest, highest = _htk_mel(FBANK_LOWEST_HZ), _htk_mel(SPEECH_RATE_HZ / 2)
    edges = torch.linspace(lowest, highest, FBANK_BINS + 2, dtype=torch.float64)
    hz = torch.arange(FBANK_FFT // 2, dtype=torch.float64) * SPEECH_RATE_HZ / FBANK_FFT
    return F.pad(_triangles(1127.0 * (1.0 + hz / 700.0).log(), edges).float(), (0, 1))


def _triangles(points: Tensor, edges: Tensor) -> Tensor:
    """Triangles of height one between each edge and the next but one, at points: (edges - 2, points)."""
    left, middle, right = edges[:-2, None], edges[1:-1, None], edges[2:, None]
    return ((points - left) / (middle - left)).minimum((right - points) / (right - middle)).clamp(min=0)


def _htk_mel(hz: float) -> float:
    return 1127.0 * math.log(1.0 + hz / 700.0)
