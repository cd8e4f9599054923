"""A network's step, eager or as a CUDA graph for each shape: a graph has no launch costs."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from torch import Tensor

from sayso.engine.graphs import Recorder
from sayso.engine.network import Network


class Steps:
    """Runs `Network.step`.

    Recorded graphs read the ids and positions that they were recorded with, so those have to be the same memory in
    every call of a shape; the logits of one call are overwritten by the next.

    Args:
        network: Whose step.
        graphs: Record one graph for each number of rows and limit, on CUDA.

    Attributes:
        graphs: Whether it records. Where that fails it is given up, and steps are eager from then on.
    """

    def __init__(self, network: Network, graphs: bool) -> None:
        self._network = network
        self.graphs = graphs
        self._recorder = Recorder(network.device)
        self._recorded: dict[tuple[int, int], tuple[Callable[[], None], Tensor]] = {}

    def __call__(self, ids: Tensor, positions: Tensor, limit: int) -> Tensor:
        """One step; see `Network.step`."""
        shape = len(ids), limit
        if self.graphs and shape not in self._recorded:
            # Writing the same ids at the same positions again and again changes nothing: real ones may warm it up.
            work = partial(self._network.step, ids, positions, limit)
            recorded = self._recorder.try_record(work, f"A step of {len(ids)} rows and {limit} positions")
            if recorded is None:
                self.graphs = False
            else:
                self._recorded[shape] = recorded
        if not self.graphs:
            return self._network.step(ids, positions, limit)
        replay, logits = self._recorded[shape]
        replay()
        return logits
