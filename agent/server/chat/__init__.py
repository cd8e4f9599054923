"""``/v1/chat/completions`` and ``/v1/models``, as OpenAI's clients know them."""

from sayso.server.chat.route import router

__all__ = ["router"]
