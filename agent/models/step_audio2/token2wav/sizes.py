"""The sizes of the token-to-wave networks: read from ``flow.yaml`` and from the shapes of the weights, never guessed.

The public files and their numbers: ``token2wav/flow.yaml`` of Step-Audio 2 mini; HiFT and the S3 tokenizer have no
file of their own, so theirs follow from the shapes of their weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, cast

from sayso.errors import ModelMissingError, UsageError
from sayso.models.step_audio2.config import PULL_HINT

SAMPLE_RATE_HZ = 24_000
TOKEN_RATE_HZ = 25
FRAME_RATE_HZ = 50
FRAMES_PER_TOKEN = FRAME_RATE_HZ // TOKEN_RATE_HZ
SAMPLES_PER_FRAME = SAMPLE_RATE_HZ // FRAME_RATE_HZ
SAMPLES_PER_TOKEN = SAMPLE_RATE_HZ // TOKEN_RATE_HZ
CODEBOOK_SIZE = 6561
"""Finite scalar quantisation with 8 digits of 3 levels each."""

MEL_CHANNELS = 80
SPEAKER_CHANNELS = 192


@dataclass(frozen=True, slots=True)
class FlowSizes:
    """The flow model's sizes, as ``flow.yaml`` names them.

    Attributes:
        hidden: Width of the conformer encoder.
        encoder_heads: Attention heads of the encoder.
        feed_forward: Inner width of the encoder's feed-forward layers.
        encoder_layers: Conformer layers at 25 Hz.
        up_layers: Conformer layers at 50 Hz.
        lookahead: Tokens that the encoder looks ahead.
        estimator_hidden: Width of the estimator (DiT).
        estimator_heads: Its attention heads.
        estimator_head_dim: The width of one head.
        estimator_layers: Its depth.
        estimator_mlp: Inner width of its feed-forward layers.
        guidance: Rate of classifier-free guidance.
    """

    hidden: int = 512
    encoder_heads: int = 8
    feed_forward: int = 2048
    encoder_layers: int = 6
    up_layers: int = 4
    lookahead: int = 3
    estimator_hidden: int = 512
    estimator_heads: int = 8
    estimator_head_dim: int = 64
    estimator_layers: int = 16
    estimator_mlp: int = 2048
    guidance: float = 0.7

    def __post_init__(self) -> None:
        counts = [getattr(self, name) for name in self.__slots__ if name != "guidance"]
        if min(counts) < 1 or self.hidden % 2 or self.hidden % self.encoder_heads:
            raise ValueError(f"{self} cannot be built")


@dataclass(frozen=True, slots=True)
class HiftSizes:
    """The vocoder's sizes: only its widths differ between a real and a tiny one; the rates are fixed by the codec."""

    channels: int = 512
    pitch_channels: int = 512

    def __post_init__(self) -> None:
        if self.channels < 8 or self.channels % 8 or self.pitch_channels < 1:
            raise ValueError(f"{self} cannot be built")


@dataclass(frozen=True, slots=True)
class S3Sizes:
    """The speech tokenizer's sizes. Heads are 64 wide."""

    hidden: int = 1280
    layers: int = 6


TINY_FLOW = FlowSizes(
    hidden=32,
    encoder_heads=2,
    feed_forward=48,
    encoder_layers=2,
    up_layers=1,
    estimator_hidden=32,
    estimator_heads=2,
    estimator_head_dim=16,
    estimator_layers=2,
    estimator_mlp=64,
)
TINY_HIFT = HiftSizes(channels=16, pitch_channels=8)
TINY_S3 = S3Sizes(hidden=64, layers=1)


def read_flow_sizes(path: Path) -> FlowSizes:
    """Read ``flow.yaml``; its ``!new:`` tags name classes of the reference and are taken as plain mappings.

    Raises:
        ModelMissingError: The file is not there, or PyYAML is not installed.
        UsageError: The file says something that this implementation does not do.
    """
    if not path.is_file():
        raise ModelMissingError(f"{path} is not there.", PULL_HINT)
    try:
        document = _parse(path.read_text(encoding="utf-8"))
        return _flow_sizes(cast("Mapping[str, Any]", document["flow"]))
    except (KeyError, TypeError, ValueError) as error:
        raise UsageError(f"{path} is not a flow.yaml of Step-Audio 2: {error!r}.", PULL_HINT) from error


