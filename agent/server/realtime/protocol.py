"""What clients send: the eleven events of OpenAI's Realtime protocol, checked field by field.

A field that is wrong is named as OpenAI names it (``session.audio.input.turn_detection.threshold``); fields that are
not known are ignored, as stock clients send new ones before anybody else knows them.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias, cast

import orjson
from pydantic import Field, ValidationError

from sayso.items import JsonObject
from sayso.server.errors import InvalidRequest, TooLarge
from sayso.server.realtime.config_models import (
    FormatField,
    MaxTokens,
    Metadata,
    Modalities,
    SessionField,
    Strict,
    ToolChoiceField,
    ToolField,
    VoiceField,
)

MAX_ID_CHARS = 128
MAX_TEXT_CHARS = 200_000
MAX_PARTS = 64
MAX_INPUT_ITEMS = 256

Id: TypeAlias = Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
Text: TypeAlias = Annotated[str, Field(max_length=MAX_TEXT_CHARS)]
Status: TypeAlias = Literal["completed", "incomplete", "in_progress"]


class ClientEvent(Strict):
    """What every event may have."""

    event_id: Annotated[str, Field(max_length=512)] | None = None


class SystemPart(Strict):
    """Of a system message."""

    type: Literal["input_text"]
    text: Text


class UserText(Strict):
    """Written by the user."""

    type: Literal["input_text"]
    text: Text


class UserAudio(Strict):
    """Said by the user: base64 in the session's input format, or what was understood of it."""

    type: Literal["input_audio"]
    audio: str | None = None
    transcript: Text | None = None


class UserImage(Strict):
    """Shown by the user."""

    type: Literal["input_image"]
    image_url: str | None = None


class AssistantText(Strict):
    """Written by the assistant; ``text`` is its name before the protocol was final."""

    type: Literal["output_text", "text"]
    text: Text


class AssistantAudio(Strict):
    """Said by the assistant. Its sound cannot be put in, its words can."""

    type: Literal["output_audio", "audio"]
    transcript: Text | None = None


UserPart: TypeAlias = Annotated[UserText | UserAudio | UserImage, Field(discriminator="type")]
AssistantPart: TypeAlias = Annotated[AssistantText | AssistantAudio, Field(discriminator="type")]


class ItemBase(Strict):
    """What every item may have."""

    id: Id | None = None
    status: Status | None = None


class SystemMessage(ItemBase):
    """What the app tells the model."""

    type: Literal["message"]
    role: Literal["system", "developer"]
    content: Annotated[list[SystemPart], Field(min_length=1, max_length=MAX_PARTS)]


class UserMessage(ItemBase):
    """What the user said or wrote."""

    type: Literal["message"]
    role: Literal["user"]
    content: Annotated[list[UserPart], Field(min_length=1, max_length=MAX_PARTS)]


class AssistantMessage(ItemBase):
    """What the assistant said."""

    type: Literal["message"]
    role: Literal["assistant"]
    content: Annotated[list[AssistantPart], Field(max_length=MAX_PARTS)]


class FunctionCall(ItemBase):
    """A call that was made before."""

    type: Literal["function_call"]
    name: Annotated[str, Field(min_length=1, max_length=MAX_ID_CHARS)]
    arguments: Text
    call_id: Id | None = None


class FunctionCallOutput(ItemBase):
    """What came of a call."""

    type: Literal["function_call_output"]
    call_id: Id
    output: Text


class McpApprovalResponse(ItemBase):
    """Whether a call that waits may run."""

    type: Literal["mcp_approval_response"]
    approval_request_id: Id
    approve: bool
    reason: Text | None = None


class ItemReference(Strict):
    """An item of the conversation, where a response has its own input."""

    type: Literal["item_reference"]
    id: Id


Message: TypeAlias = Annotated[SystemMessage | UserMessage | AssistantMessage, Field(discriminator="role")]
NewItem: TypeAlias = Annotated[
    Message | FunctionCall | FunctionCallOutput | McpApprovalResponse, Field(discriminator="type")
]
InputItem: TypeAlias = Annotated[
    Message | FunctionCall | FunctionCallOutput | ItemReference, Field(discriminator="type")
]


class ResponseAudioOutput(Strict):
    """How a response sounds."""

    voice: VoiceField | None = None
    format: FormatField | None = None


class ResponseAudio(Strict):
    """How a response sounds."""

    output: ResponseAudioOutput | None = None


class ResponseOptions(Strict):
    """What is different in one response."""

    audio: ResponseAudio | None = None
    conversation: Literal["auto", "none"] | None = None
    input: Annotated[list[InputItem], Field(max_length=MAX_INPUT_ITEMS)] | None = None
    instructions: Text | None = None
    max_output_tokens: MaxTokens | None = None
    metadata: Metadata | None = None
    output_modalities: Modalities | None = None
    tool_choice: ToolChoiceField | None = None
    tools: Annotated[list[ToolField], Field(max_length=128)] | None = None
    prompt: JsonObject | None = None


class SessionUpdate(ClientEvent):
    """Change the session."""

    type: Literal["session.update"]
    session: SessionField


class AudioAppend(ClientEvent):
    """The next sound of the user."""

    type: Literal["input_audio_buffer.append"]
    audio: str


