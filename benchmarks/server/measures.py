"""What is measured, a function each; see `benchmarks.server.__main__` for what has to be reached."""

from __future__ import annotations

import asyncio
import gc
import time
from collections.abc import Callable, Coroutine
from contextlib import aclosing
from typing import Any

import httpx
import numpy as np

from benchmarks.server.process import AGENT, PIECE_MS, RATE_HZ, Server, agent
from benchmarks.server.socket import connect
from benchmarks.server.talk import Talker, quantile, turn_detection
from sayso.events import AudioDelta
from sayso.speech.audio import to_pcm16
from sayso.speech.endpointing import Endpointer
from sayso.speech.vad import FRAME_SAMPLES, VoiceActivity

FRAME_MS = 20
AT_ONCE = 50
"""Connections that are opened at the same time."""


async def push(server: Server, count: int, talkers: int) -> dict[str, float]:
    """Deltas of speech that are made as fast as can be, in ``talkers`` sessions at once."""
    open = await _talkers(server, talkers)
    before = server.figures()
    for one in open:
        one.ask(count // talkers, 0)
    await asyncio.gather(*(one.done() for one in open))
    cpu_s = server.figures().cpu_s - before.cpu_s
    arrived = sorted(at for one in open for at in one.arrived_ns)
    await _close(open)
    seconds = (arrived[-1] - arrived[0]) / 1e9
    return {"per_s": (len(arrived) - 1) / seconds, "per_cpu_s": len(arrived) / cpu_s}


async def steady(server: Server, talkers: int, seconds: float) -> dict[str, float]:
    """Milliseconds that a delta is on its way, where each of ``talkers`` sessions is sent 25 a second."""
    open = await _talkers(server, talkers)
    before, since_s = server.figures(), time.monotonic()
    for one in open:
        one.ask(int(seconds * 1000 / PIECE_MS), PIECE_MS)
        await asyncio.sleep(PIECE_MS / 1000 / talkers)
    await asyncio.gather(*(one.done(seconds + 60) for one in open))
    after, took_s = server.figures(), time.monotonic() - since_s
    late = [
        (arrived - sent) / 1e6
        for one in open
        for sent, arrived in zip(one.sent_ns, one.arrived_ns, strict=True)
        if sent - min(one.sent_ns) > 5e8  # while turns begin, others of them begin
    ]
    await _close(open)
    return {
        "p50_ms": quantile(late, 0.5),
        "p99_ms": quantile(late, 0.99),
        "max_ms": max(late),
        "core": (after.cpu_s - before.cpu_s) / took_s,
        "waited": (after.waited_s - before.waited_s) / took_s,
        "count": len(late),
    }


async def frames(server: Server, talkers: int, seconds: float, *, detect: bool) -> float:
    """Percent of a core that a session costs which is sent 50 frames of sound a second."""
    open = await _talkers(server, talkers)
    for one in open:
        one.socket.send(turn_detection(detect))
    messages = _frames(seconds)
    await asyncio.sleep(0.2)
    before, since_s = server.figures().cpu_s, time.monotonic()
    for number, message in enumerate(messages):
        for at, one in enumerate(open):
            one.socket.send_text(message)
            if at % 8 == 7:
                await asyncio.sleep(0)
        await asyncio.sleep(max(0.0, since_s + (number + 1) * FRAME_MS / 1000 - time.monotonic()))
    took_s, cpu_s = time.monotonic() - since_s, server.figures().cpu_s - before
    await _close(open)
    assert not any(one.error for one in open)
    return 100 * cpu_s / took_s / talkers


def hearing(seconds: float) -> dict[str, float]:
    """Percent of a core that it costs to find speech in a live stream: in whole, and of that the network alone."""
    sound = _noise(seconds)
    size = RATE_HZ * FRAME_MS // 1000
    stream, detector = Endpointer(RATE_HZ), VoiceActivity()
    since_s = time.process_time()
    for start in range(0, len(sound), size):
        stream.feed(sound[start : start + size])
    whole_s, since_s = time.process_time() - since_s, time.process_time()
    for start in range(0, int(seconds * 16_000) - FRAME_SAMPLES, FRAME_SAMPLES):
        detector.probability(sound[start : start + FRAME_SAMPLES])
    return {"whole": 100 * whole_s / seconds, "network": 100 * (time.process_time() - since_s) / seconds}


async def idle_realtime(server: Server, count: int) -> float:
    """Bytes of memory that a session costs in which nothing happens."""
    await _churn_realtime(server, AT_ONCE)  # what is imported and kept once
    before = server.figures(collect=True)
    open = await _talkers(server, count)
    grown = server.figures(collect=True).rss_bytes - before.rss_bytes
    await _close(open)
    return grown / count


async def idle_agents(server: Server, count: int) -> float:
    """As `idle_realtime`, of the agent endpoint."""
    await _churn_agents(server, AT_ONCE)
    before = server.figures(collect=True)
    async with _http(server) as http:
        await _create(http, count)
        return (server.figures(collect=True).rss_bytes - before.rss_bytes) / count


async def curve(server: Server, count: int, tell: Callable[[str], None]) -> dict[str, list[float]]:
    """Megabytes of memory while sessions are opened, used for a turn, and closed: at ten points, by protocol."""
    found: dict[str, list[float]] = {}
    for name, churn in (("realtime", _churn_realtime), ("agents", _churn_agents)):
        await churn(server, max(AT_ONCE, count // 20))
        points = [server.figures(collect=True).rss_bytes / 1e6]
        for step in range(10):
            await churn(server, count // 10)
            figures = server.figures(collect=True)
            points.append(figures.rss_bytes / 1e6)
            tell(f"{name} {step + 1}/10: {points[-1]:.1f} MB")
            for line in figures.top:
                tell(f"    {line}")
        found[name] = points
    return found


async def latency(server: Server, turns: int) -> dict[str, dict[str, float]]:
    """Milliseconds to the first sound of a turn, in one process and through the server; taken in turn."""
    own, gaps = agent(), dict[str, list[float]]()

    def note(name: str, began_ns: int, ended_ns: int | None = None) -> None:
        gaps.setdefault(name, []).append(((ended_ns or time.monotonic_ns()) - began_ns) / 1e6)

    first: asyncio.Future[int] = asyncio.get_running_loop().create_future()

    def take(message: bytes, now_ns: int) -> None:
        if b'"audio_delta"' in message and not first.done():
            first.set_result(now_ns)
        elif b'"turn_done"' in message:
            over.set()

    over = asyncio.Event()
    async with own.session() as session, _http(server) as http:
        talker = await Talker().connect(server.url)
        (id,) = await _create(http, 1)
        (other,) = await _create(http, 1)
        live = await connect(server.url, f"/v1/agents/{AGENT}/sessions/{other}/live", take)
        gc.collect()
        for _ in range(turns):
            began = time.monotonic_ns()
            async with aclosing(session.stream("1 0")) as stream:
                async for event in stream:
                    if isinstance(event, AudioDelta):
                        note("in one process", began)
            talker.arrived_ns.clear()
            began = time.monotonic_ns()
            talker.ask(1, 0)
            await talker.done()
            note("/v1/realtime", began, talker.arrived_ns[0])
            began = time.monotonic_ns()
            path, accept = f"/v1/agents/{AGENT}/sessions/{id}/turns", {"Accept": "text/event-stream"}
            async with http.stream("POST", path, json={"text": "1 0"}, headers=accept) as response:
                async for line in response.aiter_lines():
                    if line == "event: audio_delta":
                        note("/v1/agents, SSE", began)
            over.clear()
            first = asyncio.get_running_loop().create_future()
            began = time.monotonic_ns()
            live.send({"type": "say", "text": "1 0"})
            note("/v1/agents, WebSocket", began, await first)
            await over.wait()
        await live.close()
        await _close([talker])
        await _delete(http, [id, other])
    return {name: {"p50_ms": quantile(all, 0.5), "p99_ms": quantile(all, 0.99)} for name, all in gaps.items()}


async def _churn_realtime(server: Server, count: int) -> None:
    async def one() -> None:
        talker = await Talker().connect(server.url)
        talker.ask(1, 0)
        await talker.done()
        await talker.socket.close()

    await _in_parts(one, count)
    await _settled(server)


async def _churn_agents(server: Server, count: int) -> None:
    async with _http(server) as http:

        async def one() -> None:
            (id,) = await _create(http, 1)
            answer = await http.post(f"/v1/agents/{AGENT}/sessions/{id}/turns", json={"text": "1 0"})
            answer.raise_for_status()
            await _delete(http, [id])

        await _in_parts(one, count)
    await _settled(server)


async def _settled(server: Server) -> None:
    """Wait until the server has closed what was left."""
    async with asyncio.timeout(20):
        while server.figures().sessions:  # noqa: ASYNC110
            await asyncio.sleep(0.05)


async def _in_parts(one: Callable[[], Coroutine[Any, Any, None]], count: int) -> None:
    for start in range(0, count, AT_ONCE):
        await asyncio.gather(*(one() for _ in range(min(AT_ONCE, count - start))))


async def _talkers(server: Server, count: int) -> list[Talker]:
    found: list[Talker] = []
    for start in range(0, count, AT_ONCE):
        some = range(min(AT_ONCE, count - start))
        found += await asyncio.gather(*(Talker().connect(server.url) for _ in some))
    return found


async def _close(talkers: list[Talker]) -> None:
    for start in range(0, len(talkers), AT_ONCE):
        await asyncio.gather(*(one.socket.close() for one in talkers[start : start + AT_ONCE]))


def _http(server: Server) -> httpx.AsyncClient:
    limits = httpx.Limits(max_connections=AT_ONCE, max_keepalive_connections=AT_ONCE)
    return httpx.AsyncClient(base_url=server.url, timeout=60, limits=limits)


async def _create(http: httpx.AsyncClient, count: int) -> list[str]:
    ids: list[str] = []
    for _ in range(count):
        answer = await http.post(f"/v1/agents/{AGENT}/sessions", json={})
        answer.raise_for_status()
        ids.append(answer.json()["id"])
    return ids


async def _delete(http: httpx.AsyncClient, ids: list[str]) -> None:
    for id in ids:
        (await http.delete(f"/v1/agents/{AGENT}/sessions/{id}")).raise_for_status()


def _noise(seconds: float) -> np.ndarray[Any, np.dtype[np.float32]]:
    """A quiet room."""
    return (np.random.default_rng(0).standard_normal(int(seconds * RATE_HZ)) * 0.003).astype(np.float32)


def _frames(seconds: float) -> list[bytes]:
    """Messages of 20 ms each."""
    import base64

    from sayso.items import Audio

    data, size = to_pcm16(Audio(_noise(seconds), RATE_HZ)), RATE_HZ * FRAME_MS // 1000 * 2
    head, tail = b'{"type":"input_audio_buffer.append","audio":"', b'"}'
    return [head + base64.b64encode(data[at : at + size]) + tail for at in range(0, len(data), size)]
