"""sayso as the server that the official MCP conformance runner tests.

    python tests/conformance/server.py 38900 &
    node .venv/mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js server --url http://127.0.0.1:38900/mcp

The runner calls tools by names that it prescribes.
"""

from __future__ import annotations

import asyncio
import dataclasses
import sys

from sayso.tools import Context, Tool, ToolError, tool
from sayso.tools.mcp.serve import McpToolServer


@tool(effect="read")
def test_simple_text() -> str:
    """Answers with a line of text."""
    return "This is a simple text response for testing."


@tool(effect="read")
def test_error_handling() -> str:
    """Fails."""
    raise ToolError("This tool intentionally returns an error for testing")


@tool(effect="read")
async def test_tool_with_progress(ctx: Context) -> str:
    """Reports how it gets on."""
    for done in (0, 50, 100):
        await ctx.report({"progress": done, "total": 100})
        await asyncio.sleep(0.05)
    return "done"


@tool(effect="read")
def json_schema_2020_12_tool(name: str = "") -> str:
    """Has a schema with all that JSON Schema 2020-12 offers."""
    return name


SCHEMA = {
    "$schema": "https://json-schema.org/draft/2020-12/schema",
    "type": "object",
    "$defs": {"address": {"type": "object", "properties": {"street": {"type": "string"}, "city": {"type": "string"}}}},
    "properties": {"name": {"type": "string"}, "address": {"$ref": "#/$defs/address"}},
    "additionalProperties": False,
}


def tools() -> list[Tool]:
    spec = dataclasses.replace(json_schema_2020_12_tool.spec, parameters=SCHEMA)
    schema_tool = dataclasses.replace(json_schema_2020_12_tool, spec=spec)
    return [test_simple_text, test_error_handling, test_tool_with_progress, schema_tool]


if __name__ == "__main__":
    asyncio.run(McpToolServer(tools(), name="sayso conformance").http("127.0.0.1", int(sys.argv[1])))
