"""Rules that keep a history valid and true: every call has an output, and what was not heard was not said."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, replace

from sayso.items import AssistantReply, Item, ToolCall, ToolOutput, unanswered_calls
from sayso.speech.playout import PlayoutClock

INTERRUPTED = "The user interrupted while this call was running. Its result is not known yet."


@dataclass(frozen=True, slots=True)
class Voiced:
    """A piece of a turn's audio.

    Attributes:
        text: The words it speaks; empty where they are not known.
        length_ms: How long it is.
        filler: It is no part of the reply.
    """

    text: str
    length_ms: int
    filler: bool = False


def settled(items: Sequence[Item]) -> list[Item]:
    """``items`` with an output that says ``running``, behind the last call, for each call that has none."""
    waiting = unanswered_calls(items)
    if not waiting:
        return list(items)
    last = max(index for index, item in enumerate(items) if isinstance(item, ToolCall))
    outputs = [ToolOutput(call.call_id, call.name, INTERRUPTED, "running") for call in waiting.values()]
    return [*items[: last + 1], *outputs, *items[last + 1 :]]


def as_heard(items: Sequence[Item], voiced: Sequence[Voiced], played_ms: int | None) -> list[Item]:
    """Cut the replies in ``items`` at what was heard.

    Args:
        items: What a turn added.
        voiced: Its audio in order. A reply without audio was read, not heard, and stays as it is.
        played_ms: How much of the audio was played; None where all of it was.

    Returns:
        The items; the reply that was cut is marked, replies after it are gone, calls stay.
    """
    if all(piece.filler for piece in voiced):
        return list(items)
    left = _heard_letters(items, voiced, total_ms(voiced) if played_ms is None else played_ms)
    kept: list[Item] = []
    for item in items:
        if not isinstance(item, AssistantReply):
            kept.append(item)
            continue
        length = letters(item.text)
        if left >= length:
            kept.append(item)
        elif left > 0:
            kept.append(replace(item, text=_first_letters(item.text, left), token_ids=(), interrupted=True))
        left = max(0, left - length)
    return kept


def cut_off(items: Sequence[Item]) -> list[Item]:
    """``items`` of a turn that did not reach its end: a reply at their end is marked."""
    if items and isinstance(last := items[-1], AssistantReply):
        return [*items[:-1], replace(last, interrupted=True)]
    return list(items)


def reply_text(items: Sequence[Item]) -> str:
    """All the replies in ``items`` as one text."""
    return " ".join(item.text.strip() for item in items if isinstance(item, AssistantReply))


def total_ms(voiced: Sequence[Voiced]) -> int:
    """The length of a turn's audio in milliseconds."""
    return sum(piece.length_ms for piece in voiced)


def letters(text: str) -> int:
    """Letters and figures only: a synthesiser may be given other punctuation than was written."""
    return sum(character.isalnum() for character in text)


def _heard_letters(items: Sequence[Item], voiced: Sequence[Voiced], played_ms: int) -> int:
    """How many letters of the replies were heard: by the words of each piece, else by the share of time."""
    clock = PlayoutClock(1000)  # one sample a millisecond
    for piece in voiced:
        clock.queue(piece.length_ms, "" if piece.filler else piece.text)
    clock.play(max(0, played_ms))
    if any(piece.text for piece in voiced if not piece.filler):
        return letters(clock.heard_text)
    speech_ms = total_ms([piece for piece in voiced if not piece.filler])
    before_ms = total_ms([piece for piece in voiced if piece.filler])
    share = max(0, clock.played_ms - before_ms) / max(1, speech_ms)
    return int(letters(reply_text(items)) * min(1.0, share))


def _first_letters(text: str, count: int) -> str:
    """The start of ``text`` that holds ``count`` letters or figures, without a Latin word that would be cut."""
    for index, character in enumerate(text):
        if count == 0:
            begun = re.search(r"[a-zA-Z0-9À-ž]+$", text[:index]) if character.isalnum() else None
            return text[: begun.start() if begun else index].rstrip()
        count -= character.isalnum()
    return text
