"""The HTTP endpoint: `create_app` makes the ASGI app, ``sayso serve`` runs it. Needs ``sayso[server]``."""

from sayso.server.app import create_app
from sayso.server.settings import JwtSettings, Limits, ServerSettings

__all__ = ["JwtSettings", "Limits", "ServerSettings", "create_app"]
