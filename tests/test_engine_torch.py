"""The engine from asyncio: streams, cancellation, time-outs, several event loops, its end."""

import asyncio
import subprocess
import sys
import threading
from collections.abc import Callable
from contextlib import aclosing
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch

from sayso.engine import Engine, Generation
from sayso.engine.torch_engine import TorchEngine
from sayso.errors import ModelError, UsageError
from sayso.models.step_audio2.decoder import CachedDecoder

PROMPT = [5, 17, 3, 42, 42, 8, 60, 11, 2, 33]


def request(session: str = "a", prompt: Any = (PROMPT,), tokens: int = 6, **more: Any) -> Generation:
    return Generation(session, prompt, max_tokens=tokens, **more)


async def ids_of(engine: TorchEngine, asked: Generation) -> list[int]:
    async with aclosing(engine.generate(asked)) as stream:
        return [token_id async for token_id in stream]


def in_engine(network: Any, test: Callable[[TorchEngine], Any], **options: Any) -> Any:
    async def run() -> Any:
        engine = TorchEngine(network, **options)
        try:
            return await asyncio.wait_for(test(engine), 20)
        finally:
            await engine.aclose()

    return asyncio.run(run())


class Gated(CachedDecoder):
    """Steps only while the gate is open."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.gate = threading.Event()
        self.gate.set()
        self.fail = False

    def step(self, ids: torch.Tensor, positions: torch.Tensor, limit: int) -> torch.Tensor:
        assert self.gate.wait(20)
        if self.fail:
            raise RuntimeError("broken")
        return super().step(ids, positions, limit)


def test_sessions_stream_at_once_and_agree_with_one_alone(tiny_network: Callable[..., Any]) -> None:
    async def alone(engine: TorchEngine) -> list[list[int]]:
        return [await ids_of(engine, request(f"s{at}", [[at, *PROMPT]])) for at in range(8)]

    async def together(engine: TorchEngine) -> list[list[int]]:
        return await asyncio.gather(*(ids_of(engine, request(f"s{at}", [[at, *PROMPT]])) for at in range(8)))

    assert in_engine(tiny_network(slots=9), alone) == in_engine(tiny_network(slots=9), together)


def test_it_is_an_engine(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        assert isinstance(engine, Engine)

    in_engine(tiny_network(), test)


def test_closing_the_stream_stops_the_computation(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        async with aclosing(engine.generate(request(tokens=140))) as stream:
            first = [await anext(stream), await anext(stream)]
        again = engine.generate(request(prompt=[[*PROMPT, *first]], tokens=1))
        assert [token_id async for token_id in again]
        # The session's cache was kept: at most the two ids that were read had to be computed.
        assert again.usage.prefilled_tokens <= 2
        assert stream.usage.generated_tokens < 140
        with pytest.raises(StopAsyncIteration):
            await anext(stream)

    in_engine(tiny_network(), test)


def test_cancelling_the_task_that_waits_stops_the_computation(tiny_network: Callable[..., Any]) -> None:
    network = tiny_network(network=Gated)

    async def test(engine: TorchEngine) -> None:
        network.gate.clear()
        stream = engine.generate(request(tokens=140))
        assert await anext(stream) >= 0
        waiting = asyncio.ensure_future(anext(stream))
        await asyncio.sleep(0)
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        network.gate.set()
        assert len(await ids_of(engine, request())) == 6
        assert stream.usage.generated_tokens < 140

    in_engine(network, test)


def test_a_stream_that_is_dropped_stops(tiny_network: Callable[..., Any]) -> None:
    network = tiny_network(slots=2, network=Gated)

    async def test(engine: TorchEngine) -> None:
        network.gate.clear()
        stream = engine.generate(request(tokens=140))
        await anext(stream)
        usage = stream.usage
        del stream
        network.gate.set()
        assert len(await ids_of(engine, request("b"))) == 6  # it has the only slot
        assert usage.generated_tokens < 140

    in_engine(network, test)


def test_a_stream_that_nobody_reads_computes_nothing(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        stream = engine.generate(request())
        await ids_of(engine, request("b"))
        assert stream.usage.prefilled_tokens == 0
        await stream.aclose()
        assert [token_id async for token_id in stream] == []

    in_engine(tiny_network(), test)


def test_a_request_that_cannot_be_is_refused_at_once(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        with pytest.raises(UsageError, match="Drop the oldest turns"):
            engine.generate(request(prompt=[PROMPT * 20]))
        with pytest.raises(UsageError, match="empty"):
            await engine.warm([])

    in_engine(tiny_network(), test)


def test_an_error_reaches_its_stream_and_the_engine_lives_on(tiny_network: Callable[..., Any]) -> None:
    network = tiny_network(network=Gated)

    async def test(engine: TorchEngine) -> None:
        network.fail = True
        with pytest.raises(ModelError, match="broken"):
            await ids_of(engine, request())
        network.fail = False
        assert len(await ids_of(engine, request())) == 6

    in_engine(network, test)


def test_time_is_up(tiny_network: Callable[..., Any]) -> None:
    times = iter(range(1000))

    async def test(engine: TorchEngine) -> None:
        with pytest.raises(ModelError, match="did not finish within 20 s"):
            await ids_of(engine, request(tokens=140, timeout_s=20))

    in_engine(tiny_network(), test, clock=lambda: float(next(times)))


def test_a_prefix_is_warmed_once(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        await asyncio.gather(*(engine.warm([PROMPT[:7]]) for _ in range(3)))
        stream = engine.generate(request(shared_tokens=7))
        assert len([token_id async for token_id in stream]) == 6
        assert (stream.usage.reused_tokens, stream.usage.prefilled_tokens) == (7, 3)
        engine.release("a")
        stream = engine.generate(request(shared_tokens=7))
        assert len([token_id async for token_id in stream]) == 6
        assert (stream.usage.reused_tokens, stream.usage.prefilled_tokens) == (7, 3)

    in_engine(tiny_network(), test)


def test_it_serves_several_event_loops(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> list[list[int]]:
        def elsewhere(name: str) -> list[int]:
            return asyncio.run(ids_of(engine, request(name)))

        return await asyncio.gather(
            ids_of(engine, request()), asyncio.to_thread(elsewhere, "b"), asyncio.to_thread(elsewhere, "c")
        )

    answers = in_engine(tiny_network(slots=4), test)
    assert answers[0] == answers[1] == answers[2]


def test_an_event_loop_that_is_gone_frees_its_slot(tiny_network: Callable[..., Any]) -> None:
    network = tiny_network(slots=2, network=Gated)

    async def test(engine: TorchEngine) -> None:
        async def begin() -> None:
            network.gate.clear()
            await anext(engine.generate(request(tokens=140)))

        await asyncio.to_thread(asyncio.run, begin())
        network.gate.set()
        assert len(await ids_of(engine, request("b"))) == 6  # it has the only slot

    in_engine(network, test)


def test_closing_the_engine_ends_what_runs_and_refuses_what_comes(tiny_network: Callable[..., Any]) -> None:
    network = tiny_network(network=Gated)

    async def test(engine: TorchEngine) -> None:
        network.gate.clear()
        stream = engine.generate(request(tokens=140))
        await anext(stream)
        closing = asyncio.ensure_future(engine.aclose())
        await asyncio.sleep(0)
        network.gate.set()
        with pytest.raises(ModelError, match="engine was closed"):
            async for _ in stream:
                pass
        await closing
        await engine.aclose()
        with pytest.raises(ModelError, match="engine was closed"):
            await ids_of(engine, request())
        engine.release("a")

    in_engine(network, test)


def test_asking_for_an_engine_loads_neither_torch_nor_numpy() -> None:
    modules = "sayso.engine, " + ", ".join(
        f"sayso.models.step_audio2.{name}" for name in ("tokenizer", "chat", "interleave", "transcript")
    )
    code = f"import {modules}, sys; print(sorted({{'torch', 'numpy', 'tokenizers', 'xgrammar'}} & sys.modules.keys()))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_preparing_is_nothing_without_graphs(tiny_network: Callable[..., Any]) -> None:
    async def test(engine: TorchEngine) -> None:
        await engine.prepare()
        assert len(await ids_of(engine, request())) == 6

    in_engine(tiny_network(), test)
