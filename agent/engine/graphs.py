"""CUDA graphs: work that is recorded once and then replayed, without the cost of launching each of its kernels."""

from __future__ import annotations

import logging
from collections.abc import Callable
from threading import Lock
from typing import Any, TypeVar

import torch

T = TypeVar("T")
WARM_UPS = 3
"""Runs before the recording: libraries make their handles and workspaces then, which they could not while recording."""

_log = logging.getLogger(__name__)
_recording = Lock()


class Recorder:
    """Records work on one CUDA device.

    Graphs of one recorder share their memory. So they are replayed one after another, on one stream, and what one of
    them leaves has to be copied before the next is replayed.

    Args:
        device: A CUDA device.
        priority: Of the kernels: they keep that of the stream that they were recorded on; -1 is above 0.
    """

    def __init__(self, device: torch.device, priority: int = 0) -> None:
        self._device, self._priority = device, priority
        self._stream: torch.cuda.Stream | None = None
        self._pool: Any = None

    def record(self, work: Callable[[], T]) -> tuple[Callable[[], None], T]:
        """Run ``work`` a few times and record it.

        It reads and writes the same memory in every replay: what it reads has to stay where it is, and must not be
        made inside. It may not wait for the device.

        Returns:
            What replays it on the current stream, and what it returns, which each replay overwrites.

        Raises:
            RuntimeError: It cannot be recorded.
        """
        # One at a time in the process: to begin, torch waits for the device, which breaks another recording.
        with _recording, torch.cuda.stream(torch.cuda.current_stream(self._device)):  # restored whatever happens
            if self._stream is None:  # of one stream for all, because each has a workspace of up to 32 MB
                self._stream = torch.cuda.Stream(self._device, priority=self._priority)
            stream, graph = self._stream, torch.cuda.CUDAGraph()
            stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(stream):
                for _ in range(WARM_UPS):
                    work()
            torch.cuda.current_stream().wait_stream(stream)
            # What other threads do on the device meanwhile does not break the recording.
            with torch.cuda.graph(graph, pool=self._pool, stream=stream, capture_error_mode="thread_local"):
                made = work()
            self._pool = graph.pool()
            return graph.replay, made

    def try_record(self, work: Callable[[], T], what: str) -> tuple[Callable[[], None], T] | None:
        """`record`; None, and a warning, where that fails for another reason than memory.

        Raises:
            torch.OutOfMemoryError: There is no memory left for it.
        """
        try:
            return self.record(work)
        except torch.OutOfMemoryError:
            raise
        except RuntimeError as error:
            _log.warning("%s cannot be a CUDA graph and is launched anew each time, which is slower: %s", what, error)
            return None


def free_unused() -> None:
    """Give memory that torch keeps for later back to the device; nothing without CUDA."""
    if torch.cuda.is_available():
        with _recording:
            torch.cuda.empty_cache()
