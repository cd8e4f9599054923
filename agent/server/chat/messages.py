"""From the messages of a request to the items of a conversation."""

from __future__ import annotations

import base64
import binascii
import hashlib
import json
from collections.abc import AsyncGenerator, Sequence
from typing import Any, cast

from sayso.errors import SaysoError
from sayso.intake import listen
from sayso.items import AssistantReply, Audio, Instruction, Item, JsonObject, ToolCall, ToolOutput, UserInput
from sayso.models.base import VoiceModel
from sayso.models.transcription import Transcribing, transcribe
from sayso.server.chat.memory import Memory
from sayso.server.chat.request import (
    AssistantMessage,
    AudioPart,
    FunctionCall,
    InputAudio,
    Message,
    RefusalPart,
    SystemMessage,
    TextPart,
    ToolMessage,
    UserMessage,
)
from sayso.server.errors import InvalidRequest


def instructions_of(messages: Sequence[Message]) -> str:
    """What the system and developer messages at the beginning say."""
    texts: list[str] = []
    for message in messages:
        if not isinstance(message, SystemMessage):
            break
        texts.append(_text(message.content))
    return "\n\n".join(text for text in texts if text)


class Reader:
    """Reads the messages of one request.

    Args:
        model: That will be shown the items.
        memory: Knows what messages refer to.
        caller: Whose memory.

    Attributes:
        heard_s: Seconds of speech that were read.
    """

    def __init__(self, model: VoiceModel, memory: Memory, caller: str) -> None:
        self._model = model
        self._memory = memory
        self._caller = caller
        self._calls: dict[str, str] = {}  # names by id, of calls without an output so far
        self.heard_s = 0.0

    async def items(self, messages: Sequence[Message]) -> list[Item]:
        """The items, without the instructions at the beginning.

        Raises:
            InvalidRequest: A message cannot be used; it is named.
        """
        found: list[Item] = []
        start = next((at for at, message in enumerate(messages) if not isinstance(message, SystemMessage)), None)
        for at in range(len(messages) if start is None else start, len(messages)):
            message, place, is_last = messages[at], f"messages.{at}", at == len(messages) - 1
            if self._calls and not isinstance(message, ToolMessage):
                raise _unanswered(self._calls, place)
            match message:
                case SystemMessage():
                    found.append(Instruction(_text(message.content)))
                case UserMessage():
                    found += [item async for item in self._said(message, place, is_last=is_last)]
                case AssistantMessage():
                    found += self._answered(message, place)
                case ToolMessage():
                    found.append(self._output(message, place))
        if self._calls:
            raise _unanswered(self._calls, f"messages.{len(messages) - 1}")
        return found

    async def _said(self, message: UserMessage, place: str, *, is_last: bool) -> AsyncGenerator[Item, None]:
        """One item a sound, and one for words before, between and behind them."""
        parts = message.content
        if isinstance(parts, str):
            parts = [TextPart(type="text", text=parts)]
        if not any(isinstance(part, AudioPart) or part.text.strip() for part in parts):
            raise InvalidRequest("The message is empty.", "Write or say something.", param=f"{place}.content")
        words: list[str] = []
        for at, part in enumerate(parts):
            if isinstance(part, TextPart):
                words.append(part.text)
                continue
            if text := "\n".join(words).strip():
                yield UserInput(text)
            words.clear()
            goes_last = is_last and at == len(parts) - 1
            yield await self._speech(part.input_audio, f"{place}.content.{at}.input_audio", is_question=goes_last)
        if text := "\n".join(words).strip():
            yield UserInput(text)

    async def _speech(self, sound: InputAudio, place: str, *, is_question: bool) -> UserInput:
        try:
            data = base64.b64decode(sound.data, validate=True)
        except (binascii.Error, ValueError):
            raise InvalidRequest("This is no base64.", "Encode the sound file.", param=f"{place}.data") from None
        try:
            user = await listen(data, hears=self._model.profile.hears)
        except SaysoError as error:
            raise InvalidRequest(Exception.__str__(error), error.hint, param=place) from None
        if user is None or user.audio is None:
            raise InvalidRequest("Nobody speaks in this sound.", "Record it again.", param=f"{place}.data")
        self.heard_s += user.audio.seconds
        if is_question or self._model.profile.keeps_audio:
            return user
        return UserInput(await self._words(data, user.audio, place))

    async def _words(self, data: bytes, audio: Audio, place: str) -> str:
        """What was said in an earlier turn, for a model that keeps no sound."""
        key = hashlib.sha256(data).hexdigest()
        words = self._memory.heard.get(self._caller, key)
        if words is None:
            if not isinstance(self._model, Transcribing) or not self._model.profile.transcribes:
                raise InvalidRequest(
                    f"The model {self._model.profile.name} hears only the last message.",
                    "Send earlier ones as text.",
                    code="unsupported_value",
                    param=place,
                )
            words = (await transcribe(self._model, audio)).text
            self._memory.heard.put(self._caller, key, words)
        return words or "..."

    def _answered(self, message: AssistantMessage, place: str) -> list[Item]:
        text = _text(message.content) or message.refusal or ""
        if message.audio is not None:
            spoken = self._memory.spoken.get(self._caller, message.audio.id)
            if spoken is None:
                raise InvalidRequest(
                    f"There is no spoken answer {message.audio.id!r} (any more).",
                    "Send its transcript as content.",
                    param=f"{place}.audio.id",
                )
            text = spoken
        calls = [self._call(call, f"{place}.tool_calls.{at}") for at, call in enumerate(message.tool_calls or ())]
        earlier = [item for call in calls for item in self._memory.before.get(self._caller, call.call_id) or ()]
        return [*earlier, *([AssistantReply(text)] if text.strip() else []), *calls]

    def _call(self, call: FunctionCall, place: str) -> ToolCall:
        if call.id in self._calls:
            raise InvalidRequest(f"Two calls have the id {call.id!r}.", param=f"{place}.id")
        try:
            arguments: Any = json.loads(call.function.arguments or "{}")
        except (ValueError, RecursionError):
            arguments = None
        if not isinstance(arguments, dict):
            raise InvalidRequest("The arguments are no JSON object.", param=f"{place}.function.arguments")
        self._calls[call.id] = call.function.name
        return ToolCall(call.id, call.function.name, cast("JsonObject", arguments))

    def _output(self, message: ToolMessage, place: str) -> ToolOutput:
        name = self._calls.pop(message.tool_call_id, None)
        if name is None:
            raise InvalidRequest(
                f"No call {message.tool_call_id!r} waits for an output here.",
                "Put tool messages behind the assistant message with their tool_calls.",
                param=f"{place}.tool_call_id",
            )
        return ToolOutput(message.tool_call_id, name, _text(message.content))


def _text(content: str | Sequence[TextPart | RefusalPart] | None) -> str:
    if content is None or isinstance(content, str):
        return content or ""
    return "\n".join(part.text if isinstance(part, TextPart) else part.refusal for part in content)


def _unanswered(calls: dict[str, str], place: str) -> InvalidRequest:
    return InvalidRequest(
        f"The call {next(iter(calls))!r} has no output.",
        "Answer each of tool_calls with a tool message right behind it.",
        param=place,
    )
