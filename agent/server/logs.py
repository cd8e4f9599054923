"""Structured logs: one line an event, for people or as JSON, with no speech and no secrets.

What is said and what tools are given is never handed to a logger here; credentials that sayso knows are blotted out of
every line; of an exception the kind and the place are told, never its words or a traceback.
"""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Generator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, TextIO

import orjson

from sayso.events import CallFinished, Event, TurnDone, TurnFailed
from sayso.settings import redact

if TYPE_CHECKING:
    from sayso.server.sessions import OpenSession
    from sayso.server.settings import LogFormat

FIELDS = "sayso_fields"
"""The attribute of a log record that holds its fields."""
TURN_STAGES = ("first_text", "first_sound", "first_audio", "done")

NO_FAULT = "ASGI callable returned without completing handshake."
"""uvicorn says so, as an error, of every WebSocket that was refused with an HTTP answer, such as for a wrong key."""

_log = logging.getLogger(__name__)


def log_event(logger: logging.Logger, event: str, level: int = logging.INFO, /, **fields: object) -> None:
    """Log ``event`` with its fields; those that are None are left out."""
    if logger.isEnabledFor(level):
        logger.log(level, event, extra={FIELDS: {name: value for name, value in fields.items() if value is not None}})


@contextmanager
def log_session(opened: OpenSession) -> Generator[None]:
    """Log the beginning and the end of a session, and between them its turns and calls."""
    session, now = opened.session, asyncio.get_running_loop().time
    named: dict[str, object] = {"session": session.id, "agent": opened.agent, "caller": opened.caller.name}
    turns = 0

    def follow(event: Event) -> None:
        nonlocal turns
        match event:
            case TurnDone():
                turns += 1
                stages = {f"{name}_ms": _ms(event.stages[name]) for name in TURN_STAGES if name in event.stages}
                log_event(_log, "turn done", session=session.id, turn=event.turn, reason=event.reason, **stages)
            case TurnFailed():
                turns += 1
                log_event(_log, "turn failed", logging.WARNING, session=session.id, turn=event.turn)
            case CallFinished():
                told = {"call": event.call_id, "tool": event.name, "status": event.status, "ms": _ms(event.seconds)}
                log_event(_log, "call finished", session=session.id, turn=event.turn, **told)
            case _:
                pass

    log_event(_log, "session opened", **named)
    session.conductor.events.watch(follow)
    try:
        yield
    finally:
        ended_by = opened.ended_by.code if opened.ended_by is not None else "client"
        log_event(
            _log, "session closed", **named, seconds=round(now() - opened.opened_s, 1), turns=turns, ended_by=ended_by
        )


def set_up_logs(format: LogFormat, stream: TextIO | None = None, level: int = logging.INFO) -> None:
    """Send the logs of the server to ``stream`` (None: standard error), in this process and from now on."""
    handler = logging.StreamHandler(stream or sys.stderr)
    handler.setFormatter(JsonLines() if format == "json" else TextLines())
    handler.addFilter(lambda record: record.msg != NO_FAULT)
    for name in ("sayso", "uvicorn"):
        logger = logging.getLogger(name)
        logger.handlers[:] = [handler]
        logger.propagate = False
        logger.setLevel(level if name == "sayso" else logging.WARNING)


class JsonLines(logging.Formatter):
    """One JSON object a line: ``time``, ``level``, ``event``, ``logger`` and the fields."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        line = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "event": record.getMessage(),
            "logger": record.name,
            **_fields(record),
        }
        return redact(orjson.dumps(line, default=str).decode())


class TextLines(logging.Formatter):
    """A line for people: time, level, event, ``field=value``."""

    def format(self, record: logging.LogRecord) -> str:
        """The line."""
        time = datetime.fromtimestamp(record.created).isoformat(sep=" ", timespec="milliseconds")
        fields = "".join(f" {name}={_shown(value)}" for name, value in _fields(record).items())
        message = "".join(one if one.isprintable() else " " for one in record.getMessage())
        return redact(f"{time} {record.levelname.lower():7} {message}{fields}")


def place_of(error: BaseException) -> str:
    """The file and line where ``error`` was raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return "" if trace is None else f"{trace.tb_frame.f_code.co_filename}:{trace.tb_lineno}"


def _fields(record: logging.LogRecord) -> dict[str, Any]:
    fields: dict[str, Any] = dict(getattr(record, FIELDS, {}))
    if record.exc_info and record.exc_info[1] is not None:
        error = record.exc_info[1]
        fields |= {"error": type(error).__name__, "at": place_of(error)}
    return fields


def _shown(value: object) -> str:
    text = str(value)
    return text if text and all(one.isprintable() and one not in ' "=' for one in text) else json.dumps(text)


def _ms(seconds: float) -> int:
    return round(seconds * 1000)
