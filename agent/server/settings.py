"""`ServerSettings`: what an operator decides."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Field, SecretStr

from sayso.errors import UsageError

LogFormat: TypeAlias = Literal["text", "json"]

LOOPBACK = ("127.0.0.1", "localhost", "::1")

STOCK_MODELS = ("gpt-", "chatgpt-", "whisper-", "tts-")
"""How the model names begin that stock clients send when nobody chose one: they mean the default agent."""

ORIGIN = re.compile(r"(null|[a-z][a-z0-9+.-]*://[^/?#@\s]+)", re.ASCII)
"""As browsers send it: no path, and lower case."""
HOST = re.compile(r"[^/:?#@*\[\]\s]+|[0-9a-f:]+", re.ASCII)
"""As it is compared: without port and without brackets, lower case."""


class Limits(BaseModel):
    """What one caller may use; None: as much as the server has.

    Attributes:
        sessions: At the same time.
        requests_per_minute: HTTP requests and WebSocket connections, in bursts of as many.
        minutes_per_day: Of speech, in and out, from midnight to midnight UTC.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    sessions: int | None = Field(default=None, ge=1)
    requests_per_minute: int | None = Field(default=None, ge=1)
    minutes_per_day: float | None = Field(default=None, gt=0)


class JwtSettings(BaseModel):
    """Whose JSON Web Tokens are believed. ``sub``, ``exp`` and ``aud`` have to be in them.

    Attributes:
        key: A secret of at least 32 bytes (HS256), or a public key in PEM (RS256).
        audience: What ``aud`` has to be or hold.
        issuer: What ``iss`` has to be; None: anything.
        limits: Of each ``sub``.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    key: SecretStr
    audience: str
    issuer: str | None = None
    limits: Limits = Limits()


class ServerSettings(BaseModel):
    """How the server behaves. Times are in seconds, sizes in bytes.

    Attributes:
        host: The address that it listens on.
        port: 0: one that is free.
        keys: File of API keys (``sayso keys add``); None: none.
        jwt: See `JwtSettings`.
        insecure: Serve callers without a key from other machines too.
        allowed_hosts: Further names that the server is reached by, without port.
        cors: Origins of web pages that may use the server, such as ``https://app.example.org``, beside its own.
        tls_cert: Certificate chain in PEM; with ``tls_key`` the server speaks https and wss.
        tls_key: Its private key.
        anonymous_limits: Of callers without a key, together.
        max_sessions: At the same time, of all callers.
        queue_length: How many may wait for a session; the next one is refused at once.
        queue_s: How long each of them waits.
        idle_s: A session in which nothing happens for so long is ended.
        max_session_s: The longest session.
        drain_s: How long turns may go on once the server is told to stop.
        max_body_bytes: Of an HTTP request.
        max_message_bytes: Of a WebSocket message.
        max_connections: Further ones are answered with 503.
        stock_models: See `STOCK_MODELS`.
        client_mcp: Clients of the Realtime protocol may name MCP servers, which this server then connects to.
        warm: Load the models when the server starts, not when they are first asked.
        conversations: File of what was said in the sessions of the agent endpoint; None: in sayso's data folder.
        trace_content: Put what was said and what tools were given and returned into traces.
        log_format: Lines for people, or one JSON object a line.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    host: str = LOOPBACK[0]
    port: int = Field(default=8000, ge=0, le=65535)
    keys: Path | None = None
    jwt: JwtSettings | None = None
    insecure: bool = False
    allowed_hosts: tuple[str, ...] = ()
    cors: tuple[str, ...] = ()
    tls_cert: Path | None = None
    tls_key: Path | None = None
    anonymous_limits: Limits = Limits()
    max_sessions: int = Field(default=64, ge=1)
    queue_length: int = Field(default=32, ge=0)
    queue_s: float = Field(default=20.0, ge=0)
    idle_s: float = Field(default=600.0, gt=0)
    max_session_s: float = Field(default=7200.0, gt=0)
    drain_s: float = Field(default=30.0, ge=0)
    max_body_bytes: int = Field(default=32 * 2**20, ge=1)
    max_message_bytes: int = Field(default=16 * 2**20, ge=1)
    max_connections: int = Field(default=4096, ge=1)
    stock_models: tuple[str, ...] = STOCK_MODELS
    client_mcp: bool = False
    warm: bool = True
    conversations: Path | None = None
    trace_content: bool = False
    log_format: LogFormat = "text"

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        return self.host in LOOPBACK


def check_names(settings: ServerSettings) -> None:
    """Refuse origins and names that no browser ever sends.

    Raises:
        UsageError: There is one.
    """
    for origin in settings.cors:
        if origin != "*" and (ORIGIN.fullmatch(origin) is None or origin != origin.lower()):
            raise UsageError(f"{origin!r} is no origin of web pages.", "Give one such as https://app.example.org")
    for name in settings.allowed_hosts:
        if HOST.fullmatch(name) is None or name != name.lower():
            raise UsageError(f"{name!r} is no name of a server.", "Give it in lower case, without https:// and port.")
