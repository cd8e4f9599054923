"""sayso.tools.mcp: the tools of MCP servers as sayso's, and sayso's tools as an MCP server.

Nothing here imports the `mcp` SDK before it is used; it comes with ``pip install 'sayso[mcp]'``.
"""

from sayso.tools.mcp.client import McpServers
from sayso.tools.mcp.config import load_servers
from sayso.tools.mcp.elicit import ElicitAnswer, ElicitRequest, OnElicit
from sayso.tools.mcp.server import Http, InProcess, McpServerError, Server, Stdio

__all__ = [
    "ElicitAnswer",
    "ElicitRequest",
    "Http",
    "InProcess",
    "McpServerError",
    "McpServers",
    "OnElicit",
    "Server",
    "Stdio",
    "load_servers",
]
