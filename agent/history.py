"""Rules that keep a history valid and true: every call has an output, and what was not heard was not said."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from sayso.items import AssistantReply, Item, ToolCall, ToolOutput, unanswered_calls

INTERRUPTED = "The user interrupted while this call was running. Its result is not known yet."


def settled(items: Sequence[Item]) -> list[Item]:
    """``items`` with a cancelled output, behind the last call, for each call that has none."""
    waiting = unanswered_calls(items)
    if not waiting:
        return list(items)
    last = max(index for index, item in enumerate(items) if isinstance(item, ToolCall))
    outputs = [ToolOutput(call.call_id, call.name, INTERRUPTED, "cancelled") for call in waiting.values()]
    return [*items[: last + 1], *outputs, *items[last + 1 :]]


def with_late_output(items: Sequence[Item], output: ToolOutput) -> list[Item]:
    """``items`` with the output of one call replaced by the one that arrived after its turn was over."""
    return [output if isinstance(item, ToolOutput) and item.call_id == output.call_id else item for item in items]


def as_heard(items: Sequence[Item], voiced: Sequence[tuple[str, int]], played_ms: int | None) -> list[Item]:
    """Cut the replies in ``items`` at what was heard.

    Args:
        items: What a turn added.
        voiced: Its audio in order: the words of each piece (empty for a filler) and its length in milliseconds. A turn
            without audio was read, not heard, and stays as it is.
        played_ms: How much of the audio was played; None where all of it was.

    Returns:
        The items; the reply that was cut is marked, replies after it are gone, calls stay.
    """
    if not voiced:
        return list(items)
    left = _letters(heard_words(voiced, played_ms))
    kept: list[Item] = []
    for item in items:
        if not isinstance(item, AssistantReply):
            kept.append(item)
            continue
        length = _letters(item.text)
        if left >= length:
            kept.append(item)
        elif left > 0:
            kept.append(replace(item, text=_first_letters(item.text, left), token_ids=(), interrupted=True))
        left = max(0, left - length)
    return kept


def reply_text(items: Sequence[Item]) -> str:
    """All the replies in ``items`` as one text."""
    return " ".join(item.text.strip() for item in items if isinstance(item, AssistantReply))


def voiced_ms(voiced: Sequence[tuple[str, int]]) -> int:
    """The length of a turn's audio in milliseconds."""
    return sum(length_ms for _, length_ms in voiced)


def heard_words(voiced: Sequence[tuple[str, int]], played_ms: int | None) -> str:
    """The words in the first ``played_ms`` of audio; a word that was cut counts as unheard."""
    if played_ms is None:
        return " ".join(text for text, _ in voiced)
    heard: list[str] = []
    for text, length_ms in voiced:
        if played_ms < length_ms:
            words = text.split()
            heard += words[: len(words) * max(0, played_ms) // length_ms]
            break
        heard.append(text)
        played_ms -= length_ms
    return " ".join(heard)


def _letters(text: str) -> int:
    """Letters and figures only: a synthesiser may be given other punctuation than was written."""
    return sum(character.isalnum() for character in text)


def _first_letters(text: str, count: int) -> str:
    """The start of ``text`` that holds ``count`` letters or figures."""
    for index, character in enumerate(text):
        if count == 0:
            return text[:index].rstrip()
        count -= character.isalnum()
    return text
