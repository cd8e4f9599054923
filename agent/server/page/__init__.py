"""The page at ``/``: talk to an agent in a browser. Its files are served as they are."""

from __future__ import annotations

from sayso.server.page.route import router

__all__ = ["router"]
