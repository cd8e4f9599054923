"""`Conversation`: what was said, done and heard, as the model will be shown it."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import cast

from sayso.history import Voiced, as_heard, cut_off, settled, total_ms
from sayso.items import AssistantReply, Audio, CallStatus, Item, JsonObject, ToolCall, ToolOutput, UserInput
from sayso.tools.journal import IN_DOUBT, Entry


class Conversation:
    """The items of one conversation. They are valid between any two turns, and say no more than what was heard.

    Args:
        keeps_audio: Whether the model needs users' audio; where not, it is dropped once its words are known.
        changed: Called when the items have changed and are valid.

    Attributes:
        items: The whole turns so far, and what was heard of interrupted ones.
    """

    def __init__(self, *, keeps_audio: bool, changed: Callable[[], None] = lambda: None) -> None:
        self.items: list[Item] = []
        self._keeps_audio = keeps_audio
        self._changed = changed
        self._last: list[Voiced] | None = None  # the audio of the last turn, which may still be playing
        self._last_start = 0  # of its items
        self._earlier: list[Item] = []  # what the words of the running turn settled: it comes before them
        self._later: list[Item] = []  # what came while a turn ran
        self._unheard: Audio | None = None  # speech whose turn was cut off before it was understood

    def forget_unheard(self) -> None:
        """A new turn begins: what was said before it is not part of it."""
        self._unheard = None

    def remember(
        self, items: Sequence[Item], voiced: list[Voiced], *, whole: bool, played_ms: int | None
    ) -> list[Item]:
        """Take in what a turn added: what was heard of it, and words in place of sound.

        Args:
            items: As `sayso.turn.Turn.items`.
            voiced: Its audio in order.
            whole: It reached its end.
            played_ms: Where it did not: how much of the audio was played; None where all of it was.

        Returns:
            The items as they were stored.
        """
        kept = list(items) if whole else cut_off(as_heard(items, voiced, played_ms))
        if kept and isinstance(user := kept[0], UserInput):
            if not user.text and len(kept) == 1:
                self._unheard, kept = user.audio, []
            elif not self._keeps_audio:
                kept[0] = replace(user, audio=None)
        kept = settled(kept)
        self.items += self._earlier
        self._earlier = []
        self._last, self._last_start = (voiced if whole else None), len(self.items)
        self.items += kept
        self.catch_up()
        return kept

    def cut_last(self, played_ms: int | None) -> int:
        """Cut the last reply, which still played when it was interrupted; the milliseconds that were not heard."""
        if self._last is None or played_ms is None or played_ms >= total_ms(self._last):
            return 0
        missed_ms = total_ms(self._last) - played_ms
        self.items[self._last_start :] = as_heard(self.items[self._last_start :], self._last, played_ms)
        self._last = None
        self._changed()
        return missed_ms

    def add(self, items: Sequence[Item], *, turn_runs: bool) -> None:
        """Take in what happened outside a turn; where one runs, behind it."""
        if turn_runs:
            self._later += items
        else:
            self.items += items
            self._changed()

    def take_input(self) -> UserInput | None:
        """Take what the user said last out again, where nothing came after it: a turn will answer it."""
        if self.items and isinstance(self.items[-1], UserInput):
            self._last = None
            return self.items.pop()  # pyright: ignore[reportReturnType]
        return None

    def remove(self, id: str) -> bool:
        """Forget the item of this id, a call with its outputs; whether there was one."""
        kept = [item for item in self.items if not _is_named(item, id)]
        found = len(kept) < len(self.items)
        if found:
            self.items[:], self._last = kept, None
            self._changed()
        return found

    def insert(self, items: Sequence[Item], *, before: str) -> bool:
        """Put items before the one of this id (or call id); False where there is none. Not while a turn runs."""
        at = next((index for index, item in enumerate(self.items) if _is_named(item, before)), None)
        if at is None:
            return False
        self.items[at:at], self._last = items, None
        self._changed()
        return True

    def change(self, id: str, change: Callable[[Item], Item]) -> bool:
        """Put what ``change`` makes of it in the place of each item of this id (or call id); whether there was one."""
        found = [index for index, item in enumerate(self.items) if _is_named(item, id)]
        for index in found:
            self.items[index] = change(self.items[index])
        if found:
            self._changed()
        return bool(found)

    def name_replies(self, ids: Iterable[str]) -> None:
        """Give the replies that have no id yet these, in order; `remember` keeps the first of a turn that was cut."""
        left = iter(ids)
        for index, item in enumerate(self.items):
            if isinstance(item, AssistantReply) and not item.id and (id := next(left, "")):
                self.items[index] = replace(item, id=id)

    def settle(self, item: Item) -> None:
        """Take in what an open question came to, before the words that settled it."""
        self._earlier.append(item)

    def catch_up(self) -> None:
        """No turn runs any more, and it left nothing: take in what came meanwhile."""
        self.items += self._earlier + self._later
        self._earlier, self._later = [], []
        self._changed()

    def with_unheard(self, audio: Audio) -> Audio:
        """``audio`` behind what was said before a pause, where that turn was cut off before it was understood."""
        unheard = self._unheard
        if unheard is None or unheard.sample_rate_hz != audio.sample_rate_hz:
            return audio
        from sayso.speech.audio import concatenate

        return concatenate([unheard, audio])


def _is_named(item: Item, id: str) -> bool:
    return id == (item.call_id if isinstance(item, (ToolCall, ToolOutput)) else item.id)


def call_items(entry: Entry) -> list[Item]:
    """A call that an earlier process made, as the journal has it; of one that it died in, what is known of it."""
    try:
        arguments: object = json.loads(entry.arguments)
    except ValueError:
        arguments = None
    named = cast("JsonObject", arguments) if isinstance(arguments, dict) else {}
    if entry.status is None or entry.status == "in_doubt":
        output = ToolOutput(entry.call_id, entry.tool, IN_DOUBT.format(name=entry.tool), "in_doubt")
    else:
        output = ToolOutput(entry.call_id, entry.tool, entry.output or "", cast("CallStatus", entry.status))
    return [ToolCall(entry.call_id, entry.tool, named), output]
