"""`serve`: a server of one's own: the socket, TLS, signals, and a graceful end."""

from __future__ import annotations

import asyncio
import gc
import signal
import socket
import ssl
from collections.abc import Callable, Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import uvicorn
from fastapi import FastAPI

from sayso.errors import UsageError
from sayso.server.host import Host
from sayso.server.logs import set_up_logs
from sayso.server.settings import ServerSettings

PING_S = 20.0
"""How often a WebSocket is asked whether the other side still lives, and how long it may take to say so."""
KEEP_ALIVE_S = 75
"""How long a connection may wait for its next request. Many clients close theirs after 5 seconds: a server that did so
in the same moment would break off their next request."""
CLOSE_S = 5
"""For connections, once all sessions were ended."""
SIGNALS = (signal.SIGINT, signal.SIGTERM)


async def serve(app: FastAPI, on_started: Callable[[str], None] = lambda url: None) -> None:
    """Serve until SIGTERM or SIGINT, then let turns end; a second signal ends at once.

    Args:
        app: From `sayso.server.create_app`; its settings say where.
        on_started: Given the address once the server accepts connections.

    Raises:
        UsageError: The address is taken or none of this machine's, or the certificate cannot be used.
    """
    host: Host = app.state.host
    settings = host.settings
    host.on_ready = _freeze
    check_tls(settings)
    set_up_logs(settings.log_format)
    with listening(settings.host, settings.port) as bound:
        await DrainingServer(config_of(app, settings), host, lambda: on_started(address(bound, settings))).serve(
            [bound]
        )


class DrainingServer(uvicorn.Server):
    """A uvicorn server that lets turns end before it closes connections."""

    def __init__(self, config: uvicorn.Config, host: Host, on_started: Callable[[], None]) -> None:
        super().__init__(config)
        self._host = host
        self._on_started = on_started

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Begin to accept, and say so."""
        await super().startup(sockets)
        if self.started:
            self._on_started()

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        """Stop accepting, let turns end, then close."""
        for server in self.servers:
            server.close()
        await self._host.drain()
        await super().shutdown(sockets)
        if self.force_exit:  # uvicorn leaves the lifespan out then: stores would stay open, and a traceback be logged
            with suppress(TimeoutError):
                await asyncio.wait_for(self.lifespan.shutdown(), CLOSE_S)

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Inside, a signal ends the server and nothing else: the process ends as it would by itself."""
        loop = asyncio.get_running_loop()
        taken = [one for one in SIGNALS if _handle(loop, one, self._stop)]
        try:
            yield
        finally:
            for one in taken:
                loop.remove_signal_handler(one)

    def _stop(self) -> None:
        if self.should_exit:
            self.force_exit = True
            self._host.sessions.hurry()
        self.should_exit = True


def _freeze() -> None:
    """What is loaded by now stays: the garbage collector need not look through it, all sessions waiting, again."""
    gc.collect()
    gc.freeze()


def config_of(app: FastAPI, settings: ServerSettings) -> uvicorn.Config:
    """How uvicorn runs ``app``."""
    return uvicorn.Config(
        app,
        ws="websockets-sansio",  # the faster of its two
        ws_max_size=settings.max_message_bytes,
        ws_ping_interval=PING_S,
        ws_ping_timeout=PING_S,
        ws_per_message_deflate=False,  # sound does not get smaller, and a small message may hold a large one
        limit_concurrency=settings.max_connections,
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        timeout_keep_alive=KEEP_ALIVE_S,
        timeout_graceful_shutdown=CLOSE_S,
        ssl_certfile=settings.tls_cert,
        ssl_keyfile=settings.tls_key,
    )


@contextmanager
def listening(host: str, port: int) -> Generator[socket.socket]:
    """A socket that listens; closed at the end.

    Raises:
        UsageError: The address is taken, or none of this machine's.
    """
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        made = socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise UsageError(
            f"Cannot listen on {host}, port {port}: {error.strerror}.", "Stop what does, or give another --port."
        ) from None
    with socket.socket(fileno=made.detach()) as bound:  # which knows that it is TCP: asyncio asks, and delays nothing
        bound.setblocking(False)
        yield bound


def address(bound: socket.socket, settings: ServerSettings) -> str:
    """Where clients find the server."""
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    return f"{'https' if settings.tls_cert else 'http'}://{host}:{bound.getsockname()[1]}"


def check_tls(settings: ServerSettings) -> None:
    """Refuse a certificate that cannot be used.

    Raises:
        UsageError: Half of it is missing, or a file is none of these.
    """
    if settings.tls_cert is None and settings.tls_key is None:
        return
    if settings.tls_cert is None or settings.tls_key is None:
        raise UsageError("TLS needs a certificate and its key.", "Give --tls-cert and --tls-key.")
    for path in (settings.tls_cert, settings.tls_key):
        _check_file(path)
    try:
        ssl.create_default_context(ssl.Purpose.CLIENT_AUTH).load_cert_chain(settings.tls_cert, settings.tls_key)
    except (ssl.SSLError, ValueError):
        raise UsageError(
            f"{settings.tls_cert} and {settings.tls_key} are no certificate with its key, in PEM."
        ) from None


def _check_file(path: Path) -> None:
    if not path.is_file():
        raise UsageError(f"There is no file {path}.")


def _handle(loop: asyncio.AbstractEventLoop, number: signal.Signals, then: Callable[[], Any]) -> bool:
    try:
        loop.add_signal_handler(number, then)
    except (NotImplementedError, ValueError, RuntimeError):  # Windows, or no main thread: Ctrl+C still ends it
        return False
    return True
