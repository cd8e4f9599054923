"""The flow model: speech tokens and a voice in, a mel spectrogram at 50 Hz out (conditional flow matching).

The mel starts as noise and moves along the estimator's direction in ten Euler steps, with times 1 - cos(pi t / 2) and
classifier-free guidance (Lipman et al. 2023; Du et al. 2024, CosyVoice 2, section 2.4). Whole utterances see all of
themselves; in a stream each chunk sees the prompt, a window of what came before, and itself.

What a session keeps is a `FlowState`: plain tensors that are never written to. The prompt's part is made once for a
voice and shared by all its sessions.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from sayso.models.step_audio2.token2wav.conformer import Encoder, EncoderCache
from sayso.models.step_audio2.token2wav.dit import Context, Estimator, Left, Modulation
from sayso.models.step_audio2.token2wav.graphs import Estimate, FixedShapes, padded_frames
from sayso.models.step_audio2.token2wav.sizes import (
    CODEBOOK_SIZE,
    FRAMES_PER_TOKEN,
    MEL_CHANNELS,
    SPEAKER_CHANNELS,
    FlowSizes,
)

EULER_STEPS = 10
GUIDED = 2
"""Rows of the estimator a session takes: with and without its conditions."""


@dataclass(frozen=True, slots=True)
class Prompt:
    """A voice as the flow model takes it.

    Attributes:
        tokens: (n,) int64.
        mel: (2 n, mel) float32.
        speaker: (192,) float32, as the speaker network gives it.
    """

    tokens: Tensor
    mel: Tensor
    speaker: Tensor


@dataclass(frozen=True, slots=True)
class Window:
    """Which frames later chunks see.

    Attributes:
        frames: Generated frames that the estimator sees besides the prompt (100 in the reference: 2 s).
        tokens: Generated tokens that the encoder sees besides the prompt (the reference keeps all).
        reference_faults: Trim as the reference does in effect: new frames stand in front of old ones there, so that in
            the long run the newest frames push the prompt out but for its last hundred.
    """

    frames: int = 100
    tokens: int = 1500
    reference_faults: bool = False


@dataclass(frozen=True, slots=True)
class _Kept:
    """Keys and values of the estimator at every step: (steps, layers, 2, heads, time, width)."""

    keys: Tensor
    values: Tensor

    @property
    def frames(self) -> int:
        return self.keys.shape[4]

    def before(self, other: _Kept) -> _Kept:
        return _Kept(torch.cat([self.keys, other.keys], dim=4), torch.cat([self.values, other.values], dim=4))

    def cut(self, start: int | None, stop: int | None) -> _Kept:
        return _Kept(self.keys[:, :, :, :, start:stop], self.values[:, :, :, :, start:stop])


@dataclass(frozen=True, slots=True)
class FlowState:
    """What the flow model keeps of one session between chunks.

    Attributes:
        encoder: The encoder's part.
        prompt: The estimator's keys and values of the prompt; shared by the sessions of a voice.
        recent: Those of the frames generated lately, in the order of time.
        tails: (steps, layers, 2, 2 hidden, 2), what the estimator's convolutions left.
        speaker: (mel,), the voice after its projection.
        prompt_tokens: Length of the prompt.
    """

    encoder: EncoderCache
    prompt: _Kept
    recent: _Kept
    tails: Tensor
    speaker: Tensor
    prompt_tokens: int

    @property
    def context_frames(self) -> int:
        """Frames that the next chunk sees besides its own."""
        return self.prompt.frames + self.recent.frames


class _Decoder(nn.Module):
    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.estimator = Estimator(sizes)


class Flow(nn.Module):
    """The whole flow model; its names are those of ``flow.pt``."""

    def __init__(self, sizes: FlowSizes) -> None:
        super().__init__()
        self.sizes = sizes
        self.input_embedding = nn.Embedding(CODEBOOK_SIZE, sizes.hidden)
        self.spk_embed_affine_layer = nn.Linear(SPEAKER_CHANNELS, MEL_CHANNELS)
        self.encoder = Encoder(sizes)
        self.encoder_proj = nn.Linear(sizes.hidden, MEL_CHANNELS)
        self.decoder = _Decoder(sizes)
        self._fixed: FixedShapes | None = None
        self._modulations: list[Modulation] | None = None

    def use_fixed_shapes(self) -> FixedShapes:
        """Run the estimator of streams at fixed shapes from now on: as CUDA graphs where there is CUDA."""
        self._fixed = self._fixed or FixedShapes(self.decoder.estimator)
        return self._fixed

    @property
    def fixed_shapes(self) -> bool:
        """Whether the estimator of streams runs at fixed shapes."""
        return self._fixed is not None

    @torch.inference_mode()
    def mel(self, prompts: Sequence[Prompt], tokens: Sequence[Tensor], noise: Sequence[Tensor]) -> list[Tensor]:
        """Whole utterances at once.

        Args:
            prompts: The voices.
            tokens: The tokens to speak, (n,) int64 each.
            noise: (2 (prompt + n), mel) float32 each.

        Returns:
            (2 n, mel) float32 each.
        """
        device = self.encoder_proj.weight.device
        whole = [torch.cat([p.tokens, t]) for p, t in zip(prompts, tokens, strict=True)]
        lengths = torch.tensor([len(t) for t in whole], device=device)
        padded = nn.utils.rnn.pad_sequence(whole, batch_first=True)
        valid = torch.arange(padded.shape[1], device=device) < lengths[:, None]
        encoded = self.encoder_proj(self.encoder(self.input_embedding(padded) * valid[:, :, None], lengths))
        known = torch.zeros_like(encoded)
        for row, prompt in enumerate(prompts):
            known[row, : len(prompt.mel)] = prompt.mel
        start = nn.utils.rnn.pad_sequence(list(noise), batch_first=True)
        speaker = torch.stack([self._speaker(prompt.speaker) for prompt in prompts])
        frames_valid = valid.repeat_interleave(FRAMES_PER_TOKEN, dim=1)
        seen = None if bool(valid.all()) else frames_valid.repeat(GUIDED, 1)

        def direction(x: Tensor, step: int) -> Tensor:
            return self.decoder.estimator(x, self._modulation(step), None, seen)[0]

        out = self._euler(start, encoded, speaker, known, direction)
        assert out is not None  # nobody stops it
        ends = [(len(p.mel), FRAMES_PER_TOKEN * len(w)) for p, w in zip(prompts, whole, strict=True)]
        return [out[row, first:last] for row, (first, last) in enumerate(ends)]

    @torch.inference_mode()
    def prime(self, prompt: Prompt, noise: Tensor) -> FlowState:
        """Run a voice's prompt, once for all its sessions.

        The prompt's own first tokens stand in for what it looks ahead to, as in the reference.

        Args:
            prompt: The voice.
            noise: (2 n, mel) float32.
        """
        speaker = self._speaker(prompt.speaker)
        ahead = prompt.tokens.repeat(self.sizes.lookahead)[: self.sizes.lookahead]
        tokens = torch.cat([prompt.tokens, ahead])[None]
        encoded, caches = self.encoder.chunk(self.input_embedding(tokens), [None], last=False)
        left: list[Left] = []

        def direction(x: Tensor, step: int) -> Tensor:
            out, new = self.decoder.estimator(x, self._modulation(step), None)
            left.append(new)
            return out

        known = prompt.mel[None].to(encoded.dtype)
        self._euler(noise[None], self.encoder_proj(encoded), speaker[None], known, direction)
        kept, tails = _collected(left, 1)
        return FlowState(caches[0], kept[0], kept[0].cut(0, 0), tails[0], speaker, len(prompt.tokens))

    @torch.inference_mode()
    def chunk(
        self,
        states: Sequence[FlowState],
        tokens: Tensor,
        noise: Tensor,
        *,
        last: bool,
        window: Window,
        going: Callable[[], bool] = lambda: True,
    ) -> tuple[Tensor, list[FlowState]] | None:
        """Continue sessions by a chunk of equal length each.

        Args:
            states: The sessions; not changed.
            tokens: (sessions, n) int64; unless this is the last chunk, the final `lookahead` are only looked at.
            noise: (sessions, 2 (n - lookahead) or 2 n, mel) float32.
            last: Nothing follows in these sessions.
            window: What later chunks see.
            going: Asked before each Euler step; where it says no the chunk is given up.

        Returns:
            The mel (sessions, frames, mel) float32 and the next states, or None where it was given up.
        """
        embedded = self.input_embedding(tokens)
        encoded, caches = self.encoder.chunk(embedded, [s.encoder for s in states], last=last)
        encoded = self.encoder_proj(encoded)
        longest = max(s.context_frames for s in states)
        fixed = None if last else self._fixed  # the last chunk is of any length: not worth a graph that is used once
        capacity = longest if fixed is None else padded_frames(longest)
        estimate: Estimate = self.decoder.estimator if fixed is None else fixed.estimate
        left: list[Left] = []

        def direction(x: Tensor, step: int) -> Tensor:
            out, new = estimate(x, self._modulation(step), _context(states, step, capacity))
            left.append(new)
            return out

        speaker = torch.stack([s.speaker for s in states])
        mel = self._euler(noise, encoded, speaker, torch.zeros_like(encoded), direction, going)
        if mel is None:
            return None
        kept, tails = _collected(left, len(states))
        new: list[FlowState] = []
        for row, state in enumerate(states):
            prompt, recent = _trimmed(state, kept[row], window)
            encoder = caches[row]
            if not window.reference_faults:
                encoder = encoder.trimmed(state.prompt_tokens, window.tokens)
            new.append(FlowState(encoder, prompt, recent, tails[row], state.speaker, state.prompt_tokens))
        return mel, new

    def _speaker(self, embedding: Tensor) -> Tensor:
        unit = F.normalize(embedding.float(), dim=0)
        return self.spk_embed_affine_layer(unit.to(self.spk_embed_affine_layer.weight.dtype))

    def _modulation(self, step: int) -> Modulation:
        if self._modulations is None:
            device = self.encoder_proj.weight.device
            self._modulations = self.decoder.estimator.modulations(torch.tensor(_times()[:-1], device=device))
        return self._modulations[step]

    def _euler(
        self,
        noise: Tensor,
        encoded: Tensor,
        speaker: Tensor,
        known: Tensor,
        direction: Callable[[Tensor, int], Tensor],
        going: Callable[[], bool] = lambda: True,
    ) -> Tensor | None:
        """Move the noise to a mel; the moving mel itself is kept in float32 or better."""
        dtype = encoded.dtype
        spread = speaker[:, None].expand(-1, encoded.shape[1], -1)
        conditions = torch.cat([encoded, spread, known.to(dtype)], dim=2)
        conditions = torch.cat([conditions, torch.zeros_like(conditions)])
        x = noise.to(torch.promote_types(dtype, torch.float32))
        guidance, times = self.sizes.guidance, _times()
        for step in range(EULER_STEPS):
            if not going():
                return None
            both = torch.cat([torch.cat([x, x]).to(dtype), conditions], dim=2)
            with_conditions, without = direction(both, step).to(x.dtype).chunk(GUIDED)
            x = x + (times[step + 1] - times[step]) * ((1 + guidance) * with_conditions - guidance * without)
        return x


def _times() -> list[float]:
    return [1 - math.cos(0.5 * math.pi * step / EULER_STEPS) for step in range(EULER_STEPS + 1)]


def _context(states: Sequence[FlowState], step: int, capacity: int) -> Context:
    """What the sessions' rows see at one step, padded to `capacity` frames; conditioned rows first."""
    layers, _, heads, _, width = states[0].prompt.keys.shape[1:]
    like = states[0].prompt.keys
    keys = like.new_zeros(layers, GUIDED, len(states), heads, capacity, width)
    values = torch.zeros_like(keys)
    full = all(state.context_frames == capacity for state in states)
    seen = None if full else like.new_zeros(GUIDED, len(states), capacity, dtype=torch.bool)
    for row, state in enumerate(states):
        middle, end = state.recent.frames, state.context_frames
        keys[:, :, row, :, :middle], values[:, :, row, :, :middle] = state.recent.keys[step], state.recent.values[step]
        keys[:, :, row, :, middle:end] = state.prompt.keys[step]
        values[:, :, row, :, middle:end] = state.prompt.values[step]
        if seen is not None:
            seen[:, row, :end] = True
    tails = torch.stack([s.tails[step] for s in states], dim=2)
    return Context(
        keys.flatten(1, 2), values.flatten(1, 2), None if seen is None else seen.flatten(0, 1), tails.flatten(1, 2)
    )


