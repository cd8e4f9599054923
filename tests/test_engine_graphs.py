"""Recording of CUDA graphs, with stand-ins for CUDA: what is asked of torch, in which order, and what if it fails."""

import inspect
import logging
import threading
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch

from sayso.engine import graphs
from sayso.engine.graphs import WARM_UPS, Recorder, free_unused
from sayso.engine.steps import Steps


class Stream:
    """A stream that knows for whom it waited."""

    def __init__(self, device: Any = None, priority: int = 0) -> None:
        self.priority = priority
        self.waited: list[Any] = []

    def wait_stream(self, other: Any) -> None:
        self.waited.append(other)


class Cuda:
    """Stands in for the parts of `torch.cuda` that recording needs."""

    def __init__(self) -> None:
        self.now: Any = Stream()
        self.streams: list[Stream] = []
        self.recorded: list[tuple[Any, Any, str]] = []
        self.replayed = 0
        self.recording = 0

    def make_stream(self, *arguments: Any, **named: Any) -> Stream:
        real: Any = REAL_STREAM
        inspect.signature(real.__new__).bind(real, *arguments, **named)
        self.streams.append(Stream(*arguments, **named))
        return self.streams[-1]

    def current(self, device: Any = None) -> Any:
        return self.now

    @contextmanager
    def stream(self, stream: Any) -> Generator[None]:
        before, self.now = self.now, stream
        try:
            yield
        finally:
            self.now = before

    @contextmanager
    def graph(self, *arguments: Any, **named: Any) -> Generator[None]:
        inspect.signature(REAL_GRAPH.__init__).bind(None, *arguments, **named)
        assert vars(graphs)["_recording"].locked()
        self.recording += 1
        assert self.recording == 1, "two at once"
        before, self.now = self.now, named["stream"]
        self.recorded.append((named["pool"], named["stream"], named["capture_error_mode"]))
        try:
            yield
        finally:
            self.recording -= 1
        self.now = before  # as torch's own: not where the recording fails

    def make_graph(self) -> Any:
        cuda = self

        class Graph:
            def pool(self) -> str:
                return "the pool"

            def replay(self) -> None:
                cuda.replayed += 1

        return Graph()


REAL_GRAPH, REAL_STREAM = torch.cuda.graph, torch.cuda.Stream


@pytest.fixture
def cuda(monkeypatch: pytest.MonkeyPatch) -> Cuda:
    one = Cuda()
    monkeypatch.setattr(torch.cuda, "Stream", one.make_stream)
    monkeypatch.setattr(torch.cuda, "stream", one.stream)
    monkeypatch.setattr(torch.cuda, "current_stream", one.current)
    monkeypatch.setattr(torch.cuda, "graph", one.graph)
    monkeypatch.setattr(torch.cuda, "CUDAGraph", one.make_graph)
    return one


def test_it_warms_up_and_records_on_one_stream_and_shares_memory(cuda: Cuda) -> None:
    recorder, ran = Recorder(torch.device("cuda"), priority=-1), list[Any]()
    outside = cuda.now
    for _ in range(2):
        replay, made = recorder.record(lambda: ran.append(cuda.now) or "made")
        replay()
        assert made == "made" and cuda.now is outside
    (own,) = cuda.streams
    assert own.priority == -1 and ran == [own] * 2 * (WARM_UPS + 1)
    assert cuda.recorded == [(None, own, "thread_local"), ("the pool", own, "thread_local")]
    assert own.waited == [outside] * 2 and outside.waited == [own] * 2 and cuda.replayed == 2


def test_threads_record_one_after_another(cuda: Cuda) -> None:
    recorder, start = Recorder(torch.device("cuda")), threading.Barrier(4)

    def record() -> None:
        start.wait(20)
        recorder.record(lambda: None)

    threads = [threading.Thread(target=record) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(20)
    assert len(cuda.recorded) == 4


def test_where_recording_fails_steps_go_on_without(
    cuda: Cuda, tiny_network: Callable[..., Any], caplog: pytest.LogCaptureFixture
) -> None:
    network = tiny_network()
    plain, steps = Steps(network, False), Steps(network, True)
    ids, positions = torch.tensor([3, 4]), torch.tensor([0, 0])
    expected, outside, step = plain(ids, positions, 160), cuda.now, network.step

    def fails(*arguments: Any) -> Any:
        if cuda.recording:
            raise RuntimeError("operation not permitted when stream is capturing")
        return step(*arguments)

    network.step = fails
    with caplog.at_level(logging.WARNING):
        torch.testing.assert_close(steps(ids, positions, 160), expected)
    assert "2 rows and 160 positions cannot be a CUDA graph" in caplog.text and "not permitted" in caplog.text
    assert cuda.now is outside and not steps.graphs
    torch.testing.assert_close(steps(ids, positions, 160), expected)
    assert len(cuda.recorded) == 1  # it is not tried again


def test_no_memory_for_a_graph_is_no_reason_to_go_on_without(cuda: Cuda) -> None:
    def no_memory() -> None:
        raise torch.OutOfMemoryError("CUDA out of memory")

    with pytest.raises(torch.OutOfMemoryError):
        Recorder(torch.device("cuda")).try_record(no_memory, "This")
    assert not vars(graphs)["_recording"].locked()


def test_memory_is_given_back_only_where_there_is_cuda(monkeypatch: pytest.MonkeyPatch) -> None:
    freed: list[bool] = []
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: freed.append(vars(graphs)["_recording"].locked()))
    free_unused()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    free_unused()
    assert freed == [True]
