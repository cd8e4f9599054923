"""Think in two passes: a thought in words, then the answer behind it (specification, section 6.1)."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sayso.models.step_audio2.interleave import stop_ids
from sayso.models.step_audio2.tokenizer import Tokenizer

END: Final = "</think>"
"""Ordinary text to the tokenizer: its ids depend on what stands before and behind."""


class Thought:
    """The first pass, read id by id.

    Args:
        tokenizer: For the ids.

    Attributes:
        over: Its end has come; what would follow is not wanted.
    """

    def __init__(self, tokenizer: Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._decoder = tokenizer.decoder()
        self._stops = stop_ids(tokenizer)
        self._ids: list[int] = []
        self._held = ""  # may be the beginning of its end
        self.over = False

    def feed(self, token_id: int) -> str:
        """Take the next id; the words that are certain to be part of the thought by now."""
        if token_id in self._stops:
            return self.finish()
        self._ids.append(token_id)
        text = self._held + self._decoder.feed(token_id)
        words = _before_end(text)
        self.over = END in text
        self._held = text[len(words) :]
        return words

    def finish(self) -> str:
        """The thought ends here, whether its end has come or not; the rest of its words."""
        rest = "" if self.over else self._held + self._decoder.finish()
        self.over, self._held = True, ""
        return rest

    def answer(self, *, speak: bool) -> list[int]:
        """What goes behind the prompt of the first pass in the second one; see `answer_after_thought`."""
        return answer_after_thought(self._tokenizer, self._ids, speak=speak)


def answer_after_thought(tokenizer: Tokenizer, thought: Sequence[int], *, speak: bool = True) -> list[int]:
    """What the second pass begins with: the thought, its end, and the start of speech.

    Args:
        tokenizer: For the ids.
        thought: What the first pass generated. Where it was cut off before its end, it is closed here.
        speak: Whether the answer is spoken.

    Returns:
        The ids that replace ``thought``: as many of them as can stay as they are, so that a cache of them stays good.
    """
    text = _before_end(tokenizer.decode(thought)).rstrip("\ufffd")  # the rest of a letter that was cut off
    whole = f"{text}{END}\n\n"
    kept = len(thought)
    while kept and not (whole.startswith(part := tokenizer.decode(thought[:kept])) and len(part) < len(whole) - 2):
        kept -= 1  # the id with the last ">" may be another one where line feeds follow
    rest = tokenizer.encode(whole[len(tokenizer.decode(thought[:kept])) :])
    return [*thought[:kept], *rest, *([tokenizer.tts_start] if speak else [])]


def _before_end(text: str) -> str:
    """``text`` up to its `END`, or up to what may become one."""
    if (at := text.find(END)) >= 0:
        return text[:at]
    begun = next((size for size in range(len(END) - 1, 0, -1) if text.endswith(END[:size])), 0)
    return text[: len(text) - begun]
