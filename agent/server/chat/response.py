"""What clients of ``/v1/chat/completions`` are answered, as a whole."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel

from sayso.server.chat.turn import Finish, Reason


class CalledFunction(BaseModel):
    """Which function, and its arguments as JSON."""

    name: str
    arguments: str


class ToolCall(BaseModel):
    """A call for the client to run."""

    id: str
    type: Literal["function"] = "function"
    function: CalledFunction


class SpokenAnswer(BaseModel):
    """The sound of an answer, in base64."""

    id: str
    data: str
    expires_at: int
    transcript: str


class AnswerMessage(BaseModel):
    """The answer."""

    role: Literal["assistant"] = "assistant"
    content: str | None
    refusal: None = None
    audio: SpokenAnswer | None = None
    tool_calls: list[ToolCall] | None = None


class Choice(BaseModel):
    """The one answer."""

    index: int = 0
    message: AnswerMessage
    logprobs: None = None
    finish_reason: Reason


class Usage(BaseModel):
    """Tokens of all rounds of the turn; those of the prompt that were found in a cache are not counted."""

    prompt_tokens: int
    completion_tokens: int
    total_tokens: int

    @classmethod
    def of(cls, finish: Finish) -> Usage:
        """What a turn took."""
        total = finish.prompt_tokens + finish.completion_tokens
        return cls(prompt_tokens=finish.prompt_tokens, completion_tokens=finish.completion_tokens, total_tokens=total)


class ChatCompletion(BaseModel):
    """The body of an answer."""

    id: str
    object: Literal["chat.completion"] = "chat.completion"
    created: int
    model: str
    choices: list[Choice]
    usage: Usage
