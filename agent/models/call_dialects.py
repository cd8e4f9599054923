"""How models write tool calls: one frozen `Dialect` a syntax, for `sayso.models.call_parser.CallParser`."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a model writes a call.

    Attributes:
        open_mark: Text that begins a call, or "" where the whole stream is one object. Its first character occurs in no
            mark again.
        close_mark: Text that ends a call; begins with the same character.
        header: The name may stand before the arguments, on a line of its own, after an optional line ``function``.
        envelope: Name and arguments may be members of one object.
        name_keys: Members of the envelope that hold the name; the first one met counts.
        argument_keys: Members that hold the arguments (an object, or a string with one); the first one met counts.
        speech_name: A name that means "no call, speak", or None.
        speech_key: The argument whose string is then spoken.
    """

    open_mark: str = "<tool_call>"
    close_mark: str = "</tool_call>"
    header: bool = False
    envelope: bool = False
    name_keys: tuple[str, ...] = ("name",)
    argument_keys: tuple[str, ...] = ("arguments", "parameters")
    speech_name: str | None = None
    speech_key: str = "say"


STEP_AUDIO = Dialect(header=True)
"""``<tool_call>function\\nNAME\\n{json}</tool_call>`` with any blanks, as Step-Audio 2 and StepEval write it."""

QWEN = Dialect(envelope=True)
"""``<tool_call>{"name": NAME, "arguments": {json}}</tool_call>``, as Qwen and Hermes write it."""

LENIENT = Dialect(header=True, envelope=True)
"""`STEP_AUDIO` or `QWEN`, told apart call by call."""

CONSTRAINED = Dialect(
    open_mark="", close_mark="", envelope=True, name_keys=("tool",), argument_keys=("arguments",), speech_name="none"
)
"""One object ``{"tool": NAME, "arguments": {json}}``; the tool ``none`` speaks its argument ``say``."""

CONSTRAINED_PREFIX = '{"tool":"'
"""What a prompt for `CONSTRAINED` may end with, so that the stream begins with the name."""
