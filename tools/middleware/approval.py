"""`require_approval`: a person has to agree before a call runs."""

from __future__ import annotations

from dataclasses import replace

from typing_extensions import ParamSpec, TypeVar

from sayso.tools.policy import Asks, Question
from sayso.tools.say import compile_question
from sayso.tools.tool import Tool

P = ParamSpec("P")
R = TypeVar("R")


def require_approval(
    tool: Tool[P, R], question: str | Question | None = None, *, when: Asks | None = None
) -> Tool[P, R]:
    """``tool``, of which no call runs before a person has agreed to it.

    Args:
        tool: Any tool.
        when: Of the validated arguments: whether this call needs it. None: each one does.
        question: What the person is asked, as ``confirm`` of `sayso.tool`; None: what the tool asks by itself.

    Raises:
        ToolDefinitionError: ``question`` names a parameter that the tool does not have.
    """
    asked = replace(tool, policy=replace(tool.policy, approval=True), asks=when)
    if question is None:
        return asked
    return replace(asked, question=compile_question(question, tool.spec.parameters, tool.where))
