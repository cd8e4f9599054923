"""A server asks a person something in the middle of a call (elicitation)."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from sayso.items import JsonObject
from sayso.tools.mcp.schema import compile_schema
from sayso.tools.say import read_back
from sayso.tools.schema import InvalidArguments
from sayso.tools.text import safe_text

if TYPE_CHECKING:
    import mcp_types as types

_log = logging.getLogger(__name__)
MAX_MESSAGE_CHARS = 1000


@dataclass(frozen=True, slots=True)
class ElicitRequest:
    """A server's question to a person.

    Attributes:
        server: Which server asks. Say so to the person: the words are the server's, not the agent's.
        message: The question, neutralised.
        fields: JSON Schema of each answer by name: flat and of plain types. Empty where a yes is all that is asked.
        url: A page to visit instead, or None. The answer is then only whether the person agreed.
        call_id: The call that it belongs to, or an empty string where several of that server run.
    """

    server: str
    message: str
    fields: JsonObject = field(default_factory=dict[str, Any])
    url: str | None = None
    call_id: str = ""

    @property
    def is_plain(self) -> bool:
        """Whether a yes or a no answers it: no page to visit, and no value that has no default."""
        return self.url is None and len(_defaults(self.fields)) == len(self.fields)

    @property
    def question(self) -> str:
        """What a person is asked, and who wants to know."""
        return f"{self.server} asks: {read_back(self.message)}. Do you agree?"


ElicitAnswer: TypeAlias = "JsonObject | None"
"""Values by field name (fields left out get their defaults); None where the person said no."""

OnElicit: TypeAlias = Callable[[ElicitRequest], Awaitable[ElicitAnswer]]


async def answer(request: ElicitRequest, schema: JsonObject, ask: OnElicit) -> types.ElicitResult:
    """Ask, fill in defaults, and check the answer against the server's schema.

    An answer that does not fit, and a hook that fails, count as no answer at all (``cancel``).
    """
    import mcp_types as types

    try:
        validate = None if request.url else compile_schema(schema)
        values = await ask(request)
        if values is None:
            return types.ElicitResult(action="decline")
        if validate is None:
            return types.ElicitResult(action="accept")
        return types.ElicitResult(action="accept", content=validate(_defaults(request.fields) | values))
    except InvalidArguments as error:
        _log.warning("the answer to MCP server '%s' does not fit: %s", request.server, error)
    except Exception:
        _log.exception("asking for MCP server '%s' failed", request.server)
    return types.ElicitResult(action="cancel")


def read_request(server: str, params: types.ElicitRequestParams, call_id: str) -> tuple[ElicitRequest, JsonObject]:
    """A server's request as sayso's, and the JSON Schema of the answer."""
    message = safe_text(params.message, MAX_MESSAGE_CHARS)
    if params.mode == "url":
        return ElicitRequest(server, message, url=params.url, call_id=call_id), {"type": "object"}
    schema: JsonObject = dict(params.requested_schema)
    fields = schema.get("properties")
    known = cast("JsonObject", fields) if isinstance(fields, dict) else {}
    return ElicitRequest(server, message, known, call_id=call_id), schema


def _defaults(fields: JsonObject) -> JsonObject:
    return {name: one["default"] for name, one in fields.items() if isinstance(one, dict) and "default" in one}
