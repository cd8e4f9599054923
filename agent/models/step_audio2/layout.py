"""Which tensors a checkpoint holds, and where each goes: one table for checking, loading and writing.

Names and shapes are those of the reference's modules. Some of them are rows of one larger weight here, because one
product of three is faster than three.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from math import prod
from typing import TypeAlias

from sayso.models.step_audio2.config import DecoderConfig, EncoderConfig, StepAudio2Config

HEAD = "lm_head.weight"
EMBEDDING = "model.embed_tokens.weight"
ADAPTER_WIDTH = 2048
"""Between the adaptor's two linear layers; the reference has it in its code, not in the config."""


@dataclass(frozen=True, slots=True)
class Place:
    """One tensor of a checkpoint.

    Attributes:
        shape: Its shape.
        target: The parameter of `Networks` that it becomes, or a part of.
        row: The first of its rows in the target.
    """

    shape: tuple[int, ...]
    target: str
    row: int = 0

    @property
    def size(self) -> int:
        """How many numbers it has."""
        return prod(self.shape)


_Entry: TypeAlias = tuple[str, Place]


def layout(config: StepAudio2Config) -> dict[str, Place]:
    """The tensors of a checkpoint by name: 832 of them for mini."""
    return dict([*_decoder(config.decoder), *_encoder(config.encoder), *_adapter(config.encoder)])


def _decoder(config: DecoderConfig) -> Iterator[_Entry]:
    hidden, inner, kv = config.hidden_size, config.intermediate_size, config.kv_heads * config.head_dim
    yield EMBEDDING, Place((config.vocab_size, hidden), "decoder.embedding")
    for number in range(config.layers):
        source, target = f"model.layers.{number}.", f"decoder.layers.{number}."
        yield f"{source}input_layernorm.weight", Place((hidden,), f"{target}attention_norm.weight")
        for name, rows, first in (("q", hidden, 0), ("k", kv, hidden), ("v", kv, hidden + kv)):
            yield f"{source}self_attn.{name}_proj.weight", Place((rows, hidden), f"{target}qkv.weight", first)
            yield f"{source}self_attn.{name}_proj.bias", Place((rows,), f"{target}qkv.bias", first)
        yield f"{source}self_attn.o_proj.weight", Place((hidden, hidden), f"{target}out.weight")
        yield f"{source}post_attention_layernorm.weight", Place((hidden,), f"{target}mlp_norm.weight")
        yield f"{source}mlp.gate_proj.weight", Place((inner, hidden), f"{target}gate_up.weight")
        yield f"{source}mlp.up_proj.weight", Place((inner, hidden), f"{target}gate_up.weight", inner)
        yield f"{source}mlp.down_proj.weight", Place((hidden, inner), f"{target}down.weight")
    yield "model.norm.weight", Place((hidden,), "decoder.norm.weight")
    yield HEAD, Place((config.vocab_size, hidden), "decoder.head.weight")


def _encoder(config: EncoderConfig) -> Iterator[_Entry]:
    width = config.width
    yield from _pair("encoder.conv1", "encoder.conv1", (width, config.mel_bins, 3))
    yield from _pair("encoder.conv2", "encoder.conv2", (width, width, 3))
    yield "encoder.positional_embedding.weight", Place((config.max_positions, width), "encoder.positions")
    for number in range(config.layers):
        source, target = f"encoder.blocks.{number}.", f"encoder.layers.{number}."
        for row, name in enumerate(("query", "key", "value")):
            pair = _pair(f"{source}attn.{name}", f"{target}qkv", (width, width), row * width)
            yield from list(pair)[: 1 if name == "key" else 2]  # the key has no bias
        yield from _pair(f"{source}attn.out", f"{target}out", (width, width))
        yield from _pair(f"{source}attn_ln", f"{target}attention_norm", (width,))
        yield from _pair(f"{source}mlp.0", f"{target}up", (4 * width, width))
        yield from _pair(f"{source}mlp.2", f"{target}down", (width, 4 * width))
        yield from _pair(f"{source}mlp_ln", f"{target}mlp_norm", (width,))
    yield from _pair("encoder.after_norm", "encoder.norm", (width,))


def _adapter(config: EncoderConfig) -> Iterator[_Entry]:
    width = config.width
    yield from _pair("adapter.conv", "encoder.adapter_conv", (width, width, config.kernel_size))
    yield from _pair("adapter.linear1", "encoder.adapter_up", (ADAPTER_WIDTH, width))
    yield from _pair("adapter.linear2", "encoder.adapter_out", (config.output_size, ADAPTER_WIDTH))


def _pair(source: str, target: str, shape: tuple[int, ...], row: int = 0) -> Iterator[_Entry]:
    """A weight and its bias, which has one number for each row."""
    yield f"{source}.weight", Place(shape, f"{target}.weight", row)
    yield f"{source}.bias", Place(shape[:1], f"{target}.bias", row)
