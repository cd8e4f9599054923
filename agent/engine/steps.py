"""A network's step, eager or as a CUDA graph for each shape: a graph has no launch costs."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from sayso.engine.network import Network

_WARM_UPS = 2


class Steps:
    """Runs `Network.step`.

    Captured graphs read the ids and positions that they were captured with, so those have to be the same memory in
    every call of a shape; the logits of one call are overwritten by the next.

    Args:
        network: Whose step.
        graphs: Capture one graph for each number of rows and limit, on CUDA.

    Attributes:
        graphs: Whether it captures.
    """

    def __init__(self, network: Network, graphs: bool) -> None:
        self._network = network
        self.graphs = graphs
        self._captured: dict[tuple[int, int], tuple[Any, Tensor]] = {}
        self._pool: Any = None

    def __call__(self, ids: Tensor, positions: Tensor, limit: int) -> Tensor:
        """One step; see `Network.step`."""
        if not self.graphs:
            return self._network.step(ids, positions, limit)
        shape = len(ids), limit
        if shape not in self._captured:
            self._captured[shape] = self._capture(ids, positions, limit)
        graph, logits = self._captured[shape]
        graph.replay()
        return logits

    def _capture(self, ids: Tensor, positions: Tensor, limit: int) -> tuple[Any, Tensor]:
        """Writing the same ids at the same positions again and again changes nothing, so real ones may warm it up."""
        side = torch.cuda.Stream()
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            for _ in range(_WARM_UPS):
                self._network.step(ids, positions, limit)
        torch.cuda.current_stream().wait_stream(side)
        graph = torch.cuda.CUDAGraph()
        # What other threads do on the device (encode audio, make sound) is not to break the capture.
        with torch.cuda.graph(graph, pool=self._pool, capture_error_mode="thread_local"):
            logits = self._network.step(ids, positions, limit)
        self._pool = graph.pool()
        return graph, logits
