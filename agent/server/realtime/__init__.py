"""OpenAI's Realtime protocol: `Connection` is the protocol, ``router`` carries it over a WebSocket."""

from sayso.server.realtime.route import router

__all__ = ["router"]
