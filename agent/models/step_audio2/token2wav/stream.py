"""Speech tokens as they come, samples as soon as they can be: one stream a spoken answer.

Tokens are taken in chunks of 25 (1 s), three more being looked at; a shorter first chunk is heard sooner. Streams that
have a chunk of equal length ready are run together. Whatever a stream keeps is its own and is replaced, never written
to, once its chunk is done: one that is cancelled half way or fails leaves the others as they were.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Protocol, cast

import numpy as np
import torch
from numpy.typing import NDArray

from sayso.errors import UsageError
from sayso.models.step_audio2.token2wav.flow import Flow, FlowState, Window
from sayso.models.step_audio2.token2wav.graphs import TOGETHER
from sayso.models.step_audio2.token2wav.hift import Vocoder
from sayso.models.step_audio2.token2wav.noise import Noise
from sayso.models.step_audio2.token2wav.sizes import CODEBOOK_SIZE, FRAMES_PER_TOKEN, TOKEN_RATE_HZ
from sayso.models.step_audio2.token2wav.vocode import VocoderState, VocoderWork, vocode_chunks

CHUNK_TOKENS = TOKEN_RATE_HZ
Samples = NDArray[np.float32]


class Runner(Protocol):
    """Runs streams; `Token2Wav` is one."""

    def advance(self, feeds: Sequence[Feed]) -> list[Samples]:
        """See `Token2Wav.advance`."""
        ...


class Stream:
    """One spoken answer on its way from tokens to samples. Not for use from two threads at once, but for `cancel`.

    Args:
        runner: Runs it.
        flow: The flow model's state behind the prompt.
        vocoder: The vocoder's state before the first chunk.
        noise: The session's random numbers.
        first_chunk_tokens: Length of the first chunk, 1 to 25.
        lookahead: Tokens looked at behind a chunk.

    Attributes:
        flow: The flow model's state behind the last chunk; replaced, never written to. For runners, as the next two.
        vocoder: The vocoder's.
        noise: The session's random numbers.
    """

    def __init__(
        self,
        runner: Runner,
        flow: FlowState,
        vocoder: VocoderState,
        noise: Noise,
        *,
        first_chunk_tokens: int,
        lookahead: int,
    ) -> None:
        self._runner, self._lookahead = runner, lookahead
        self.flow, self.vocoder, self.noise = flow, vocoder, noise
        self._pending: list[int] = []
        self._size = first_chunk_tokens
        self._ended = False
        self._cancelled = False

    @property
    def cancelled(self) -> bool:
        """Whether it was cancelled."""
        return self._cancelled

    def feed(self, ids: Iterable[int]) -> Samples:
        """Add speech tokens.

        Args:
            ids: Speech tokens, 0 to 6560 each.

        Returns:
            The samples that are due, float32 at 24 kHz; often none.

        Raises:
            UsageError: An id is no speech token, or the stream is over.
        """
        return self._runner.advance([Feed(self, tuple(ids))])[0]

    def flush(self) -> Samples:
        """End the stream: the rest of the samples. In all there are 960 samples for each token."""
        return self._runner.advance([Feed(self, (), last=True)])[0]

    def cancel(self) -> None:
        """Give up, now if it is being run in another thread: nothing more comes out."""
        self._cancelled = True

    def add(self, ids: list[int], *, last: bool) -> None:
        """Take checked ids; for runners."""
        self._pending += ids
        self._ended = self._ended or last

    def check(self) -> None:
        """Raise `UsageError` where it takes no more ids; for runners."""
        if self._ended:
            raise UsageError("This stream has ended.", "Open another one with Token2Wav.stream().")

    def next_chunk(self) -> Chunk | None:
        """The next chunk if its tokens are there; for runners. It goes on being the next until it is `done`."""
        if self._cancelled:
            return None
        if len(self._pending) >= self._size + self._lookahead:
            return Chunk(self, tuple(self._pending[: self._size + self._lookahead]), self._size, last=False)
        if self._ended and self._pending:
            return Chunk(self, tuple(self._pending), len(self._pending), last=True)
        return None

    def done(self, chunk: Chunk, flow: FlowState, vocoder: VocoderState) -> None:
        """Go on behind a chunk; for runners."""
        self.flow, self.vocoder = flow, vocoder
        del self._pending[: chunk.advance]
        self._size = CHUNK_TOKENS


@dataclass(frozen=True, slots=True)
class Feed:
    """What one stream gets: ids, and whether they are its last."""

    stream: Stream
    ids: tuple[int, ...] = ()
    last: bool = False


@dataclass(frozen=True, slots=True)
class Chunk:
    """A stream's next tokens, of which `advance` are spoken and the rest only looked at."""

    stream: Stream
    tokens: tuple[int, ...]
    advance: int
    last: bool

    @property
    def frames(self) -> int:
        """Mel frames that it becomes."""
        return FRAMES_PER_TOKEN * self.advance


