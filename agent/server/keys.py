"""`KeyFile`: API keys, of which the file holds salted hashes alone."""

from __future__ import annotations

import hashlib
import hmac
import logging
import os
import secrets
import tempfile
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from sayso.errors import UsageError
from sayso.server.auth import Caller
from sayso.server.settings import Limits
from sayso.settings import data_root

PREFIX = "sk-sayso-"
SALT_BYTES = 16
SECRET_BYTES = 32
"""So many random bytes cannot be guessed, however fast the hash is: no slow one is needed."""

_log = logging.getLogger(__name__)


class Key(BaseModel):
    """What is kept of a key.

    Attributes:
        id: The part of it that is no secret.
        name: Whose it is.
        salt: In hexadecimal.
        hash: BLAKE2b of the secret part, keyed with the salt; in hexadecimal.
        created: When; UTC.
        limits: What its holder may use.
        agents: Whom they may talk to; None: everybody.
        operator: They may read the metrics.
        revoked: It does not count any more.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    id: str = Field(pattern=r"^[0-9a-f]{12}$")
    name: str
    salt: str
    hash: str
    created: datetime
    limits: Limits = Limits()
    agents: tuple[str, ...] | None = None
    operator: bool = False
    revoked: bool = False

    @property
    def caller(self) -> Caller:
        """Its holder."""
        agents = None if self.agents is None else frozenset(self.agents)
        return Caller(self.id, self.name, "key", agents, self.limits, self.operator)


class _Stored(BaseModel):
    model_config = ConfigDict(extra="forbid")

    version: int = Field(default=1, ge=1, le=1)
    keys: tuple[Key, ...] = ()


class KeyFile:
    """The keys in a file. What another process changes counts at once.

    Args:
        path: Of the file; it need not exist yet.

    Raises:
        UsageError: It is no file of keys.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._seen: tuple[int, int, int] | None = None
        self._keys: dict[str, Key] = {}
        self._read()

    def keys(self) -> tuple[Key, ...]:
        """All of them, revoked ones too, oldest first."""
        self._refresh()
        return tuple(self._keys.values())

    def add(
        self, name: str, limits: Limits | None = None, agents: tuple[str, ...] | None = None, *, operator: bool = False
    ) -> str:
        """Make a key.

        Returns:
            The key itself. It cannot be had again.

        Raises:
            UsageError: There is one of this name, or the file cannot be written.
        """
        if not name.strip() or not name.isprintable():
            raise UsageError(f"A key cannot be called {name!r}.", "Use a word, such as the name of the app.")
        id, secret, salt = secrets.token_hex(6), secrets.token_urlsafe(SECRET_BYTES), secrets.token_bytes(SALT_BYTES)
        key = Key(
            id=id,
            name=name,
            salt=salt.hex(),
            hash=_hash(secret, salt),
            created=datetime.now(UTC).replace(microsecond=0),
            limits=limits or Limits(),
            agents=agents,
            operator=operator,
        )
        with self._lock():
            self._read()
            if any(known.name == name and not known.revoked for known in self._keys.values()):
                raise UsageError(f"There is a key {name!r} already.", f"Revoke it first: sayso keys revoke {name}")
            self._write((*self._keys.values(), key))
        return f"{PREFIX}{id}-{secret}"

    def revoke(self, name: str) -> Key:
        """Make the key of this name or id count no more.

        Raises:
            UsageError: There is none.
        """
        with self._lock():
            self._read()
            found = [key for key in self._keys.values() if name in (key.name, key.id) and not key.revoked]
            if not found:
                raise UsageError(f"There is no key {name!r}.", "List them with: sayso keys list")
            revoked = found[0].model_copy(update={"revoked": True})
            self._write(revoked if key.id == revoked.id else key for key in self._keys.values())
        return revoked

    def verify(self, token: str) -> Caller | None:
        """Who holds the key ``token``, or None where it is none of these or revoked."""
        self._refresh()
        id, _, secret = token.removeprefix(PREFIX).partition("-")
        key = self._keys.get(id)
        known = key or _NOBODY  # as much work, whether there is such a key or not
        matches = hmac.compare_digest(_hash(secret, bytes.fromhex(known.salt)), known.hash)
        if not (matches and key is not None and token.startswith(PREFIX)) or key.revoked:
            return None
        return key.caller

    def is_valid(self, caller: Caller) -> bool:
        """Whether the caller's key is here and not revoked."""
        self._refresh()
        key = self._keys.get(caller.id)
        return caller.kind == "key" and key is not None and not key.revoked

    def _refresh(self) -> None:
        """Read the file again where it changed; where it cannot be read, what was known goes on to count."""
        if _state(self.path) == self._seen:
            return
        try:
            self._read()
        except UsageError as error:
            self._seen = _state(self.path)
            _log.error("%s", error)

    def _read(self) -> None:
        state = _state(self.path)
        try:
            stored = _Stored.model_validate_json(self.path.read_bytes())
        except FileNotFoundError:
            stored = _Stored()
        except ValidationError:
            raise UsageError(f"{self.path} is no file of API keys.", "Make one with: sayso keys add NAME") from None
        except OSError as error:
            raise UsageError(f"The keys in {self.path} cannot be read: {error.strerror}.") from None
        self._keys, self._seen = {key.id: key for key in stored.keys}, state

    def _write(self, keys: object) -> None:
        """Put the new file in the place of the old one in one step; only its owner may read it."""
        stored = _Stored.model_validate({"keys": keys})
        try:
            handle, name = tempfile.mkstemp(dir=self.path.parent, prefix=self.path.name, suffix=".new")  # mode 0600
            with os.fdopen(handle, "w", encoding="utf-8") as file:
                file.write(stored.model_dump_json(indent=2) + "\n")
            os.replace(name, self.path)
        except OSError as error:
            raise UsageError(f"The keys cannot be written to {self.path}: {error.strerror}.") from None
        self._read()

    def _lock(self) -> FileLock:
        try:
            self.path.parent.mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise UsageError(f"There can be no folder {self.path.parent}: {error.strerror}.") from None
        return FileLock(self.path.with_name(self.path.name + ".lock"), timeout=10)


def default_keys() -> Path:
    """The file of keys where none is named."""
    return data_root() / "keys.json"


def _state(path: Path) -> tuple[int, int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def _hash(secret: str, salt: bytes) -> str:
    return hashlib.blake2b(secret.encode(), key=salt, digest_size=32).hexdigest()


_NOBODY = Key(
    id="0" * 12, name="nobody", salt="00" * SALT_BYTES, hash="00" * 32, created=datetime.fromtimestamp(0, UTC)
)
