"""What clients send to ``/v1/chat/completions``. Fields that are not here are ignored; see docs/server-chat.md."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, ConfigDict, Discriminator, Field, JsonValue, Tag

from sayso.items import JsonObject

FormatName: TypeAlias = Literal["wav", "mp3", "flac", "opus", "aac", "pcm16"]
Text = Annotated[str, Field(max_length=200_000)]
Id = Annotated[str, Field(min_length=1, max_length=200)]


class Part(BaseModel):
    """A part of a request: a number is no word and no truth value."""

    model_config = ConfigDict(strict=True)


class TextPart(Part):
    """Words."""

    type: Literal["text"]
    text: Text


class InputAudio(Part):
    """A sound file in base64; what it is, is found out from its content."""

    data: str
    format: str = ""


class AudioPart(Part):
    """Speech of the user."""

    type: Literal["input_audio"]
    input_audio: InputAudio


class RefusalPart(Part):
    """Words with which an assistant refused."""

    type: Literal["refusal"]
    refusal: Text


def _kind(content: object) -> str:
    return "text" if isinstance(content, str) else "parts"


Words: TypeAlias = Annotated[
    Annotated[Text, Tag("text")] | Annotated[list[TextPart], Tag("parts")], Discriminator(_kind)
]
UserPart: TypeAlias = Annotated[TextPart | AudioPart, Field(discriminator="type")]
UserParts = Annotated[list[UserPart], Field(min_length=1, max_length=100)]
AssistantPart: TypeAlias = Annotated[TextPart | RefusalPart, Field(discriminator="type")]


class SystemMessage(Part):
    """What the app tells the model."""

    role: Literal["system", "developer"]
    content: Words


class UserMessage(Part):
    """What the user said or wrote."""

    role: Literal["user"]
    content: Annotated[Annotated[Text, Tag("text")] | Annotated[UserParts, Tag("parts")], Discriminator(_kind)]


class CalledFunction(Part):
    """Which function, and its arguments as JSON."""

    name: Id
    arguments: Text


class FunctionCall(Part):
    """A call that an earlier answer made."""

    id: Id
    type: Literal["function"] = "function"
    function: CalledFunction


class EarlierAudio(Part):
    """A spoken answer, by its id."""

    id: Id


class AssistantMessage(Part):
    """An earlier answer."""

    role: Literal["assistant"]
    content: (
        Annotated[Annotated[Text, Tag("text")] | Annotated[list[AssistantPart], Tag("parts")], Discriminator(_kind)]
        | None
    ) = None
    refusal: Text | None = None
    audio: EarlierAudio | None = None
    tool_calls: list[FunctionCall] | None = Field(default=None, max_length=128)


class ToolMessage(Part):
    """What came back from a call."""

    role: Literal["tool"]
    content: Words
    tool_call_id: Id


Message: TypeAlias = Annotated[
    SystemMessage | UserMessage | AssistantMessage | ToolMessage, Field(discriminator="role")
]


class Function(Part):
    """A function of the client."""

    name: Id
    description: Text = ""
    parameters: JsonObject | None = None
    strict: bool | None = None


class FunctionTool(Part):
    """A tool that the client runs."""

    type: Literal["function"]
    function: Function


class FunctionName(Part):
    """Which function."""

    name: Id


class NamedTool(Part):
    """The function to call."""

    type: Literal["function"]
    function: FunctionName


class AllowedTools(Part):
    """The functions that may be called."""

    mode: Literal["auto", "required"]
    tools: list[NamedTool] = Field(min_length=1)


class AllowedChoice(Part):
    """Only some of the functions."""

    type: Literal["allowed_tools"]
    allowed_tools: AllowedTools


ToolChoice: TypeAlias = (
    Literal["none", "auto", "required"] | Annotated[NamedTool | AllowedChoice, Field(discriminator="type")]
)


class TextFormat(Part):
    """Words."""

    type: Literal["text"]


class JsonFormat(Part):
    """Any JSON object."""

    type: Literal["json_object"]


class NamedSchema(Part):
    """A JSON Schema of type ``object``."""

    name: str = ""
    description: str = ""
    schema_: JsonObject = Field(alias="schema")
    strict: bool | None = None


class SchemaFormat(Part):
    """A JSON object that fits a schema."""

    type: Literal["json_schema"]
    json_schema: NamedSchema


class VoiceId(Part):
    """A voice, by its name."""

    id: Id


class AudioOutput(Part):
    """How an answer sounds and is written."""

    voice: Id | VoiceId
    format: FormatName

    @property
    def voice_name(self) -> str:
        """The name of the voice."""
        return self.voice if isinstance(self.voice, str) else self.voice.id


class StreamOptions(Part):
    """What a stream tells beside the answer."""

    include_usage: bool = False


class ChatRequest(Part):
    """The body."""

    model: Annotated[str, Field(max_length=200, description="The agent's name.")]
    messages: Annotated[list[Message], Field(min_length=1, max_length=2000)]
    modalities: Annotated[list[Literal["text", "audio"]], Field(min_length=1)] | None = None
    audio: AudioOutput | None = None
    tools: Annotated[list[FunctionTool], Field(max_length=128)] | None = None
    tool_choice: ToolChoice | None = None
    parallel_tool_calls: bool | None = None
    response_format: Annotated[TextFormat | JsonFormat | SchemaFormat, Field(discriminator="type")] | None = None
    max_completion_tokens: Annotated[int, Field(ge=1)] | None = None
    max_tokens: Annotated[int, Field(ge=1, description="As `max_completion_tokens`.")] | None = None
    temperature: Annotated[float, Field(ge=0, le=2)] | None = None
    seed: Annotated[int, Field(ge=-(2**63), lt=2**63)] | None = None
    stop: Text | Annotated[list[Text], Field(max_length=4)] | None = None
    stream: bool | None = None
    stream_options: StreamOptions | None = None
    user: Annotated[str, Field(max_length=200)] | None = None
    n: Literal[1] | None = None
    # refused where they would change something:
    top_p: float | None = None
    frequency_penalty: float | None = None
    presence_penalty: float | None = None
    logit_bias: dict[str, Any] | None = None
    logprobs: bool | None = None
    top_logprobs: int | None = None
    functions: JsonValue = None
    function_call: JsonValue = None
    web_search_options: JsonValue = None

    @property
    def speaks(self) -> bool:
        """Whether the answer is spoken."""
        return "audio" in (self.modalities or ())

    @property
    def stops(self) -> list[str]:
        """Texts at which the answer ends."""
        given = [self.stop] if isinstance(self.stop, str) else self.stop or []
        return [text for text in given if text]
