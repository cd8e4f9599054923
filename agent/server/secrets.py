"""`Secrets`: keys for a few minutes, which an app's server gets for the browsers that it serves."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

import orjson

from sayso.items import JsonObject
from sayso.server.auth import Caller
from sayso.server.errors import LimitReached

PREFIX = "ek_"
MOST = 10_000
"""That count at a time; each is forgotten when its time is over."""


@dataclass(frozen=True, slots=True)
class Secret:
    """What is kept of one.

    Attributes:
        caller: Whose it is: limits are those of the key that it was made with.
        expires_s: Unix time.
        session: What sessions that are opened with it are set to, as ``session.update`` has it.
    """

    caller: Caller
    expires_s: float
    session: JsonObject

    @property
    def update(self) -> str | None:
        """The ``session.update`` that does so; None where nothing is set."""
        session = {name: value for name, value in self.session.items() if name != "model"}
        return orjson.dumps({"type": "session.update", "session": session}).decode() if session else None


class Secrets:
    """Makes and knows them. They are in memory only: a server that starts anew knows none.

    What one let in stays for as long as the key counts that it was made with.

    Args:
        now: Unix time in seconds.
    """

    def __init__(self, now: Callable[[], float] = time.time) -> None:
        self._now = now
        self._known: dict[bytes, Secret] = {}

    def make(self, caller: Caller, seconds: int, session: JsonObject) -> tuple[str, Secret]:
        """A new one, which counts for so many seconds.

        Raises:
            LimitReached: There are too many.
        """
        now_s = self._now()
        if len(self._known) >= MOST:
            self._known = {hash: one for hash, one in self._known.items() if one.expires_s > now_s}
        if len(self._known) >= MOST:
            raise LimitReached("Too many client secrets are out.", "Wait until some expire.", retry_after_s=10)
        token = PREFIX + secrets.token_hex(32)
        secret = self._known[_hash(token)] = Secret(replace(caller, operator=False), now_s + seconds, session)
        return token, secret

    def find(self, token: str | None) -> Secret | None:
        """The one that ``token`` is, where it counts."""
        if token is None or not token.startswith(PREFIX):
            return None
        secret = self._known.get(_hash(token))
        return secret if secret is not None and secret.expires_s > self._now() else None

    def verify(self, token: str) -> Caller | None:
        """Whose it is, or None where it does not count."""
        secret = self.find(token)
        return None if secret is None else secret.caller

    def is_valid(self, caller: Caller) -> bool:
        """Nobody: who was let in by one is known by the key that it was made with."""
        return False


def _hash(token: str) -> bytes:
    """Looked up in place of the token: how long that takes tells nothing about it."""
    return hashlib.blake2b(token.encode(), digest_size=32).digest()
