"""From what a server answered to what a model is shown: words, or plain data."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any, cast

from sayso.errors import ToolError
from sayso.settings import redact
from sayso.tools.text import safe_text

if TYPE_CHECKING:
    import mcp_types as types

MAX_ERROR_CHARS = 1000
MAX_TEXT_CHARS = 200_000
"""Looked at; the executor cuts to what the model is shown."""


def read_result(result: types.CallToolResult, tool: str) -> Any:
    """The value of a call: text where the server wrote any, else its structured content.

    Structured content is taken instead of a text that only repeats it as JSON, which is what the protocol asks
    servers to send to older clients. Pictures, sounds and files are named, not shown: an agent speaks.

    Raises:
        ToolError: The server says that the call failed; its words.
    """
    text = redact("\n".join(filter(None, map(_block, result.content)))[:MAX_TEXT_CHARS]).strip()
    if result.is_error:
        raise ToolError(safe_text(text, MAX_ERROR_CHARS) or f"{tool} failed, and the server does not say why.")
    if result.structured_content is None:
        return text or None
    structured = _redacted(result.structured_content)
    if not text or _is_json(text):
        return _unwrapped(structured)
    return text


def _block(block: types.ContentBlock) -> str:
    match block.type:
        case "text":
            return block.text
        case "image":
            return "[a picture]"
        case "audio":
            return "[a sound]"
        case "resource_link":
            about = f": {block.description}" if block.description else ""
            return f"[{block.title or block.name}, at {block.uri}{about}]"
        case "resource":
            text = getattr(block.resource, "text", None)
            return text if isinstance(text, str) else f"[a file, {block.resource.uri}]"


def _is_json(text: str) -> bool:
    if text[:1] not in ("{", "["):
        return False
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _redacted(value: Any) -> Any:
    try:
        text = json.dumps(value)
    except (ValueError, RecursionError):
        return None
    clean = redact(text)
    return value if clean == text else json.loads(clean)


def _unwrapped(value: Any) -> Any:
    """SDKs wrap a plain return value as ``{"result": ...}``."""
    if isinstance(value, dict) and set(cast("dict[str, Any]", value)) == {"result"}:
        return cast("dict[str, Any]", value)["result"]
    return cast("Any", value)
