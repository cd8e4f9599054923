"""sayso as the client that the official MCP conformance runner tests.

    node .venv/mcp/node_modules/@modelcontextprotocol/conformance/dist/index.js client \
        --command ".venv/bin/python tests/conformance/client.py" --suite all

The runner appends the URL of a server of its own, and names the scenario in `MCP_CONFORMANCE_SCENARIO`. Every tool is
called once, with arguments made from its schema.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from typing import Any
from urllib.parse import parse_qs, urljoin, urlsplit

import httpx2
from mcp.client.auth import OAuthClientProvider
from mcp.shared.auth import OAuthClientInformationFull, OAuthClientMetadata, OAuthToken

from sayso.items import ToolCall
from sayso.tools import Executor
from sayso.tools.mcp import ElicitRequest, Http, McpServers

REDIRECT = "http://localhost:3000/callback"


class Storage:
    """OAuth's tokens and client, for as long as the process lives."""

    def __init__(self, client: OAuthClientInformationFull | None) -> None:
        self.tokens: OAuthToken | None = None
        self.client = client

    async def get_tokens(self) -> OAuthToken | None:
        return self.tokens

    async def set_tokens(self, tokens: OAuthToken) -> None:
        self.tokens = tokens

    async def get_client_info(self) -> OAuthClientInformationFull | None:
        return self.client

    async def set_client_info(self, client_info: OAuthClientInformationFull) -> None:
        self.client = client_info


class Browser:
    """A person who agrees at once: the code is in the redirect."""

    def __init__(self) -> None:
        self.query: dict[str, list[str]] = {}

    async def visit(self, url: str) -> None:
        async with httpx2.AsyncClient() as client:
            answer = await client.get(url)
        self.query = parse_qs(urlsplit(urljoin(url, answer.headers["location"])).query)

    async def code(self) -> Any:
        from mcp.client.auth import AuthorizationCodeResult

        return AuthorizationCodeResult(
            code=self.query["code"][0],
            state=self.query.get("state", [None])[0],
            iss=self.query.get("iss", [None])[0],
        )


def oauth(url: str, context: dict[str, Any]) -> OAuthClientProvider:
    browser = Browser()
    known = None
    if "client_id" in context:
        known = OAuthClientInformationFull(
            client_id=context["client_id"],
            client_secret=context.get("client_secret"),
            redirect_uris=[REDIRECT],  # type: ignore[list-item]
            token_endpoint_auth_method="client_secret_basic",
        )
    return OAuthClientProvider(
        server_url=url,
        client_metadata=OAuthClientMetadata(
            client_name="sayso",
            redirect_uris=[REDIRECT],  # type: ignore[list-item]
            grant_types=["authorization_code", "refresh_token"],
            response_types=["code"],
        ),
        storage=Storage(known),
        redirect_handler=browser.visit,
        callback_handler=browser.code,
        client_metadata_url="https://conformance-test.local/client-metadata.json",
    )


def arguments(schema: dict[str, Any]) -> dict[str, Any]:
    samples = {"number": 2, "integer": 2, "string": "two", "boolean": True, "array": [], "object": {}}
    return {name: samples[one.get("type", "string")] for name, one in schema["properties"].items()}


async def accept(request: ElicitRequest) -> dict[str, Any]:
    return {}


async def main(url: str, scenario: str) -> None:
    context = json.loads(os.environ.get("MCP_CONFORMANCE_CONTEXT", "{}"))
    auth = oauth(url, context) if scenario.startswith("auth/") else None
    server = Http("test", url, auth=auth, effects={"*": "read"}, start_timeout_s=20)
    async with McpServers([server], on_elicit=accept) as servers:
        executor = Executor(servers.tools)
        for number, tool in enumerate(servers.tools):
            call = ToolCall(f"c{number}", tool.name, arguments(tool.spec.parameters))
            outcome = await executor.call(call)
            print(outcome.name, outcome.status, outcome.output)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[-1], os.environ.get("MCP_CONFORMANCE_SCENARIO", "")))
