"""`sayso mcp`: serve tools to other programs."""

from __future__ import annotations

import asyncio
import sys
from contextlib import redirect_stdout
from typing import Annotated

import typer

from sayso import settings
from sayso.cli_options import ToolsOption, chosen_tools
from sayso.errors import UsageError

TOKEN = "SAYSO_MCP_TOKEN"


def mcp(
    tools: ToolsOption = None,
    http: Annotated[bool, typer.Option("--http", help="Serve over HTTP instead of standard input and output.")] = False,
    host: Annotated[str, typer.Option("--host", help="Where to listen.")] = "127.0.0.1",
    port: Annotated[int, typer.Option("--port", min=1, max=65535, help="Where to listen.")] = 8321,
    path: Annotated[str, typer.Option("--path", help="Of the endpoint.")] = "/mcp",
    allow_host: Annotated[
        list[str] | None,
        typer.Option("--allow-host", help="A further name that it is reached by; may be repeated.", show_default=False),
    ] = None,
) -> None:
    """Serve the built-in tools, or those of a file, to other programs by the Model Context Protocol.

    With SAYSO_MCP_TOKEN set, programs that come by HTTP have to send it as a bearer token.
    """
    from sayso.tools.mcp.serve import McpToolServer

    if not path.startswith("/"):
        raise UsageError(f"The path {path!r} does not begin with a slash.", "For example: --path /mcp")
    with redirect_stdout(sys.stderr):  # standard output is the wire
        server = McpToolServer(chosen_tools(tools))
    if not http:
        asyncio.run(server.stdio())
        return
    token = settings.secret(TOKEN)
    server.app(host, token=token)  # refuses what it would refuse later, before it says that it serves
    typer.echo(f"Serving {len(server.names)} tools at http://{host}:{port}{path}; Ctrl+C ends it.", err=True)
    asyncio.run(server.http(host, port, path=path, token=token, allowed_hosts=allow_host or ()))
