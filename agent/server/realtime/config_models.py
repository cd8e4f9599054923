"""The fields of a session that clients may set, checked."""

from __future__ import annotations

from typing import Annotated, Any, Literal, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field

from sayso.items import JsonObject
from sayso.server.realtime.sound import FormatName

MAX_INSTRUCTIONS_CHARS = 200_000
MAX_TOOLS = 128


class Strict(BaseModel):
    """A wrong type is an error, an unknown field is not."""

    model_config = ConfigDict(strict=True, extra="ignore", frozen=True)


def _one_modality(value: Any) -> Any:
    """``["audio"]`` and ``["audio", "text"]``, which some clients send, mean the same: audio has a transcript."""
    if isinstance(value, list) and sorted(str(one) for one in value) == ["audio", "text"]:  # pyright: ignore
        return ["audio"]
    return value  # pyright: ignore


Modalities: TypeAlias = Annotated[
    list[Literal["text", "audio"]], Field(min_length=1, max_length=1), BeforeValidator(_one_modality)
]
MaxTokens: TypeAlias = Annotated[int, Field(ge=1, le=1_000_000)] | Literal["inf"]
Metadata: TypeAlias = Annotated[
    dict[Annotated[str, Field(max_length=64)], Annotated[str, Field(max_length=512)]], Field(max_length=16)
]


class Voice(Strict):
    """A voice by its id."""

    id: Annotated[str, Field(min_length=1, max_length=256)]


VoiceField: TypeAlias = Annotated[str, Field(min_length=1, max_length=256)] | Voice


class FormatField(Strict):
    """How sound is written; PCM has 24 kHz."""

    type: FormatName
    rate: Literal[24000, 8000] | None = None


class FunctionTool(Strict):
    """A tool that the client runs."""

    type: Literal["function"]
    name: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z_][a-zA-Z0-9_-]*$")]
    description: Annotated[str, Field(max_length=16_384)] | None = None
    parameters: JsonObject | None = None


class ToolFilter(Strict):
    """Some tools of a server."""

    tool_names: list[str] | None = None
    read_only: bool | None = None


class ApprovalFilter(Strict):
    """Which tools of a server need a person's agreement."""

    always: ToolFilter | None = None
    never: ToolFilter | None = None


class McpTool(Strict):
    """The tools of an MCP server that this server connects to."""

    type: Literal["mcp"]
    server_label: Annotated[str, Field(min_length=1, max_length=64, pattern=r"^[a-zA-Z][a-zA-Z0-9_-]*$")]
    server_url: Annotated[str, Field(max_length=2000)] | None = None
    authorization: Annotated[str, Field(max_length=8192)] | None = None
    headers: Annotated[dict[str, str], Field(max_length=32)] | None = None
    allowed_tools: list[str] | ToolFilter | None = None
    require_approval: Literal["always", "never"] | ApprovalFilter | None = None
    server_description: str | None = None
    connector_id: str | None = None


ToolField: TypeAlias = Annotated[FunctionTool | McpTool, Field(discriminator="type")]


class NamedTool(Strict):
    """One tool that has to be called."""

    type: Literal["function", "mcp"]
    name: Annotated[str, Field(min_length=1, max_length=64)] | None = None
    server_label: str | None = None


ToolChoiceField: TypeAlias = Literal["auto", "none", "required"] | NamedTool


class ServerVad(Strict):
    """Turns end in silence."""

    type: Literal["server_vad"]
    threshold: Annotated[float, Field(ge=0, le=1)] | None = None
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] | None = None
    silence_duration_ms: Annotated[int, Field(ge=1, le=10_000)] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: Annotated[int, Field(ge=5000, le=30_000)] | None = None


class SemanticVad(Strict):
    """Turns end where what was said is complete."""

    type: Literal["semantic_vad"]
    eagerness: Literal["low", "medium", "high", "auto"] | None = None
    create_response: bool | None = None
    interrupt_response: bool | None = None


TurnDetection: TypeAlias = Annotated[ServerVad | SemanticVad, Field(discriminator="type")]


class Transcription(Strict):
    """What the user says is written down too."""

    model: str | None = None
    language: Annotated[str, Field(max_length=35)] | None = None
    prompt: str | None = None


class NoiseReduction(Strict):
    """Accepted; nothing is done about noise."""

    type: Literal["near_field", "far_field"]


class AudioInput(Strict):
    """The user's side."""

    format: FormatField | None = None
    turn_detection: TurnDetection | None = None
    transcription: Transcription | None = None
    noise_reduction: NoiseReduction | None = None


class AudioOutput(Strict):
    """The agent's side."""

    format: FormatField | None = None
    voice: VoiceField | None = None
    speed: Annotated[float, Field(ge=0.25, le=1.5)] | None = None


class AudioConfig(Strict):
    """Both sides."""

    input: AudioInput | None = None
    output: AudioOutput | None = None


class SessionField(Strict):
    """What ``session.update`` may change. What is not there stays as it is."""

    type: Literal["realtime"] | None = None
    model: str | None = None
    instructions: Annotated[str, Field(max_length=MAX_INSTRUCTIONS_CHARS)] | None = None
    output_modalities: Modalities | None = None
    audio: AudioConfig | None = None
    tools: Annotated[list[ToolField], Field(max_length=MAX_TOOLS)] | None = None
    tool_choice: ToolChoiceField | None = None
    max_output_tokens: MaxTokens | None = None
    parallel_tool_calls: bool | None = None
    truncation: Literal["auto", "disabled"] | JsonObject | None = None
    tracing: Literal["auto"] | JsonObject | None = None
    include: list[str] | None = None
    reasoning: JsonObject | None = None
    prompt: JsonObject | None = None
