"""`Tokens`: callers who are known by JSON Web Tokens that somebody else issues."""

from __future__ import annotations

from collections.abc import Mapping
from typing import cast

from sayso.errors import UsageError
from sayso.server.auth import Caller
from sayso.server.settings import JwtSettings

MIN_SECRET_BYTES = 32
"""RFC 7518, section 3.2: a key for HS256 is as long as the hash."""


class Tokens:
    """Believes tokens that are signed with one key. What the key is decides the algorithm, never the token.

    Args:
        settings: The key, and what has to be in the tokens.

    Raises:
        UsageError: The key cannot be used, or PyJWT is not installed.
    """

    def __init__(self, settings: JwtSettings) -> None:
        try:
            import jwt
        except ImportError:
            raise UsageError("JSON Web Tokens need PyJWT.", "pip install 'sayso[server]'") from None
        self._settings = settings
        self._jwt = jwt
        secret = settings.key.get_secret_value().strip()
        if "PRIVATE KEY" in secret:
            raise UsageError("The key for tokens is a private one.", "Give the public key; it is enough to check them.")
        self._algorithm = "RS256" if "PUBLIC KEY" in secret else "HS256"
        try:
            self._key = jwt.get_algorithm_by_name(self._algorithm).prepare_key(secret)
        except NotImplementedError:
            raise UsageError("Tokens with RS256 need the package cryptography.", "pip install cryptography") from None
        except Exception:  # cryptography's own kinds
            raise UsageError("The key for tokens is no RSA public key in PEM.") from None
        if self._algorithm == "HS256" and len(secret.encode()) < MIN_SECRET_BYTES:
            raise UsageError(
                f"The key for tokens has fewer than {MIN_SECRET_BYTES} bytes.", "Make one with: openssl rand -hex 32"
            )

    def verify(self, token: str) -> Caller | None:
        """The token's ``sub``, or None where the token does not count."""
        try:
            claims: Mapping[str, object] = self._jwt.decode(
                token,
                self._key,
                algorithms=[self._algorithm],
                audience=self._settings.audience,
                issuer=self._settings.issuer,
                options={"require": ["sub", "exp", "aud"]},
            )
        except self._jwt.PyJWTError:
            return None
        subject, agents = str(claims["sub"]), claims.get("agents")
        if not subject or not (agents is None or _is_names(agents)):
            return None
        chosen = None if agents is None else frozenset(cast("list[str]", agents))
        return Caller(f"jwt:{subject}", subject, "jwt", chosen, self._settings.limits)

    def is_valid(self, caller: Caller) -> bool:
        """A token lets in; what it let in may stay after it expired."""
        return caller.kind == "jwt"


def _is_names(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(one, str) for one in cast("list[object]", value))
