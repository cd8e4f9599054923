"""What keeps arithmetic as it is written, and as fast for a new shape: no autocast, no TF32 that nobody asked for."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional


def as_written(device: torch.device) -> AbstractContextManager[Any]:
    """Inside it, an autocast around the caller changes nothing."""
    if device.type != "meta" and torch.is_autocast_enabled(device.type):
        return torch.autocast(device.type, enabled=False)
    return nullcontext()


def without_plans(device: torch.device) -> None:
    """Turn cuDNN's attention off, for the process; nothing without CUDA.

    torch prefers it on an H100. It makes a plan for each new shape, which takes longer than the attention itself, and
    each sentence is a new shape here. FlashAttention and its like need no plans.
    """
    if device.type == "cuda":
        torch.backends.cuda.enable_cudnn_sdp(False)


def additive(seen: Tensor, dtype: torch.dtype) -> Tensor:
    """A mask as attention adds it to its scores: 0 where a query sees a key, else minus infinity.

    Made once for all layers. A bool mask is converted in each of them, and so is one whose rows do not begin at
    multiples of 16 bytes; so the rows here are longer than they look.
    """
    *rows, keys = seen.shape
    padded = torch.zeros(*rows, -(-keys // 16) * 16, dtype=dtype, device=seen.device)[..., :keys]
    return padded.masked_fill_(~seen, float("-inf"))


def conv1d(x: Tensor, weight: Tensor, bias: Tensor, stride: int = 1) -> Tensor:
    """A convolution over time with a padding of 1, as one matrix product.

    cuDNN's convolutions use TF32 for float32 unless told otherwise; matrix products do not.

    Args:
        x: Shape (batch, time, channels).
        weight: Shape (out, channels, kernel).
        bias: Shape (out,).
        stride: In time steps.

    Returns:
        Shape (batch, (time + 2 - kernel) // stride + 1, out).
    """
    windows = functional.pad(x, (0, 0, 1, 1)).unfold(1, weight.shape[2], stride)
    return functional.linear(windows.flatten(2), weight.flatten(1), bias)
