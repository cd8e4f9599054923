"""The agent endpoint: sayso's own protocol, with every event as it is."""

from sayso.server.agents.route import router

__all__ = ["router"]