class AudioCommit(ClientEvent):
    """What came so far is what the user said."""

    type: Literal["input_audio_buffer.commit"]


class AudioClear(ClientEvent):
    """Forget what came so far."""

    type: Literal["input_audio_buffer.clear"]


class OutputClear(ClientEvent):
    """Stop playing; for transports that play."""

    type: Literal["output_audio_buffer.clear"]


class ItemCreate(ClientEvent):
    """Put an item into the conversation; ``root`` is its beginning."""

    type: Literal["conversation.item.create"]
    item: NewItem
    previous_item_id: Id | None = None


class ItemDelete(ClientEvent):
    """Take an item out."""

    type: Literal["conversation.item.delete"]
    item_id: Id


class ItemRetrieve(ClientEvent):
    """Show an item."""

    type: Literal["conversation.item.retrieve"]
    item_id: Id


class ItemTruncate(ClientEvent):
    """The user heard so much of a reply."""

    type: Literal["conversation.item.truncate"]
    item_id: Id
    content_index: Annotated[int, Field(ge=0)]
    audio_end_ms: Annotated[int, Field(ge=0)]


class ResponseCreate(ClientEvent):
    """Answer."""

    type: Literal["response.create"]
    response: ResponseOptions | None = None


class ResponseCancel(ClientEvent):
    """Stop answering."""

    type: Literal["response.cancel"]
    response_id: Id | None = None


Received: TypeAlias = (
    SessionUpdate
    | AudioAppend
    | AudioCommit
    | AudioClear
    | OutputClear
    | ItemCreate
    | ItemDelete
    | ItemRetrieve
    | ItemTruncate
    | ResponseCreate
    | ResponseCancel
)
EVENTS: dict[str, type[ClientEvent]] = {
    model.model_fields["type"].annotation.__args__[0]: model  # pyright: ignore
    for model in Received.__args__  # pyright: ignore
}


def decode(message: str | bytes, limit_bytes: int) -> JsonObject:
    """The JSON object in a message.

    Raises:
        TooLarge: It is too long.
        InvalidRequest: It is none.
    """
    if len(message) > limit_bytes:
        raise TooLarge(f"A message of {len(message)} bytes came; {limit_bytes} are the most.", "Send shorter ones.")
    try:
        found: Any = orjson.loads(message)
    except orjson.JSONDecodeError as error:
        raise InvalidRequest(f"The message is no JSON: {str(error)[:100]}.", code="invalid_json") from None
    if not isinstance(found, dict):
        raise InvalidRequest("The message is no JSON object.", "Send one event a message.", code="invalid_json")
    return cast("JsonObject", found)


def event_id_of(event: JsonObject) -> str | None:
    """The id that the client gave its event, for errors about it."""
    found = event.get("event_id")
    return found[:512] if isinstance(found, str) else None


def parse(event: JsonObject) -> Received:
    """An event as one of the eleven.

    Raises:
        InvalidRequest: It is none; ``param`` names the field that is wrong.
    """
    kind = event.get("type")
    if kind is None:
        raise InvalidRequest("Missing required parameter: 'type'.", code="missing_required_parameter", param="type")
    model = EVENTS.get(kind) if isinstance(kind, str) else None
    if model is None:
        known = ", ".join(f"'{name}'" for name in EVENTS)
        shown = f"'{kind[:100]}'" if isinstance(kind, str) else "no text"
        raise InvalidRequest(
            f"Invalid value for 'type': {shown}.", f"Supported values are: {known}.", code="invalid_value", param="type"
        )
    try:
        return cast("Received", model.model_validate(event))
    except ValidationError as error:
        raise refusal(error, event) from None


def refusal(error: ValidationError, event: JsonObject) -> InvalidRequest:
    """What a client is told of the first thing that is wrong."""
    first = error.errors(include_url=False, include_input=False)[0]
    kind = first["type"]
    param = _param(first["loc"], event, is_missing=kind == "missing")
    if kind.startswith("union_tag_"):  # it names the union; what is wrong is the field that tells its kinds apart
        param += "." + str(first.get("ctx", {}).get("discriminator", "type")).strip("'")
    if kind in ("missing", "union_tag_not_found"):
        return InvalidRequest(f"Missing required parameter: '{param}'.", code="missing_required_parameter", param=param)
    code = "invalid_type" if kind.endswith("_type") else "invalid_value"
    return InvalidRequest(f"Invalid '{param}': {first['msg']}.", code=code, param=param)


def _param(loc: tuple[int | str, ...], event: Any, *, is_missing: bool) -> str:
    """Where in ``event`` something is wrong, without the names that pydantic gives the kinds of a union."""
    path, node = "", event
    for at, part in enumerate(loc):
        is_last = at == len(loc) - 1
        if isinstance(part, int) and isinstance(node, list) and part < len(cast("list[Any]", node)):
            path, node = f"{path}[{part}]", cast("list[Any]", node)[part]
        elif isinstance(part, str) and isinstance(node, dict) and (part in node or (is_last and is_missing)):
            path, node = f"{path}.{part}" if path else part, cast("JsonObject", node).get(part)
    return path
