"""The estimator at fixed shapes, so that CUDA can replay its launches instead of making them anew.

Ten steps of sixteen blocks are some three thousand small launches a chunk; replayed as a graph they cost one each
step. A graph needs equal shapes and equal addresses: the context is padded to a whole number of `CONTEXT_FRAMES`
and copied, with the input, into buffers that belong to the graph, and results are copied out of it. The buffers hold
one batch for one step only; what a session keeps never lies in them, so that sessions cannot meet there.

Without CUDA the same class runs the same network over the same buffers, step by step: its twin for tests.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.models.step_audio2.token2wav.dit import Context, Estimator, Left, Modulation

CONTEXT_FRAMES = 128
"""A context is padded to a multiple of this, so that a few graphs serve prompts of all lengths."""
MAX_GRAPHS = 16
"""The oldest goes first; with it go its buffers, some 0.1 GB a session and graph at full size in half precision."""
WARMUP_RUNS = 3

Shape = tuple[int, int, int]
Estimate = Callable[[Tensor, Modulation, Context], tuple[Tensor, Left]]


def padded_frames(frames: int) -> int:
    """The context length that a graph is captured for."""
    return max(1, -(-frames // CONTEXT_FRAMES)) * CONTEXT_FRAMES


@dataclass(frozen=True, slots=True)
class _Captured:
    """The buffers of one shape, and what runs over them."""

    x: Tensor
    modulation: Modulation
    context: Context
    out: Tensor
    left: Left
    replay: Callable[[], None]


class FixedShapes:
    """Runs an estimator at fixed shapes; `estimate` takes what `Estimator.forward` takes, with a context.

    Not safe to call from two threads at once; the owner holds a lock.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._captured: dict[Shape, _Captured] = {}

    @property
    def shapes(self) -> list[Shape]:
        """The shapes seen so far: (rows, frames, context frames)."""
        return list(self._captured)

    def estimate(self, x: Tensor, modulation: Modulation, context: Context) -> tuple[Tensor, Left]:
        """See `Estimator.forward`; the context's length has to be a multiple of `CONTEXT_FRAMES`."""
        shape = (x.shape[0], x.shape[1], context.keys.shape[3])
        captured = self._captured.get(shape)
        if captured is None:
            if len(self._captured) >= MAX_GRAPHS:
                self._captured.pop(next(iter(self._captured)))
            captured = self._captured[shape] = self._capture(x, modulation, context)
        _copy(captured, x, modulation, context)
        captured.replay()
        left = captured.left
        return captured.out.clone(), Left(left.keys.clone(), left.values.clone(), left.tails.clone())

    def _capture(self, x: Tensor, modulation: Modulation, context: Context) -> _Captured:
        own_x = x.clone()
        own_modulation = Modulation(modulation.blocks.clone(), modulation.final.clone())
        own = Context(context.keys.clone(), context.values.clone(), _seen(context).clone(), context.tails.clone())
        if x.device.type != "cuda":
            out, left = self._estimator(own_x, own_modulation, own)

            def rerun() -> None:
                new_out, new_left = self._estimator(own_x, own_modulation, own)
                out.copy_(new_out)
                left.keys.copy_(new_left.keys)
                left.values.copy_(new_left.values)
                left.tails.copy_(new_left.tails)

            return _Captured(own_x, own_modulation, own, out, left, rerun)
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(WARMUP_RUNS):
                self._estimator(own_x, own_modulation, own)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # Only this thread is captured: the language model may be allocating memory in another.
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            out, left = self._estimator(own_x, own_modulation, own)
        return _Captured(own_x, own_modulation, own, out, left, graph.replay)


def _copy(captured: _Captured, x: Tensor, modulation: Modulation, context: Context) -> None:
    captured.x.copy_(x)
    captured.modulation.blocks.copy_(modulation.blocks)
    captured.modulation.final.copy_(modulation.final)
    captured.context.keys.copy_(context.keys)
    captured.context.values.copy_(context.values)
    _seen(captured.context).copy_(_seen(context))
    captured.context.tails.copy_(context.tails)


def _seen(context: Context) -> Tensor:
    """What is padding; at fixed shapes this is always said."""
    if context.seen is None:
        return context.keys.new_ones(context.keys.shape[1], context.keys.shape[3], dtype=torch.bool)
    return context.seen
