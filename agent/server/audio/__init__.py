"""``/v1/audio``: transcriptions, translations and speech, as OpenAI's clients know them."""

from sayso.server.audio.route import router

__all__ = ["router"]
