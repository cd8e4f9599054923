"""The configuration of one Realtime session: what clients change, what they are shown, what follows for turns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any, Literal, cast

from sayso.items import JsonObject
from sayso.live import TurnTaking
from sayso.models.end_of_turn import has_finished
from sayso.server.errors import InvalidRequest
from sayso.server.realtime.config_models import (
    AudioInput,
    AudioOutput,
    FormatField,
    FunctionTool,
    McpTool,
    NamedTool,
    SemanticVad,
    ServerVad,
    SessionField,
    Voice,
)
from sayso.server.realtime.sound import PCM, Format

EAGERNESS_MS = {"low": 1500, "medium": 900, "auto": 900, "high": 500}
"""Silence that ends a turn with ``semantic_vad``, where no model judges what was said."""
PATIENCE_MS = {"low": 8000, "medium": 4000, "auto": 4000, "high": 2000}
"""And where one does, and says that the user has not finished: OpenAI's time-outs."""

SECRET = ("authorization", "headers")
"""Of an MCP server: never shown."""

SERVER_VAD = ServerVad(type="server_vad")


@dataclass(frozen=True, slots=True)
class SessionConfig:
    """What is set. Everything that a client may leave out has a value here.

    Attributes:
        model: What the client called the agent.
        instructions: What the model is told.
        modality: Whether responses are spoken or written.
        voice: As the client named it, or the agent's own.
        input_format: Of what comes.
        output_format: Of what goes.
        turn_detection: How turns end; None: the client says.
        transcription: Whether and how what the user says is told.
        tools: Declared by the client.
        tool_choice: As the client wrote it.
        max_output_tokens: Of a response.
        passive: Fields that are kept and shown and change nothing.
    """

    model: str = ""
    instructions: str = ""
    modality: Literal["text", "audio"] = "audio"
    voice: str = ""
    input_format: Format = PCM
    output_format: Format = PCM
    turn_detection: ServerVad | SemanticVad | None = SERVER_VAD
    transcription: JsonObject | None = None
    tools: tuple[FunctionTool | McpTool, ...] = ()
    tool_choice: str | NamedTool = "auto"
    max_output_tokens: int | Literal["inf"] = "inf"
    passive: JsonObject = field(default_factory=dict[str, Any])

    def updated(self, change: SessionField, event: JsonObject) -> SessionConfig:
        """With what a ``session.update`` holds.

        Args:
            change: As it was checked.
            event: As it came, to tell what was set to null from what was left out.

        Raises:
            InvalidRequest: Something in it cannot be.
        """
        present = change.model_fields_set
        if change.prompt is not None:
            raise InvalidRequest(
                "This server keeps no prompts.", "Use instructions.", code="unsupported_value", param="session.prompt"
            )
        new = self._with_audio(change)
        if "instructions" in present:
            new = replace(new, instructions=change.instructions or "")
        if change.output_modalities is not None:
            new = replace(new, modality=change.output_modalities[0])
        if "tools" in present:
            new = replace(new, tools=checked_tools(change.tools or (), "session.tools"))
        if "tool_choice" in present:
            new = replace(new, tool_choice=change.tool_choice or "auto")
        if "max_output_tokens" in present:
            new = replace(new, max_output_tokens=change.max_output_tokens or "inf")
        sent = cast("JsonObject", event["session"])
        kept = ("truncation", "tracing", "include", "reasoning", "parallel_tool_calls")
        passive = {name: sent[name] for name in kept if name in present}
        return replace(new, passive=new.passive | passive) if passive else new

    def _with_audio(self, change: SessionField) -> SessionConfig:
        new, audio = self, change.audio
        if audio is not None and audio.input is not None:
            new = new._with_input(audio.input)
        if audio is not None and audio.output is not None:
            new = new._with_output(audio.output)
        return new

    def _with_input(self, change: AudioInput) -> SessionConfig:
        new, present = self, change.model_fields_set
        if change.format is not None:
            new = replace(new, input_format=checked_format(change.format, "session.audio.input.format"))
        if "turn_detection" in present:
            new = replace(new, turn_detection=change.turn_detection)
        if "transcription" in present:
            shown = None if change.transcription is None else change.transcription.model_dump(exclude_none=True)
            new = replace(new, transcription=shown)
        if "noise_reduction" in present:
            reduction = None if change.noise_reduction is None else change.noise_reduction.model_dump()
            new = replace(new, passive=new.passive | {"noise_reduction": reduction})
        return new

    def _with_output(self, change: AudioOutput) -> SessionConfig:
        new = self
        if change.format is not None:
            new = replace(new, output_format=checked_format(change.format, "session.audio.output.format"))
        if change.voice is not None:
            new = replace(new, voice=voice_name(change.voice))
        return new

    def echo(self, id: str) -> JsonObject:
        """All of it, as the protocol shows it."""
        return {
            "type": "realtime",
            "object": "realtime.session",
            "id": id,
            "model": self.model,
            "instructions": self.instructions,
            "output_modalities": [self.modality],
            "audio": {
                "input": {
                    "format": self.input_format.echo(),
                    "turn_detection": echoed_detection(self.turn_detection),
                    "transcription": self.transcription,
                    "noise_reduction": self.passive.get("noise_reduction"),
                },
                "output": {"format": self.output_format.echo(), "voice": self.voice, "speed": 1.0},
            },
            "tools": [_shown_tool(tool) for tool in self.tools],
            "tool_choice": shown_choice(self.tool_choice),
            "max_output_tokens": self.max_output_tokens,
            "truncation": self.passive.get("truncation", "auto"),
            "tracing": self.passive.get("tracing"),
            "include": self.passive.get("include"),
            "prompt": None,
            "parallel_tool_calls": self.passive.get("parallel_tool_calls", True),
        }

    def taking(self, new_id: Callable[[], str], options: Callable[[], Any]) -> TurnTaking:
        """Who speaks when, where turns are detected."""
        detection = self.turn_detection or SERVER_VAD
        judge = has_finished() if isinstance(detection, SemanticVad) else None
        return TurnTaking(
            ends=_turn_ends(detection, PATIENCE_MS if judge else EAGERNESS_MS),
            has_finished=judge,
            barge_in=detection.interrupt_response is not False,
            answers=detection.create_response is not False,
            new_id=new_id,
            options=options,
        )


