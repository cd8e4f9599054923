"""Encoder and decoder together, with or without 8-bit weights, and how much memory they take."""

from __future__ import annotations

from typing import Final

import torch
from torch import Tensor, nn
from torch.nn import functional

from sayso.models.step_audio2.arithmetic import without_plans
from sayso.models.step_audio2.config import StepAudio2Config
from sayso.models.step_audio2.decoder import Decoder
from sayso.models.step_audio2.encoder import AudioEncoder
from sayso.models.step_audio2.layout import layout

_NUMBERS_AT_ONCE: Final = 8 * 2**20
"""Converted at once: 16 MB in half precision stay in a device's cache until the product has read them."""


class Networks(nn.Module):
    """What hears and what thinks; the parameters' names are the targets of `layout`."""

    def __init__(self, config: StepAudio2Config) -> None:
        super().__init__()
        self.config = config
        self.encoder = AudioEncoder(config.encoder)
        self.decoder = Decoder(config.decoder)

    @classmethod
    def empty(
        cls, config: StepAudio2Config, device: torch.device | str, dtype: torch.dtype, *, int8: bool = False
    ) -> Networks:
        """Allocate the networks on a device; what the weights hold is undefined, except that biases are 0.

        Args:
            config: Their sizes.
            device: Where. On ``meta`` nothing is allocated.
            dtype: Of weights and arithmetic.
            int8: Make the decoder's matrices `Int8Linear`s.
        """
        without_plans(torch.device(device))
        with torch.device("meta"):
            networks = cls(config).to(dtype)
            if int8:
                quantize_int8(networks.decoder)
        networks = networks.to_empty(device=device).requires_grad_(False).eval()
        for name, tensor in networks.state_dict().items():
            if name.endswith(".bias"):  # the encoder's keys have none in a checkpoint
                tensor.zero_()
        networks.decoder.reset_rotations()
        return networks

    def checkpoint_tensors(self) -> dict[str, Tensor]:
        """The weights under their names in a checkpoint, as views. 8-bit weights come as their codes."""
        tensors = self.state_dict()
        return {
            name: tensors[place.target].narrow(0, place.row, place.shape[0])
            for name, place in layout(self.config).items()
        }


class Int8Linear(nn.Module):
    """A linear layer whose weights are 8-bit fixed-point numbers with a float32 scale for each row.

    It halves memory, and so makes room on a 24 GB card. Weights are converted in blocks, block by block in the same
    memory, so that little more than the 8-bit numbers comes from the device's main memory.
    """

    weight: Tensor
    scale: Tensor
    bias: Tensor | None

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor | None = None) -> None:
        super().__init__()
        self.register_buffer("weight", weight)
        self.register_buffer("scale", scale)
        self.register_buffer("bias", bias)

    @classmethod
    def from_linear(cls, linear: nn.Linear) -> Int8Linear:
        """Round the weights of a linear layer."""
        bias = None if linear.bias is None else linear.bias.detach()  # pyright: ignore[reportUnnecessaryComparison]
        return cls(*quantize_rows(linear.weight.detach()), bias)

    def forward(self, x: Tensor) -> Tensor:
        """(..., in) -> (..., out), in the dtype of ``x``."""
        x_128th = x / 128  # exact, and keeps sums within float16
        at_once = max(1, _NUMBERS_AT_ONCE // self.weight.shape[1])
        rows = range(0, len(self.weight), at_once)
        blocks = [functional.linear(x_128th, self.weight[row : row + at_once].to(x.dtype)) for row in rows]
        product = (blocks[0] if len(blocks) == 1 else torch.cat(blocks, dim=-1)) * self.scale
        return (product if self.bias is None else product + self.bias).to(x.dtype)


def quantize_rows(weight: Tensor) -> tuple[Tensor, Tensor]:
    """Round each row of a matrix to 255 steps, symmetric around 0.

    Returns:
        int8 of the same shape and float32 of shape (rows,): ``weight`` is about ``codes / 128 * scale[:, None]``,
        off by at most 1/254 of the row's largest number.
    """
    weight = weight.float()
    largest = weight.abs().amax(dim=1).clamp(min=torch.finfo(torch.float32).tiny)
    codes = (weight * (127 / largest)[:, None]).round().clamp(-127, 127).to(torch.int8)
    return codes, largest * (128 / 127)


def quantize_int8(module: nn.Module) -> None:
    """Replace every linear layer inside ``module`` by an `Int8Linear`. Norms, embeddings and convolutions stay."""
    for name, child in module.named_children():
        if isinstance(child, nn.Linear):
            setattr(module, name, Int8Linear.from_linear(child))
        else:
            quantize_int8(child)


def weight_bytes(config: StepAudio2Config, dtype: torch.dtype, *, int8: bool = False) -> int:
    """The memory that encoder and decoder take once loaded, without cache and intermediate results.

    Mini: 16.6 GB in bfloat16 or float16, 33.3 GB in float32, 9.5 GB with ``int8`` in bfloat16.
    """
    total = 0
    for place in layout(config).values():
        matrix = len(place.shape) == 2 and place.target.startswith("decoder.") and place.target != "decoder.embedding"
        if int8 and matrix:
            total += place.size + 4 * place.shape[0]
        else:
            total += place.size * dtype.itemsize
    return total
