"""What bad clients do to the server and to the others; see `benchmarks.server_abuse`."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import time
from collections import Counter
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import httpx

from benchmarks.server.malformed import FRAMES, Protocol, malformed
from benchmarks.server.process import AGENT, PIECE_MS, Server
from benchmarks.server.socket import Socket, connect
from benchmarks.server.talk import REALTIME, Talker, quantile

PROBE = "probe-"
PART = 50
"""Messages that are sent before what came of them is waited for."""


@dataclass
class Verdict:
    """What came of malformed messages. ``hung``, ``faults`` and ``extra`` have to stay 0.

    Attributes:
        sent: So many.
        refused: Answered with one `error`.
        taken: That turned out to be good.
        closed: That ended their connection in order.
        extra: Answered with several errors.
        faults: Answered with an error of the server's own.
        hung: Not answered, and nothing behind them either.
        codes: Of the errors.
    """

    sent: int = 0
    refused: int = 0
    taken: int = 0
    closed: int = 0
    extra: int = 0
    faults: int = 0
    hung: int = 0
    codes: Counter[str] = field(default_factory=Counter[str])


class _Probing:
    """A connection on which each message is followed by one whose answer is known."""

    def __init__(self, protocol: Protocol) -> None:
        self._protocol = protocol
        self.errors: list[list[str]] = [[]]  # between probes
        self.awake = asyncio.Event()
        self.socket: Socket

    async def open(self, url: str, path: str) -> _Probing:
        self.socket = await connect(url, path, self._take)
        self.socket.is_closed.add_done_callback(lambda _: self.awake.set())
        return self

    def probe(self, number: int) -> None:
        """Ask for what is known not to be there."""
        name = f"{PROBE}{number}"
        if self._protocol == "realtime":
            self.socket.send({"type": "conversation.item.retrieve", "item_id": name, "event_id": name})
        else:
            self.socket.send({"type": "voice", "voice": name})

    def _take(self, message: bytes, now_ns: int) -> None:
        if message[:1] != b"{" or b'"type":"error"' not in message[:120]:
            return
        error = json.loads(message)["error"]
        if PROBE in f"{error.get('event_id')} {error['message']}":
            self.errors.append([])
        else:
            kind = "server_error" if error["type"] == "server_error" else (error.get("code") or "other")
            self.errors[-1].append(kind)
        self.awake.set()


async def send_malformed(url: str, protocol: Protocol, messages: Sequence[str | bytes]) -> Verdict:
    """Send them all, on as many connections as they end, and see what comes of each."""
    verdict, at, path = Verdict(), 0, REALTIME
    async with httpx.AsyncClient(base_url=url, timeout=30) as http:
        while at < len(messages):
            if protocol == "agents":
                id = (await http.post(f"/v1/agents/{AGENT}/sessions", json={})).json()["id"]
                path = f"/v1/agents/{AGENT}/sessions/{id}/live"
            one = await _Probing(protocol).open(url, path)
            at += await _send_some(one, messages[at:], verdict)
            if one.socket.is_closed.done():
                verdict.closed += 1
                at += 1  # the one that did it
                verdict.sent += 1
            else:
                await one.socket.close()
    return verdict


async def _send_some(one: _Probing, messages: Sequence[str | bytes], verdict: Verdict) -> int:
    """Send them until they end, or the connection does; how many were answered."""
    done = 0
    for start in range(0, len(messages), PART):
        part = messages[start : start + PART]
        for number, message in enumerate(part, start):
            if isinstance(message, bytes):
                one.socket.send_bytes(message)
            else:
                one.socket.send_text(message.encode("utf-8", "surrogatepass"))
            one.probe(number)
        try:
            async with asyncio.timeout(30):
                while len(one.errors) - 1 < start + len(part) and not one.socket.is_closed.done():
                    one.awake.clear()
                    await one.awake.wait()
        except TimeoutError:
            verdict.hung += 1
            return len(messages)
        for kinds in one.errors[done : len(one.errors) - 1]:
            done += 1
            verdict.sent += 1
            verdict.refused += len(kinds) == 1
            verdict.taken += not kinds
            verdict.extra += len(kinds) > 1
            verdict.faults += "server_error" in kinds
            verdict.codes.update(kinds)
        if one.socket.is_closed.done():
            break
    return done


async def send_frames(url: str) -> list[str]:
    """Send each of `FRAMES` on a connection of its own; the names of those that did not end it."""
    left: list[str] = []
    for name, data in FRAMES.items():
        socket = await connect(url, REALTIME, lambda message, now_ns: None)
        socket.transport.write(data)
        try:
            async with asyncio.timeout(5):
                await socket.is_closed
        except TimeoutError:
            left.append(name)
            socket.transport.abort()
    return left


@dataclass
class Harm:
    """What the others felt meanwhile.

    Attributes:
        p99_ms: Of their deltas' way to them; and before.
        grown_mb: The most that the server's memory grew.
        lost: Sessions of the others that ended.
    """

    p99_ms: float = 0.0
    before_ms: float = 0.0
    grown_mb: float = 0.0
    lost: int = 0


@asynccontextmanager
async def watched(server: Server, others: int, seconds: float) -> AsyncGenerator[Harm]:
    """Inside, ``others`` sessions are sent 25 deltas a second, for ``seconds`` before and at the end too."""
    harm, talkers = Harm(), [await Talker().connect(server.url) for _ in range(others)]
    for one in talkers:
        one.ask(10_000, PIECE_MS)
    await asyncio.sleep(seconds)
    start = server.figures(collect=True).rss_bytes
    began_ns = time.monotonic_ns()

    async def look() -> None:
        while True:
            await asyncio.sleep(0.25)
            harm.grown_mb = max(harm.grown_mb, (server.figures().rss_bytes - start) / 1e6)

    looking = asyncio.create_task(look())
    try:
        yield harm
        await asyncio.sleep(seconds)
    finally:
        looking.cancel()
        ways = [
            (sent, (arrived - sent) / 1e6)
            for one in talkers
            for sent, arrived in zip(one.sent_ns, one.arrived_ns, strict=True)
        ]
        harm.before_ms = quantile([way for sent, way in ways if sent < began_ns], 0.99)
        harm.p99_ms = quantile([way for sent, way in ways if sent >= began_ns], 0.99)
        harm.lost = sum(one.socket.is_closed.done() for one in talkers)
        for one in talkers:
            if not one.socket.is_closed.done():
                await one.socket.close()


async def read_slowly(server: Server, readers: int, deltas: int, within_s: float) -> int:
    """Ask for much speech and read none of it; how many were let go."""
    others = server.figures().sessions
    slow = [await Talker().connect(server.url) for _ in range(readers)]
    for one in slow:
        one.ask(deltas, 0)
        one.socket.transport.pause_reading()
    await asyncio.sleep(within_s)
    left = server.figures().sessions - others
    for one in slow:
        one.socket.transport.abort()
    return readers - left


async def half_open(server: Server, count: int) -> None:
    """Connections that stop in the middle of a request or of a handshake, and say nothing more."""
    host, port = server.url.removeprefix("http://").split(":")
    begun = (b"", b"GET /v1/realtime HTTP/1.1\r\nHost: localhost", b"POST /v1/chat/completions HTTP/1.1\r\n")
    open = [await asyncio.open_connection(host, int(port)) for _ in range(count)]
    for number, (_, writer) in enumerate(open):
        writer.write(begun[number % len(begun)])
    sockets = [await connect(server.url, REALTIME, lambda message, now_ns: None) for _ in range(count)]
    for number, socket in enumerate(sockets):
        if number % 2:
            socket.transport.write(b"\x81\xfe\xff\xff")  # a message that never comes
        socket.transport.pause_reading()
    await asyncio.sleep(2)
    for _, writer in open:
        writer.close()
        with contextlib.suppress(OSError):
            await writer.wait_closed()
    for socket in sockets:
        socket.transport.abort()


async def flood(url: str, bytes_a_second: int, seconds: float) -> None:
    """Sound that comes faster than it was spoken."""
    one, size = await Talker().connect(url), bytes_a_second // 20
    message = b'{"type":"input_audio_buffer.append","audio":"' + base64.b64encode(bytes(size & ~1)) + b'"}'
    since_s = time.monotonic()
    for number in range(int(seconds * 20)):
        one.socket.send_text(message)
        await asyncio.sleep(max(0.0, since_s + (number + 1) / 20 - time.monotonic()))
    await _taken(one, 120)


async def silence(url: str, hours: float) -> float:
    """Silence as fast as the server takes it; the seconds it took."""
    one, since_s = await Talker().connect(url), time.monotonic()
    second = b'{"type":"input_audio_buffer.append","audio":"' + base64.b64encode(bytes(48_000)) + b'"}'
    for number in range(int(hours * 3600)):
        one.socket.send_text(second)
        if number % 60 == 59:
            await _taken(one, 120, close=False)
    await _taken(one, 120)
    return time.monotonic() - since_s


async def _taken(one: Talker, within_s: float, *, close: bool = True) -> None:
    """Wait until all that was sent was heard: an answer to a question behind it."""
    one.error = ""
    one.socket.send({"type": "conversation.item.retrieve", "item_id": "nobody"})
    async with asyncio.timeout(within_s):
        while not one.error:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    if close:
        await one.socket.close()


def made(protocol: Protocol, count: int, seed: int = 0) -> list[str | bytes]:
    """Malformed messages, all of them."""
    return list(malformed(protocol, count, seed))
