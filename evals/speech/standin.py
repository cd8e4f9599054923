"""Ears and a voice for models that have none: scripts and reference agents, which compute in no time.

They hear the words of the script, whatever the sound, and speak in tones. So everything between the user's sound and
the recording can be tested without a model.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import aclosing
from dataclasses import replace

from sayso.items import Item, UserInput
from sayso.models.base import ModelEvent, ModelRequest, Speech, Text, Transcript, VoiceModel
from sayso.testing import RATE_HZ, ScriptedModel, tone


def is_virtual(model: VoiceModel) -> bool:
    """Whether a model computes in no time, so that a virtual clock measures it."""
    return isinstance(model, ScriptedModel) or bool(getattr(model, "virtual", False))


class StandIn:
    """A model with what it lacks.

    Args:
        model: It thinks.
        said: The words that the user says in this turn.
    """

    virtual = True

    def __init__(self, model: VoiceModel, said: Callable[[], str]) -> None:
        self._model = model
        self._said = said
        self._lends_voice = not model.profile.speaks
        self.profile = replace(model.profile, hears=True)
        if self._lends_voice:
            self.profile = replace(
                self.profile, speaks=True, says_lines=True, sample_rate_hz=RATE_HZ, voices=(), voice_facts=()
            )

    async def warm(self, request: ModelRequest) -> None:
        """Let the model warm."""
        await self._model.warm(self._written(request))

    async def respond(self, request: ModelRequest) -> AsyncGenerator[ModelEvent, None]:
        """What was heard, then what the model writes, each piece followed by its tone."""
        last = request.items[-1] if request.items else None
        if isinstance(last, UserInput) and not last.text:
            yield Transcript(self._said())
        async with aclosing(self._model.respond(self._written(request))) as events:
            async for event in events:
                yield event
                if self._lends_voice and isinstance(event, Text) and request.speak and event.text:
                    yield Speech(tone(event.text), event.text)

    async def say(self, text: str, voice: str | None = None) -> AsyncGenerator[Speech, None]:
        """A line, as the model says it, or as a tone."""
        if self._lends_voice:
            yield Speech(tone(text), text)
            return
        async with aclosing(self._model.say(text, voice)) as pieces:
            async for piece in pieces:
                yield piece

    async def aclose(self) -> None:
        """The model is used again."""

    def _written(self, request: ModelRequest) -> ModelRequest:
        """The request as a model without ears takes it."""
        items: Sequence[Item] = [
            replace(item, text=item.text or self._said(), audio=None) if isinstance(item, UserInput) else item
            for item in request.items
        ]
        return replace(request, items=items, speak=request.speak and not self._lends_voice)
