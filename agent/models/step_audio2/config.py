"""The sizes of a Step-Audio 2 network: what the checkpoint's ``config.json`` says, checked and under plain names.

The reference's own class has defaults that are not those of mini, so nothing is taken from defaults here: a key that
matters and is not in the file is an error that names it. Keys that nobody here knows are passed over.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final, Literal, TypeAlias, cast

from sayso.errors import ModelMissingError, UsageError

CONFIG_FILE: Final = "config.json"
Kind: TypeAlias = Literal["chat", "think", "base"]
"""The public checkpoints: mini answers, mini-Think thinks before it does, mini-Base has no roles and calls no tools."""
PULL_HINT: Final = "Fetch it again with: sayso models pull step-audio-2-mini"
_POINTER: Final = b"version https://git-lfs"


def refuse_pointer(path: Path) -> None:
    """Say so where a file is only the note that Git LFS leaves in place of a large one.

    Raises:
        ModelMissingError: It is.
    """
    with path.open("rb") as file:
        if file.read(len(_POINTER)) == _POINTER:
            raise ModelMissingError(
                f"{path} is a pointer of Git LFS, not the file itself.",
                "Run `git lfs pull` in that folder. Or: " + PULL_HINT,
            )


@dataclass(frozen=True, slots=True)
class DecoderConfig:
    """The language model, a Qwen2.

    Attributes:
        hidden_size: Width of an embedding.
        intermediate_size: Width inside the gated feed-forward part.
        layers: Transformer blocks.
        heads: Query heads.
        kv_heads: Key and value heads; each serves ``heads / kv_heads`` query heads.
        vocab_size: Rows of the embedding table and of the head.
        max_positions: Longest sequence.
        norm_eps: Of the RMS norms.
        rope_theta: Base of the rotary frequencies.
    """

    hidden_size: int
    intermediate_size: int
    layers: int
    heads: int
    kv_heads: int
    vocab_size: int
    max_positions: int
    norm_eps: float
    rope_theta: float

    @property
    def head_dim(self) -> int:
        """Width of one head."""
        return self.hidden_size // self.heads


@dataclass(frozen=True, slots=True)
class EncoderConfig:
    """The audio encoder (Whisper's, as Qwen2-Audio has it) and the adaptor behind it.

    Attributes:
        mel_bins: Height of a log-mel frame.
        max_positions: Rows of the position table, one for two frames.
        width: Of the encoder's states.
        heads: Attention heads.
        layers: Transformer blocks.
        output_size: Width of the decoder's embeddings.
        kernel_size: Of the adaptor's convolution.
        stride: Of the adaptor's convolution.
    """

    mel_bins: int
    max_positions: int
    width: int
    heads: int
    layers: int
    output_size: int
    kernel_size: int
    stride: int


@dataclass(frozen=True, slots=True)
class StepAudio2Config:
    """All of ``config.json`` that matters.

    Attributes:
        decoder: The language model.
        encoder: Audio encoder and adaptor.
        source: The file it came from, for messages; empty where made in memory.
    """

    decoder: DecoderConfig
    encoder: EncoderConfig
    source: str = field(default="", compare=False)

    @classmethod
    def read(cls, folder: Path) -> StepAudio2Config:
        """Read ``config.json`` of a checkpoint folder.

        Raises:
            ModelMissingError: There is no such folder or file.
            UsageError: The file is no JSON, is of another model, lacks keys or has values that cannot be.
        """
        path = folder / CONFIG_FILE
        if not path.is_file():
            what = "holds no config.json" if folder.is_dir() else "is no folder"
            raise ModelMissingError(f"{folder} {what}.", "Name the folder of a Step-Audio 2 checkpoint. " + PULL_HINT)
        try:
            values: object = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise UsageError(f"{path} cannot be read as JSON: {error}.", PULL_HINT) from error
        return cls.parse(values, source=str(path))

    @classmethod
    def parse(cls, values: object, *, source: str = "the config") -> StepAudio2Config:
        """Make it from the parsed JSON.

        Args:
            values: The content of ``config.json``, as StepFun publishes it or as newer transformers save it.
            source: What to call it in messages.

        Raises:
            UsageError: It is of another model, lacks keys or has values that cannot be.
        """
        reader = _Reader(values, source)
        text, audio = reader.section("text_config"), reader.section("audio_encoder_config")
        rope = text.section("rope_parameters") if "rope_parameters" in text.values else text
        decoder = DecoderConfig(
            hidden_size=text.integer("hidden_size"),
            intermediate_size=text.integer("intermediate_size"),
            layers=text.integer("num_hidden_layers"),
            heads=text.integer("num_attention_heads"),
            kv_heads=text.integer("num_key_value_heads"),
            vocab_size=text.integer("vocab_size"),
            max_positions=text.integer("max_position_embeddings"),
            norm_eps=text.number("rms_norm_eps"),
            rope_theta=rope.number("rope_theta"),
        )
        encoder = EncoderConfig(
            mel_bins=audio.integer("n_mels"),
            max_positions=audio.integer("n_audio_ctx"),
            width=audio.integer("n_audio_state"),
            heads=audio.integer("n_audio_head"),
            layers=audio.integer("n_audio_layer"),
            output_size=audio.integer("llm_dim"),
            kernel_size=audio.integer("kernel_size"),
            stride=audio.integer("adapter_stride"),
        )
        reader.finish()
        problem = _contradiction(text.values, rope.values, decoder, encoder)
        if problem:
            raise UsageError(f"{source}: {problem}.", PULL_HINT)
        return cls(decoder, encoder, source)

    @classmethod
    def mini(cls) -> StepAudio2Config:
        """The sizes of the public Step-Audio 2 mini (8.3 billion parameters)."""
        return cls(
            DecoderConfig(3584, 18944, 28, 28, 4, 158_720, 16_384, 1e-6, 1e6),
            EncoderConfig(128, 1500, 1280, 20, 32, 3584, 3, 2),
        )

    @classmethod
    def tiny(cls, *, vocab_size: int = 158_720) -> StepAudio2Config:
        """The same structure at sizes for tests. The real vocabulary is kept unless a smaller one is asked for."""
        return cls(
            DecoderConfig(64, 160, 2, 4, 2, vocab_size, 2048, 1e-6, 1e6),
            EncoderConfig(128, 1500, 32, 2, 2, 64, 3, 2),
        )

    def to_json(self) -> dict[str, Any]:
        """The content of a ``config.json`` that `parse` and the reference's code read."""
        one, two = self.decoder, self.encoder
        return {
            "architectures": ["StepAudio2ForCausalLM"],
            "auto_map": {
                "AutoConfig": "configuration_step_audio_2.StepAudio2Config",
                "AutoModelForCausalLM": "modeling_step_audio_2.StepAudio2ForCausalLM",
            },
            "model_type": "step_audio_2",
            "tie_word_embeddings": False,
            "text_config": {
                "hidden_size": one.hidden_size,
                "intermediate_size": one.intermediate_size,
                "num_attention_heads": one.heads,
                "num_attention_groups": one.kv_heads,
                "num_key_value_heads": one.kv_heads,
                "num_hidden_layers": one.layers,
                "max_seq_len": one.max_positions,
                "vocab_size": one.vocab_size,
                "rms_norm_eps": one.norm_eps,
                "eos_token_id": 151643,
                "pad_token_id": 151643,
                "rope_theta": one.rope_theta,
                "max_position_embeddings": one.max_positions,
                "rope_scaling": None,
                "torch_dtype": "bfloat16",
            },
            "audio_encoder_config": {
                "n_mels": two.mel_bins,
                "n_audio_ctx": two.max_positions,
                "n_audio_state": two.width,
                "n_audio_head": two.heads,
                "n_audio_layer": two.layers,
                "n_codebook_size": 4096,
                "llm_dim": two.output_size,
                "kernel_size": two.kernel_size,
                "adapter_stride": two.stride,
            },
        }


def kind_of(folder: Path) -> Kind:
    """Which of the checkpoints a folder holds, by its publisher's name for it: their configs are alike.

    Args:
        folder: Its own name tells, or that of one above it, as in a hub's cache; where none does, it is mini.
    """
    for name in (part.casefold() for part in reversed(folder.absolute().parts)):
        if found := re.search(r"step-audio-2-mini(-think|-base)?", name):
            return cast(Kind, (found[1] or "-chat")[1:])
    return "chat"


class _Reader:
    """Takes numbers out of nested JSON objects; what is missing is gathered, so that one error names it all."""

    def __init__(self, values: object, source: str, prefix: str = "", missing: list[str] | None = None) -> None:
        self.source, self.prefix = source, prefix
        self.missing: list[str] = [] if missing is None else missing
        if not isinstance(values, dict):
            raise UsageError(f"{source}: {prefix.rstrip('.') or 'the whole'} is no JSON object.", PULL_HINT)
        self.values = cast(dict[str, Any], values)
        if not prefix and self.values.get("model_type") != "step_audio_2":
            raise UsageError(
                f"{source} is of the model type {self.values.get('model_type')!r}, not 'step_audio_2'.",
                "Name the folder of a Step-Audio 2 checkpoint (mini, mini-Base or mini-Think).",
            )

    def section(self, name: str) -> _Reader:
        if name not in self.values:
            self.missing.append(self.prefix + name)
        return _Reader(self.values.get(name, {}), self.source, f"{self.prefix}{name}.", self.missing)

    def integer(self, name: str) -> int:
        value = self.number(name)
        if value != int(value):
            raise UsageError(f"{self.source}: {self.prefix}{name} is {value!r}, not a whole number.", PULL_HINT)
        return int(value)

    def number(self, name: str) -> float:
        if name not in self.values:
            self.missing.append(self.prefix + name)
            return 1
        value = self.values[name]
        if isinstance(value, bool) or not isinstance(value, int | float) or not 0 < value < float("inf"):
            raise UsageError(f"{self.source}: {self.prefix}{name} is {value!r}, not a number above 0.", PULL_HINT)
        return value

    def finish(self) -> None:
        if self.missing:
            names = [name for name in self.missing if not any(name.startswith(f"{one}.") for one in self.missing)]
            raise UsageError(
                f"{self.source} lacks {', '.join(names)}.",
                "It is of another version of the model than this sayso reads. " + PULL_HINT,
            )


def _contradiction(
    text: Mapping[str, Any], rope: Mapping[str, Any], decoder: DecoderConfig, encoder: EncoderConfig
) -> str:
    groups = text.get("num_attention_groups", decoder.kv_heads)
    scaling = text.get("rope_scaling") or (rope.get("rope_type") not in (None, "default") and rope.get("rope_type"))
    if groups != decoder.kv_heads:
        return f"num_attention_groups {groups} differs from num_key_value_heads {decoder.kv_heads}"
    if decoder.hidden_size % decoder.heads or decoder.head_dim % 2:
        return f"hidden_size {decoder.hidden_size} does not divide into {decoder.heads} heads of even width"
    if decoder.heads % decoder.kv_heads:
        return f"{decoder.heads} heads do not divide into {decoder.kv_heads} groups"
    if encoder.width % encoder.heads:
        return f"n_audio_state {encoder.width} does not divide into {encoder.heads} heads"
    if encoder.output_size != decoder.hidden_size:
        return f"llm_dim {encoder.output_size} differs from hidden_size {decoder.hidden_size}"
    if scaling:
        return f"rotary scaling {scaling!r} is not something Step-Audio 2 mini has"
    if text.get("use_sliding_window"):
        return "use_sliding_window is set, which Step-Audio 2 mini does not have"
    return ""
