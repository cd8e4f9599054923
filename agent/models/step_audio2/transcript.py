"""One conversation as the model sees it: it grows at its end, and what the model generated stays as it was generated.

A conversation's items are shown again in every round; what was shown before is kept as it is. What is new is written
behind it: a generated reply and its calls by their exact ids, never rendered from text (StepFun's own clients do that,
and every turn computes the whole history again). Where a history was cut, what was shown is cut with it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Literal, TypeAlias

from sayso.items import AssistantReply, Instruction, Item, ToolCall, ToolOutput, ToolSpec, UserInput
from sayso.models.step_audio2.chat import ChatFormat, Opening, Segment
from sayso.models.step_audio2.interleave import Splitter, closed, split, up_to_text
from sayso.models.step_audio2.tokenizer import Tokenizer

_Made: TypeAlias = AssistantReply | ToolCall


@dataclass(frozen=True, slots=True)
class _Generated:
    """What the model made of the first ``at`` items."""

    at: int
    ids: tuple[int, ...]
    opening: Opening


class Transcript:
    """See the module docstring.

    Args:
        chat: Writes the messages.
        instructions: The agent's system text.
        tools: What may be called.

    Attributes:
        prefix: What it begins with: the same for all conversations of an agent.
    """

    def __init__(self, chat: ChatFormat, instructions: str = "", tools: Sequence[ToolSpec] = ()) -> None:
        self._chat = chat
        self.prefix = chat.prefix(instructions, tools)
        self._items: list[Item] = []
        self._shown: list[list[Segment]] = []  # an entry an item; items of one message share the first one's
        self._generated: _Generated | None = None
        self._first = 0  # the items before it have no room any more

    def common(self, items: Sequence[Item]) -> int:
        """How many items at the start of ``items`` are shown already: whose conversation it is."""
        count = 0
        for held, item in zip(self._items, items, strict=False):
            if not _is_same(held, item):
                break
            count += 1
        return count

    def prompt(self, items: Sequence[Item], opening: Opening = "speak", room: int | None = None) -> list[Segment]:
        """The whole prompt for a conversation, up to where the model goes on.

        Args:
            items: The conversation from its beginning.
            opening: How the assistant's message begins.
            room: Positions that the prompt may take. Where the conversation takes more, its oldest turns are left out,
                a quarter of the room at once, so that what stays is seldom computed again. What a conversation begins
                with and its last turn stay whatever they take.
        """
        kept = self.common(items)
        while kept < len(self._shown) and kept and not self._shown[kept]:
            kept -= 1  # the middle of a message
        del self._items[kept:], self._shown[kept:]
        self._first = self._first if self._first < kept else 0
        self._add(items)
        self._generated = None
        begin, end = self.prefix.ids, tuple(self._chat.open(opening))
        if room is not None:
            self._leave_out(room - len(begin) - len(end))
        shown = [segment for entry in self._shown[self._first :] for segment in entry]
        return _joined([begin, *shown, end])

    def generated(self, ids: Sequence[int], opening: Opening = "speak") -> None:
        """Take note of what the model generated behind the last prompt; its items come with the next one.

        Args:
            ids: Exactly as they were generated, the stop id included if it came.
            opening: That of the prompt. For Think: ``speak``, with the ids behind `<tts_start>` alone.
        """
        self._generated = _Generated(len(self._items), tuple(ids), opening)

    def _leave_out(self, room: int) -> None:
        """Move on to a turn from which on everything has room."""
        sizes = [sum(map(_positions, entry)) for entry in self._shown]
        if sum(sizes[self._first :]) <= room:
            return
        later = [at for at, item in enumerate(self._items) if at > self._first and isinstance(item, UserInput)]
        last = later[-1] if later else self._first
        self._first = next((at for at in later if sum(sizes[at:]) <= room * 3 // 4), last)

    def _add(self, items: Sequence[Item]) -> None:
        """Show the items behind those that are shown."""
        done = {item.call_id for item in self._items if isinstance(item, ToolOutput)}
        at = len(self._items)
        for kind, group in groupby(items[at:], _kind):
            run = list(group)
            self._items += run
            if kind == "user":
                self._shown += [self._chat.user(item) for item in run if isinstance(item, UserInput | Instruction)]
                continue
            if kind == "output":
                outputs = [item for item in run if isinstance(item, ToolOutput)]
                message = self._chat.results(outputs, frozenset(done))
                done |= {output.call_id for output in outputs}
            else:
                message = self._made([item for item in run if isinstance(item, AssistantReply | ToolCall)], at)
            self._shown.append([tuple(message)])
            self._shown += [[] for _ in run[1:]]
            at = len(self._items)

    def _made(self, run: Sequence[_Made], at: int) -> list[int]:
        """The messages of what the assistant said and called in one go."""
        generated = self._generated
        if generated is not None and generated.at == at and (ids := self._heard(run, generated)) is not None:
            return self._chat.reply(ids, generated.opening)
        kept = next((item for item in run if item.token_ids), None)
        calls_made = sum(isinstance(item, ToolCall) for item in run)
        if kept is not None and calls_made and kept.token_ids.count(self._chat.tokenizer.tool_call) == calls_made:
            return self._reply(kept)  # the calls are in it, and what was said behind them
        first = next((place for place, item in enumerate(run) if isinstance(item, ToolCall)), len(run))
        replies = [item for item in run[:first] if isinstance(item, AssistantReply)]
        calls = [item for item in run[first:] if isinstance(item, ToolCall)]
        after = [item for item in run[first:] if isinstance(item, AssistantReply)]
        with_calls = self._calls(replies.pop() if replies else None, calls) if calls else []
        return [
            *(token_id for reply in replies for token_id in self._reply(reply)),
            *with_calls,
            *(token_id for reply in after for token_id in self._reply(reply)),
        ]

    def _reply(self, made: _Made) -> list[int]:
        """A message whose ids came with the item, or of its words."""
        tokenizer, ids = self._chat.tokenizer, made.token_ids
        if not ids:
            return self._chat.message("assistant", made.text.strip() if isinstance(made, AssistantReply) else "")
        speaking = ids[0] == tokenizer.tts_start
        ids = closed(tokenizer, ids[speaking:], speaking=speaking)
        return self._chat.reply(ids, "speak" if speaking else "write")

    def _calls(self, spoken: AssistantReply | None, calls: Sequence[ToolCall]) -> list[int]:
        """A message of calls whose ids are not known, behind the words that came before them."""
        tokenizer = self._chat.tokenizer
        message = self._chat.header("assistant") if spoken is None else self._reply(spoken)[:-1]
        for call in calls:
            message += self._chat.call(call.name, call.arguments)
        return [*message, tokenizer.eot]

    def _heard(self, run: Sequence[_Made], generated: _Generated) -> tuple[int, ...] | None:
        """The ids of ``run`` as far as it was heard; None where these items are not what was generated."""
        tokenizer = self._chat.tokenizer
        speaking, in_call = generated.opening == "speak", generated.opening == "call"
        ids = closed(tokenizer, generated.ids, speaking=speaking, in_call=in_call)
        calls = sum(isinstance(item, ToolCall) for item in run)
        if calls != ids.count(tokenizer.tool_call) + in_call:
            return None
        replies = [item for item in run if isinstance(item, AssistantReply)]
        said = _letters("".join(reply.text for reply in replies))
        if said == _letters(tokenizer.decode(_words(tokenizer, ids, speaking=speaking, in_call=in_call))):
            return ids
        before = ids[: ids.index(tokenizer.tool_call)] if calls and not in_call else () if in_call else ids[:-1]
        text = _letters(tokenizer.decode(split(tokenizer, before, speaking=speaking).text))
        if not (replies and replies[-1].interrupted and speaking and text.startswith(said)):
            return None
        cut = up_to_text(tokenizer, before, said)
        return (*cut, tokenizer.tts_end, *_calls(tokenizer, ids), tokenizer.eot)


def _kind(item: Item) -> Literal["user", "made", "output"]:
    return "user" if isinstance(item, UserInput | Instruction) else "output" if isinstance(item, ToolOutput) else "made"


def _is_same(held: Item, item: Item) -> bool:
    """Whether two items look the same to the model; a sound does whatever its transcript says."""
    if isinstance(held, UserInput) and isinstance(item, UserInput) and (held.audio or item.audio):
        return held.audio is item.audio
    return held == item


def _words(tokenizer: Tokenizer, ids: Sequence[int], *, speaking: bool = False, in_call: bool = False) -> Iterator[int]:
    """The ids of what was said and written, outside calls."""
    splitter = Splitter(tokenizer, speaking=speaking, in_call=in_call)
    for token_id in ids:
        if (part := splitter.feed(token_id)) is not None and part.kind in ("spoken", "written"):
            yield token_id


def _calls(tokenizer: Tokenizer, ids: Sequence[int]) -> Iterator[int]:
    """The ids of the calls."""
    splitter = Splitter(tokenizer)
    for token_id in ids:
        if (part := splitter.feed(token_id)) is not None and part.kind == "call":
            yield token_id


def _positions(segment: Segment) -> int:
    """How many positions of the cache a segment takes, or a few more."""
    if isinstance(segment, tuple):
        return len(segment)
    seconds = segment.audio.seconds
    return int(seconds * 12.5) + 4 * (1 + int(seconds / 17))  # pieces are 17.5 s and longer, with two marks each


def _joined(segments: Sequence[Segment]) -> list[Segment]:
    """The same with neighbouring ids in one segment."""
    joined: list[Segment] = []
    for is_ids, group in groupby(segments, lambda segment: isinstance(segment, tuple)):
        parts = list(group)
        if is_ids:
            ids = tuple(i for part in parts if isinstance(part, tuple) for i in part)
            joined += [ids] if ids else []
        else:
            joined += parts
    return joined


def _letters(text: str) -> str:
    return "".join(filter(str.isalnum, text))
