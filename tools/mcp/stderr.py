"""What a server that is a program says on its standard error: to the log, and the end of it into error messages."""

from __future__ import annotations

import asyncio
import logging
import os
from collections import deque
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import TextIO

from sayso.settings import redact
from sayso.tools.text import neutralise

MAX_LINE_CHARS = 500
MAX_LINES = 5
_log = logging.getLogger(__name__)


class Stderr(asyncio.Protocol):
    """Reads the far end of a pipe, line by line.

    Args:
        name: Whose it is, for the log.
    """

    def __init__(self, name: str) -> None:
        self._name = name
        self._partial = ""
        self._lines: deque[str] = deque(maxlen=MAX_LINES)

    @property
    def tail(self) -> str:
        """The last lines, on one."""
        return " / ".join([*self._lines, *filter(None, [self._partial.strip()])])[-MAX_LINE_CHARS:]

    def data_received(self, data: bytes) -> None:
        """From the pipe."""
        *lines, partial = (self._partial + data.decode("utf-8", "replace")).split("\n")
        self._partial = partial[-MAX_LINE_CHARS:]
        for line in lines:
            clean = redact(neutralise(line.strip()))[:MAX_LINE_CHARS]
            if clean:
                self._lines.append(clean)
                _log.info("MCP server '%s': %s", self._name, clean)


@asynccontextmanager
async def open_stderr(name: str) -> AsyncGenerator[tuple[Stderr, TextIO]]:
    """A pipe: what is read from it, and the file for a program to write to."""
    reading, writing = os.pipe()
    with os.fdopen(writing, "w") as file:
        transport, lines = await asyncio.get_running_loop().connect_read_pipe(
            lambda: Stderr(name), os.fdopen(reading, "rb", 0)
        )
        try:
            yield lines, file
        finally:
            transport.close()