def checked_ids(ids: Iterable[int]) -> list[int]:
    """Ids that are speech tokens.

    Raises:
        UsageError: One is not.
    """
    checked: list[int] = []
    for place, value in enumerate(cast("Iterable[object]", ids)):
        if isinstance(value, bool) or not isinstance(value, (int, np.integer)) or not 0 <= value < CODEBOOK_SIZE:
            raise UsageError(
                f"Id {value!r} at place {place} is no speech token.",
                f"Pass whole numbers from 0 to {CODEBOOK_SIZE - 1}: take 151696 off, and leave padding (6561) out.",
            )
        checked.append(int(cast(int, value)))
    return checked


def batches(chunks: Sequence[Chunk], *, rows: int, fixed_shapes: bool) -> list[list[Chunk]]:
    """Sort chunks, at most one a stream, into batches that can be run together: those of equal length.

    Args:
        chunks: What is to be run.
        rows: The most streams to run together.
        fixed_shapes: Each number of rows is a graph of its own: a few powers of two are few graphs.
    """
    groups: dict[tuple[int, bool], list[Chunk]] = {}
    for chunk in chunks:
        groups.setdefault((len(chunk.tokens), chunk.last), []).append(chunk)
    found: list[list[Chunk]] = []
    for (_, last), group in groups.items():
        while group:
            taken = min(rows, len(group))
            if fixed_shapes and not last:
                taken = min(TOGETHER, 1 << taken.bit_length() - 1)
            found.append(group[:taken])
            group = group[taken:]
    return found


def run_batch(flow: Flow, vocoder: Vocoder, group: Sequence[Chunk], window: Window) -> list[tuple[Chunk, Samples]]:
    """Run chunks of equal length and move their streams on; where it fails no stream has moved.

    Args:
        flow: The flow model.
        vocoder: The vocoder.
        group: At most one chunk a stream.
        window: What later chunks see.

    Returns:
        The samples of each chunk that was not given up.
    """
    device = flow.encoder_proj.weight.device
    states = [chunk.stream.flow for chunk in group]
    noise = [c.stream.noise.frames(c.frames, s.context_frames) for c, s in zip(group, states, strict=True)]
    made = flow.chunk(
        states,
        torch.tensor([chunk.tokens for chunk in group], device=device),
        torch.stack(noise).to(device),
        last=group[0].last,
        window=window,
        going=lambda: not all(chunk.stream.cancelled for chunk in group),
    )
    if made is None:
        return []
    mel, new_states = made
    # Rows of streams cancelled meanwhile run on: taking them out would change the others' last digits.
    works = [VocoderWork(c.stream.vocoder, mel[r], c.stream.noise, c.last) for r, c in enumerate(group)]
    waves = vocode_chunks(vocoder, works, reference_faults=window.reference_faults)
    samples = [wave.float().cpu().numpy() for wave, _ in waves]
    results: list[tuple[Chunk, Samples]] = []
    for chunk, flow_state, (_, vocoder_state), heard in zip(group, new_states, waves, samples, strict=True):
        if not chunk.stream.cancelled:
            chunk.stream.done(chunk, flow_state, vocoder_state)
            results.append((chunk, heard))
    return results
