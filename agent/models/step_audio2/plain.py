"""The Base checkpoint: no roles and no tools, it goes on with whatever it is given (specification, section 2.3)."""

from __future__ import annotations

import re
from collections.abc import Sequence

from sayso.errors import UsageError
from sayso.items import Instruction, ToolSpec, UserInput
from sayso.models.base import ModelRequest
from sayso.models.step_audio2.chat import ChatFormat, Opening, Prefix, Segment, Sound
from sayso.prompts import load as load_prompt


class PlainFormat(ChatFormat):
    """A prompt is its parts one after another: the instructions, what the user wrote or said, how the answer begins.

    `check_plain` tells whether a request is one for it.
    """

    def prefix(self, instructions: str, tools: Sequence[ToolSpec] = ()) -> Prefix:
        """The instructions as they are."""
        return Prefix.of(self.tokenizer.encode(instructions))

    def open(self, opening: Opening) -> list[int]:
        """What the answer is to begin with."""
        return self.begin(opening)

    def user(self, item: UserInput | Instruction) -> list[Segment]:
        """What a user said or wrote, as it is."""
        if isinstance(item, UserInput) and item.audio is not None:
            return [Sound(item.audio)]
        return [tuple(self.tokenizer.encode(item.text))]

    def line(self, text: str) -> list[int]:
        """What asks the model to read a line aloud, in the words it was trained with."""
        language = "zh" if re.search("[\u4e00-\u9fff]", text) else "en"
        asked = load_prompt("step_audio2/read", language).template
        return [*self.tokenizer.encode(f"{asked}\n"), *self.tokenizer.encode(text), *self.begin("speak")]


def check_plain(request: ModelRequest) -> None:
    """Refuse what needs roles or tools.

    Raises:
        UsageError: It is a conversation, or one with tools.
    """
    if request.tools:
        raise UsageError("Step-Audio 2 mini Base calls no tools.", "Use step-audio-2-mini, or an Agent without tools.")
    if not all(isinstance(item, UserInput) for item in request.items):
        raise UsageError(
            "Step-Audio 2 mini Base has no roles: it cannot tell who said what in a conversation.",
            "Ask each question in a session of its own, or use step-audio-2-mini.",
        )
