"""The estimator at fixed shapes, so that CUDA can replay its launches instead of making them anew.

Ten steps of sixteen blocks are some three thousand small launches a chunk; replayed as a graph they cost one each
step. A graph needs equal shapes and equal addresses: the context is padded to a whole number of `CONTEXT_FRAMES`
and copied, with the input, into buffers that all graphs share, and results are copied out of them. The buffers hold
one batch for one step only; what a session keeps never lies in them, so that sessions cannot meet there.

Without CUDA the same class runs the same network over the same buffers, step by step: its twin for tests.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from sayso.engine.graphs import Recorder
from sayso.models.step_audio2.token2wav.dit import Context, Estimator, Left, Modulation

CONTEXT_FRAMES = 128
"""A context is padded to a multiple of this, so that a few graphs serve prompts of all lengths."""
MAX_GRAPHS = 24
"""The one used longest ago goes first."""
TOGETHER = 4
"""Sessions in a graph at most: 1, 2 and 4 of them are few shapes, and more together are hardly faster."""
PRIORITY = -1
"""Of the streams that make sound, above the language model's: a chunk is little work, and somebody waits to hear it."""

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

    Not safe to call from two threads at once; the owner holds a lock, and keeps to one stream.
    """

    def __init__(self, estimator: Estimator) -> None:
        self._estimator = estimator
        self._recorder = Recorder(estimator.in_proj.weight.device, PRIORITY)
        self._captured: OrderedDict[Shape, _Captured] = OrderedDict()
        self._room: dict[str, Tensor] = {}

    @property
    def shapes(self) -> list[Shape]:
        """The shapes that are kept: (rows, frames, context frames), the one used last at the end."""
        return list(self._captured)

    def estimate(self, x: Tensor, modulation: Modulation, context: Context) -> tuple[Tensor, Left]:
        """See `Estimator.forward`; the context's length has to be a multiple of `CONTEXT_FRAMES`."""
        shape = (x.shape[0], x.shape[1], context.keys.shape[3])
        captured = self._captured.get(shape)
        if captured is None:
            captured = self._captured[shape] = self._capture(x, modulation, context)
            while len(self._captured) > MAX_GRAPHS:
                self._captured.popitem(last=False)
        self._captured.move_to_end(shape)
        _copy(captured, x, modulation, context)
        captured.replay()
        left = captured.left
        return captured.out.clone(), Left(left.keys.clone(), left.values.clone(), left.tails.clone())

    def _capture(self, x: Tensor, modulation: Modulation, context: Context) -> _Captured:
        own_x = self._own("x", x)
        own_modulation = Modulation(
            self._own("blocks", modulation.blocks),
            self._own("final", modulation.final),
        )
        own = Context(
            self._own("keys", context.keys),
            self._own("values", context.values),
            self._own("seen", _seen(context)),
            self._own("tails", context.tails),
        )

        def work() -> tuple[Tensor, Left]:
            return self._estimator(own_x, own_modulation, own)

        recorded = self._recorder.try_record(work, f"An estimate of {tuple(x.shape)}") if x.is_cuda else None
        if recorded is not None:
            replay, (out, left) = recorded
            return _Captured(own_x, own_modulation, own, out, left, replay)
        out, left = work()

        def rerun() -> None:
            new_out, new_left = work()
            out.copy_(new_out)
            left.keys.copy_(new_left.keys)
            left.values.copy_(new_left.values)
            left.tails.copy_(new_left.tails)

        return _Captured(own_x, own_modulation, own, out, left, rerun)

    def _own(self, name: str, value: Tensor) -> Tensor:
        """A copy in memory that all shapes share; it grows to the largest of them."""
        room = self._room.get(name)
        if room is None or room.numel() < value.numel():
            room = self._room[name] = value.new_zeros(value.numel())
        return room[: value.numel()].view(value.shape).copy_(value)


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
