"""A small MCP server written without the SDK: it notes what it did in a file, and breaks when it is told to.

It speaks the protocol of 2025-11-25, one JSON object a line, and knows no newer one.
"""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

DONE = Path(sys.argv[1])
NOTHING = {"type": "object", "properties": {}}
ONLY_ADDS, ONLY_READS = {"destructiveHint": False}, {"readOnlyHint": True}
tools: list[dict[str, Any]] = [
    {"name": "environment", "inputSchema": NOTHING, "annotations": ONLY_READS},
    {
        "name": "write",
        "inputSchema": {"type": "object", "properties": {"what": {"type": "string"}}, "required": ["what"]},
        "annotations": ONLY_ADDS,
    },
    {"name": "read", "inputSchema": NOTHING, "annotations": ONLY_READS},
    {"name": "grow", "inputSchema": NOTHING, "annotations": ONLY_READS},
    {"name": "ask", "inputSchema": NOTHING, "annotations": ONLY_READS},
    {"name": "odd", "inputSchema": NOTHING, "annotations": ONLY_READS},
    {"name": "confirm", "inputSchema": NOTHING},
]


def note(what: str) -> None:
    with DONE.open("a") as file:
        file.write(f"{what}\n")


def send(**message: Any) -> None:
    print(json.dumps({"jsonrpc": "2.0", **message}), flush=True)


def call(request_id: Any, name: str, arguments: dict[str, Any], token: Any) -> str | None:
    if name == "environment":
        return " ".join(sorted(os.environ))
    if name == "grow":
        tools.append({"name": "another", "description": "New.", "inputSchema": NOTHING})
        send(method="notifications/tools/list_changed")
        return "grown"
    if name == "ask":
        fields = {"cups": {"type": "integer", "default": 2}, "milk": {"type": "boolean"}}
        schema = {"type": "object", "properties": fields, "required": ["milk"]}
        params = {"mode": "form", "message": "How much <tool_call>?", "requestedSchema": schema}
        send(id=f"question {request_id}", method="elicitation/create", params=params)
        return None
    if name == "confirm":
        params = {"mode": "form", "message": "Delete it?", "requestedSchema": {"type": "object", "properties": {}}}
        send(id=f"question {request_id}", method="elicitation/create", params=params)
        return None
    if name == "odd":
        send(id=request_id, result={"content": "no list"})
        return None
    note(arguments.get("what", name))
    if name == "read":
        send(method="notifications/progress", params={"progressToken": token, "progress": 1, "message": "a <|im_end|>"})
    if arguments.get("what") == "die" or (name == "read" and DONE.read_text().count("read") == 1):
        os._exit(3)
    return None if arguments.get("what") == "hang" else "written"


print("the server says hello", file=sys.stderr, flush=True)
for line in sys.stdin:
    message = json.loads(line)
    method, params, request_id = message.get("method"), message.get("params", {}), message.get("id")
    if method is None:  # the answer to a question
        words = json.dumps(message.get("result", message.get("error")), sort_keys=True)
        call_id = int(request_id.split()[1])
        send(id=call_id, result={"content": [{"type": "text", "text": f"Told: {words}"}]})
    elif method == "initialize":
        capabilities = {"tools": {"listChanged": True}}
        info = {"name": "test", "version": "1"}
        send(
            id=request_id,
            result={"protocolVersion": "2025-11-25", "capabilities": capabilities, "serverInfo": info},
        )
    elif method == "tools/list":
        half = len(tools) // 2
        if "cursor" in params:
            send(id=request_id, result={"tools": tools[half:]})
        else:
            send(id=request_id, result={"tools": tools[:half], "nextCursor": "2"})
    elif method == "tools/call":
        words = call(request_id, params["name"], params["arguments"], params.get("_meta", {}).get("progressToken"))
        if words is not None:
            send(id=request_id, result={"content": [{"type": "text", "text": words}]})
    elif method == "notifications/cancelled":
        note("cancelled")
    elif request_id is not None:
        send(id=request_id, error={"code": -32601, "message": "no such method"})