def _turn_ends(detection: ServerVad | SemanticVad, silence: Mapping[str, int]) -> Any:
    from sayso.speech.endpointing import TurnEnds

    usual = TurnEnds()
    if isinstance(detection, SemanticVad):
        return replace(usual, end_silence_ms=silence[detection.eagerness or "auto"])
    shown = echoed_detection(detection)
    assert shown is not None
    threshold = min(0.99, max(0.05, float(shown["threshold"])))
    silence_ms = int(shown["silence_duration_ms"])
    return replace(
        usual,
        pre_roll_ms=int(shown["prefix_padding_ms"]),
        end_silence_ms=silence_ms,
        pause_ms=min(usual.pause_ms, silence_ms),
        start_threshold=threshold,
        stop_threshold=max(0.01, threshold - 0.15),
    )


def echoed_detection(detection: ServerVad | SemanticVad | None) -> JsonObject | None:
    """With every default that counts."""
    match detection:
        case None:
            return None
        case SemanticVad():
            usual: JsonObject = {"eagerness": "auto"}
        case ServerVad():
            usual = {
                "threshold": 0.5,
                "prefix_padding_ms": 300,
                "silence_duration_ms": 500,
                "idle_timeout_ms": None,
            }
    usual |= {"create_response": True, "interrupt_response": True}
    return usual | detection.model_dump(exclude_none=True)


def checked_format(format: FormatField, param: str) -> Format:
    """A format that we have.

    Raises:
        InvalidRequest: The rate does not belong to it.
    """
    found = Format(format.type)
    if format.rate not in (None, found.rate_hz):
        raise InvalidRequest(
            f"Invalid '{param}.rate': {format.type} has {found.rate_hz} Hz here.",
            code="invalid_value",
            param=f"{param}.rate",
        )
    return found


def checked_tools(tools: Sequence[FunctionTool | McpTool], param: str) -> tuple[FunctionTool | McpTool, ...]:
    """Tools whose names are unique.

    Raises:
        InvalidRequest: Two have one name.
    """
    seen = set[str]()
    for at, tool in enumerate(tools):
        name = tool.name if isinstance(tool, FunctionTool) else f"mcp:{tool.server_label}"
        if name in seen:
            raise InvalidRequest(
                f"Two tools are named {name.removeprefix('mcp:')!r}.",
                code="invalid_value",
                param=f"{param}[{at}].{'name' if isinstance(tool, FunctionTool) else 'server_label'}",
            )
        seen.add(name)
    return tuple(tools)


def voice_name(voice: str | Voice) -> str:
    """The name of a voice."""
    return voice.id if isinstance(voice, Voice) else voice


def shown_choice(choice: str | NamedTool) -> Any:
    """As the client wrote it."""
    return choice if isinstance(choice, str) else choice.model_dump(exclude_none=True)


def _shown_tool(tool: FunctionTool | McpTool) -> JsonObject:
    shown = tool.model_dump(exclude_none=True)
    return {key: value for key, value in shown.items() if key not in SECRET}