def _collected(left: Sequence[Left], sessions: int) -> tuple[list[_Kept], list[Tensor]]:
    """What the steps left, by session."""
    keys = _by_session(torch.stack([c.keys for c in left]), sessions)
    values = _by_session(torch.stack([c.values for c in left]), sessions)
    tails = _by_session(torch.stack([c.tails for c in left]), sessions)
    # Copies: a session that ends shall not hold the whole batch's memory through a view.
    kept = [_Kept(keys[:, :, :, row].clone(), values[:, :, :, row].clone()) for row in range(sessions)]
    return kept, [tails[:, :, :, row].clone() for row in range(sessions)]


def _by_session(x: Tensor, sessions: int) -> Tensor:
    """(steps, layers, rows, ...) to (steps, layers, 2, sessions, ...)."""
    return x.reshape(*x.shape[:2], GUIDED, sessions, *x.shape[3:])


def _trimmed(state: FlowState, new: _Kept, window: Window) -> tuple[_Kept, _Kept]:
    """The prompt's part and the recent part after a chunk."""
    if not window.reference_faults:
        return state.prompt, state.recent.before(new).cut(-window.frames, None)
    prompt_frames = state.prompt_tokens * FRAMES_PER_TOKEN
    whole = new.before(state.recent).before(state.prompt)
    if whole.frames > prompt_frames + window.frames:
        whole = whole.cut(0, prompt_frames).before(whole.cut(-window.frames, None))
    return state.prompt.cut(0, 0), whole
