"""`Reply`: what a turn says, as words and as sound, and what of it became an item."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from sayso.events import AudioDelta, TextDelta
from sayso.history import Voiced, letters, reply_text
from sayso.items import AssistantReply, Audio, Item, ToolCall


class Reply:
    """The reply of one turn while it is made.

    Args:
        items: Of the turn; words become an item when a call or the end follows them.
        emit: Takes `TextDelta` and `AudioDelta`.

    Attributes:
        voiced: The audio so far, fillers included.
    """

    def __init__(self, items: list[Item], emit: Callable[[TextDelta | AudioDelta], None]) -> None:
        self._items = items
        self._emit = emit
        self._words = ""  # since the last item
        self._written = self._spoken = 0  # letters
        self.voiced: list[Voiced] = []

    @property
    def text(self) -> str:
        """The words that have become items."""
        return reply_text(self._items)

    def write(self, text: str) -> None:
        """The next words."""
        self._words += text
        self._written += letters(text)
        self._emit(TextDelta(text=text))

    def play(self, audio: Audio, text: str) -> None:
        """The next sound of it, and the words it speaks."""
        self._spoken += letters(text)
        self._sound(audio, text, filler=False)

    def fill(self, audio: Audio, text: str) -> None:
        """A sound that bridges a wait and is no part of it."""
        self._sound(audio, text, filler=True)

    def owes(self, text: str) -> bool:
        """Whether ``text``, of speech that comes while a call is open, speaks words that were written before it."""
        return 0 < letters(text) <= self._written - self._spoken

    def end_words(self) -> None:
        """Turn the words since the last item into an item."""
        if self._words.strip():
            self._items.append(AssistantReply(self._words))
        self._words = ""

    def end_round(self, start: int, token_ids: tuple[int, ...]) -> None:
        """As `end_words`; the first item since ``start`` keeps the ids of all that the model generated in the round."""
        self.end_words()
        for at, item in enumerate(self._items[start:], start):
            if isinstance(item, AssistantReply | ToolCall):
                self._items[at] = replace(item, token_ids=token_ids)
                return

    def _sound(self, audio: Audio, text: str, *, filler: bool) -> None:
        self.voiced.append(Voiced(text, round(audio.seconds * 1000), filler=filler))
        self._emit(AudioDelta(audio=audio, text=text, filler=filler))