def flow_yaml(sizes: FlowSizes) -> str:
    """The ``flow.yaml`` of these sizes, laid out like the public one."""
    return f"""flow: !new:cosyvoice2.flow.flow.CausalMaskedDiffWithXvec
    input_size: {sizes.hidden}
    output_size: {MEL_CHANNELS}
    spk_embed_dim: {SPEAKER_CHANNELS}
    output_type: 'mel'
    vocab_size: {CODEBOOK_SIZE}
    encoder: !new:cosyvoice2.transformer.upsample_encoder_v2.UpsampleConformerEncoderV2
        input_size: {sizes.hidden}
        output_size: {sizes.hidden}
        input_layer: 'linear'
        pre_lookahead_len: {sizes.lookahead}
        num_blocks: {sizes.encoder_layers}
        num_up_blocks: {sizes.up_layers}
        up_stride: {FRAMES_PER_TOKEN}
        up_scale_factor: {FRAMES_PER_TOKEN}
        attention_heads: {sizes.encoder_heads}
        pos_enc_layer_type: 'rel_pos_espnet'
        selfattention_layer_type: 'rel_selfattn'
        key_bias: true
        linear_units: {sizes.feed_forward}
        dropout_rate: 0.1
        positional_dropout_rate: 0.1
        attention_dropout_rate: 0.1
        normalize_before: True
    decoder: !new:cosyvoice2.flow.flow_matching.CausalConditionalCFM
        inference_cfg_rate: {sizes.guidance}
        estimator: !new:cosyvoice2.flow.decoder_dit.DiT
            in_channels: {4 * MEL_CHANNELS}
            out_channels: {MEL_CHANNELS}
            mlp_ratio: {sizes.estimator_mlp / sizes.estimator_hidden}
            depth: {sizes.estimator_layers}
            num_heads: {sizes.estimator_heads}
            head_dim: {sizes.estimator_head_dim}
            hidden_size: {sizes.estimator_hidden}
"""


def _flow_sizes(flow: Mapping[str, Any]) -> FlowSizes:
    encoder, decoder = flow["encoder"], flow["decoder"]
    estimator = decoder["estimator"]
    fixed = {
        "vocab_size": (flow["vocab_size"], CODEBOOK_SIZE),
        "output_size": (flow["output_size"], MEL_CHANNELS),
        "spk_embed_dim": (flow["spk_embed_dim"], SPEAKER_CHANNELS),
        "encoder.output_size": (encoder["output_size"], flow["input_size"]),
        "encoder.up_stride": (encoder["up_stride"], FRAMES_PER_TOKEN),
        "encoder.pos_enc_layer_type": (encoder["pos_enc_layer_type"], "rel_pos_espnet"),
        "encoder.selfattention_layer_type": (encoder["selfattention_layer_type"], "rel_selfattn"),
        "encoder.normalize_before": (encoder["normalize_before"], True),
        "estimator.in_channels": (estimator["in_channels"], 4 * MEL_CHANNELS),
    }
    for name, (found, expected) in fixed.items():
        if found != expected:
            raise ValueError(f"{name} is {found!r}, expected {expected!r}")
    return FlowSizes(
        hidden=int(flow["input_size"]),
        encoder_heads=int(encoder["attention_heads"]),
        feed_forward=int(encoder["linear_units"]),
        encoder_layers=int(encoder["num_blocks"]),
        up_layers=int(encoder["num_up_blocks"]),
        lookahead=int(encoder["pre_lookahead_len"]),
        estimator_hidden=int(estimator["hidden_size"]),
        estimator_heads=int(estimator["num_heads"]),
        estimator_head_dim=int(estimator["head_dim"]),
        estimator_layers=int(estimator["depth"]),
        estimator_mlp=int(estimator["hidden_size"] * estimator["mlp_ratio"]),
        guidance=float(decoder["inference_cfg_rate"]),
    )


def _parse(text: str) -> Any:
    try:
        import yaml as _yaml
    except ImportError as error:
        raise ModelMissingError("PyYAML is not installed.", "Install sayso[step-audio].") from error
    yaml: Any = _yaml

    class Loader(yaml.SafeLoader):  # a class of its own, so that other users of PyYAML keep their tags
        pass

    def mapping(loader: Any, _suffix: str, node: Any) -> Any:
        return loader.construct_mapping(node, deep=True)

    Loader.add_multi_constructor("!new:", mapping)
    try:
        return yaml.load(text, Loader=Loader)
    except yaml.YAMLError as error:
        raise ValueError(f"not YAML: {error}") from error
