"""Answers with a schema: to the language model they are one more tool, to everybody else words."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from sayso.items import JsonObject, ToolSpec
from sayso.models.base import CallClose, CallDelta, CallOpen, ModelEvent, Text
from sayso.models.call_parser import ParserEvent
from sayso.prompts import load

NAME = "answer."
"""What the model writes for such an answer; no tool's name holds a dot."""


def answer_form(schema: JsonObject | None, language: str = "en") -> tuple[ToolSpec, ...]:
    """The tool that stands for an answer with ``schema``; none without one."""
    if schema is None:
        return ()
    return (ToolSpec(NAME, load("embedded/answer_form", language).template.strip(), schema),)


class FormReader:
    """Turns calls of that tool into the words of their arguments; all else goes through."""

    def __init__(self) -> None:
        self._answers: set[int] = set()

    def read(self, events: Iterable[ParserEvent]) -> Iterator[ModelEvent]:
        """What these events are to the agent."""
        for event in events:
            match event:
                case CallOpen(index, name) if name == NAME:
                    self._answers.add(index)
                case CallDelta(index, delta) if index in self._answers:
                    yield Text(delta)
                case CallClose(index) if index in self._answers:
                    pass
                case _:
                    yield event
