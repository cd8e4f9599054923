"""`Connection`: one client that speaks the Realtime protocol, whatever carries the messages.

out = Outgoing()
async with Connection(session, out, model="sayso") as connection:
    await connection.receive(message)      # each message of the client, in order
    message = await out.next()             # in another task: each message to it
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType

from sayso.errors import SaysoError
from sayso.events import Event, Heard, SpeechEnded, SpeechStarted
from sayso.items import AssistantReply, Audio, Instruction, JsonObject, UserInput
from sayso.live import Live, TurnTaking
from sayso.server.errors import Broken, InvalidRequest, ServerError, error_event, log_broken
from sayso.server.realtime import items as shown_items
from sayso.server.realtime import protocol
from sayso.server.realtime.client_mcp import OWN_LABEL, ClientMcp
from sayso.server.realtime.config_models import NamedTool, ServerVad
from sayso.server.realtime.inputs import Input
from sayso.server.realtime.item_desk import ItemDesk
from sayso.server.realtime.items import Entry, Items
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.realtime.responder import Responder
from sayso.server.realtime.responses import AudioSink, Response, Terms
from sayso.server.realtime.session_config import SessionConfig
from sayso.server.realtime.transcripts import Transcripts
from sayso.server.voices import voice_for
from sayso.session import Session

MAX_MESSAGE_BYTES = 16 << 20
STILL_THERE = "The user has said nothing for {seconds:.0f} seconds."
_log = logging.getLogger(__name__)


class _Left(Exception):
    """The client is gone."""


class Connection:
    """One client of one session. Enter and leave it in one task.

    Args:
        session: The conversation; nothing else drives it meanwhile.
        out: Takes what the client is sent.
        model: What the client called the agent.
        played_ms: How much of the running turn's audio was played, where the transport knows; None: it waits for the
            client to say so, and takes what was sent until then.
        sink: Takes the sound, in place of events.
        max_message_bytes: Of a message.
        mcp: Connects to the MCP servers that clients declare; None: they may not.
        shows_calls: Calls of the agent's own tools are shown as items. Clients that know none break at them or, told
            of a call, ask for an answer that they have.
    """

    def __init__(
        self,
        session: Session,
        out: Outgoing,
        *,
        model: str = "",
        played_ms: Callable[[], int | None] | None = None,
        sink: AudioSink | None = None,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        mcp: ClientMcp | None = None,
        shows_calls: bool = False,
    ) -> None:
        self._session = session
        self._own = session.agent
        self._out = out
        self._transport_played_ms = played_ms
        self._sink = sink
        self._max_message_bytes = max_message_bytes
        self._mcp = mcp or ClientMcp(allowed=False)
        self._shows_calls = shows_calls
        profile = self._own.voice_model.profile
        self._config = SessionConfig(
            model=model,
            instructions=self._own.instructions,
            modality="audio" if profile.speaks else "text",
            voice=self._own.voice or next(iter(profile.voices), ""),
        )
        self._items = Items(out)
        self._conversation_id = shown_items.new_id("conv")
        self._last: Response | None = None
        self._idle: asyncio.TimerHandle | None = None
        self._one_at_a_time = asyncio.Lock()

    @property
    def config(self) -> SessionConfig:
        """What is set now."""
        return self._config

    @property
    def busy(self) -> bool:
        """Whether a response of the conversation is being made."""
        return self._responder.active is not None

    async def __aenter__(self) -> Connection:
        """Tell that the session is there."""
        self._tasks = asyncio.TaskGroup()
        await self._tasks.__aenter__()
        self._responder = Responder(
            self._session,
            self._own,
            lambda: self._config,
            self._new_response,
            self._tasks,
            self,
        )
        conductor = self._session.conductor
        self._live = Live(conductor, self.push, self._config.input_format.rate_hz, self._played_ms, self._taking())
        await self._live.__aenter__()
        self._input = Input(self._out, self._items, lambda: self._config, self._live, self._said)
        self._desk = ItemDesk(self._session, self._out, self._items, self._responder, lambda: self._config)
        self._transcripts = Transcripts(
            self._out, self._items, conductor.conversation, lambda: self._config, conductor.model, self._tasks
        )
        self._show_history()
        self._out.send({"type": "session.created", "session": self._config.echo(self._session.id)})
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """The client is gone: end what runs."""
        self._stop_idle()
        left = _Left()
        try:
            await self._session.interrupt(self._played_ms())
            await self._live.__aexit__(_Left, left, trace)
        except _Left:
            pass
        finally:
            await self._mcp.aclose()
            try:
                await self._tasks.__aexit__(_Left, left, trace)
            except* _Left:
                pass

    async def receive(self, message: str | bytes) -> None:
        """A message of the client. What is wrong with it is told by an ``error`` event."""
        async with self._one_at_a_time:
            await self._receive(message)

    async def hear(self, data: bytes) -> None:
        """The next sound in the input format, cut anywhere, from a transport that carries it beside the messages."""
        async with self._one_at_a_time:
            try:
                await self._input.hear_bytes(data)
                self._look_for_words()
            except SaysoError as error:
                self._out.send(error_event(error))

    async def _receive(self, message: str | bytes) -> None:
        event_id = None
        try:
            if isinstance(message, bytes):
                raise InvalidRequest("A binary message came.", "Send events as text.", code="invalid_message")
            raw = protocol.decode(message, self._max_message_bytes)
            event_id = protocol.event_id_of(raw)
            await self._handle(protocol.parse(raw), raw)
        except SaysoError as error:
            self._out.send(error_event(error, event_id))
        except (asyncio.CancelledError, AssertionError):
            raise
        except Exception as error:
            log_broken(error)
            self._out.send(error_event(Broken("Something broke in the server.", "Its log says where."), event_id))

    async def _handle(self, event: protocol.Received, raw: JsonObject) -> None:
        match event:
            case protocol.AudioAppend():
                await self._input.append(event.audio)
                self._look_for_words()
            case protocol.AudioCommit():
                await self._input.commit()
                self._look_for_words()
            case protocol.AudioClear():
                await self._input.clear()
            case protocol.OutputClear():
                await self._clear_output()
            case protocol.SessionUpdate():
                await self._update(event, raw)
            case protocol.ItemCreate():
                await self._desk.create(event)
                if (entry := self._items.find(lambda shown: shown.get("role") == "user")) is not None:
                    self._transcripts.recognise(entry)
            case protocol.ItemDelete():
                self._desk.delete(event)
            case protocol.ItemRetrieve():
                self._desk.retrieve(event)
            case protocol.ItemTruncate():
                await self._desk.truncate(event)
            case protocol.ResponseCreate():
                await self._respond(event.response)
            case protocol.ResponseCancel():
                await self._responder.cancel(event.response_id, self._played_ms())

    async def _clear_output(self) -> None:
        if self._sink is None:
            raise InvalidRequest(
                "This connection plays no sound.", "Use response.cancel.", code="invalid_event", param="type"
            )
        if self._responder.active is not None:
            await self._responder.interrupt(self._responder.active, self._played_ms())
        else:
            await self._session.interrupt(self._played_ms())
        if self._last is not None:
            self._sink.drop(self._last.id)

    async def _respond(self, asked: protocol.ResponseOptions | None) -> None:
        self._stop_idle()
        if asked is not None and asked.conversation == "none":
            self._responder.beside(asked, self._desk.inputs(asked))
        else:
            await self._responder.create(asked)

    async def _update(self, event: protocol.SessionUpdate, raw: JsonObject) -> None:
        new, old = self._config.updated(event.session, raw), self._config
        voice = None
        if new.voice != old.voice:
            voice = voice_for(new.voice, self._own, "session.audio.output.voice") or self._usual_voice()
        toolbox = self._responder.toolbox
        declared = toolbox.declared
        if new.tools != old.tools:
            self._mcp.check(new.tools, "session.tools")
            declared = self._responder.calls.tools(new.tools, "session.tools")
        tools = toolbox.only(declared)
        if isinstance(new.tool_choice, NamedTool) and new.tool_choice.name is not None:
            if new.tool_choice.name not in {tool.name for tool in tools}:
                raise InvalidRequest(
                    f"Invalid 'session.tool_choice.name': there is no tool '{new.tool_choice.name}'.",
                    code="invalid_value",
                    param="session.tool_choice.name",
                )
        self._session.update(instructions=new.instructions, tools=tools, voice=voice)
        toolbox.declared = declared
        self._config = new
        if (new.turn_detection, new.input_format) != (old.turn_detection, old.input_format):
            self._stop_idle()
            self._input.forget()
            await self._live.use(self._taking(), new.input_format.rate_hz)
        self._out.send({"type": "session.updated", "session": new.echo(self._session.id)})
        if new.tools != old.tools:
            await self._mcp.use(new.tools, self._tasks, self._out, self._items, self._mcp_changed)

    def _mcp_changed(self) -> None:
        """A server that the client named has listed its tools, or is gone."""
        self._responder.toolbox.connected = self._mcp.tools
        self._session.update(tools=self._responder.toolbox.all())

    def _usual_voice(self) -> str | None:
        return self._own.voice or next(iter(self._own.voice_model.profile.voices), None)

    def _taking(self) -> TurnTaking:
        return self._config.taking(lambda: self._input.item_id(), lambda: self._responder.options())

    def push(self, event: Event, response: Response | None = None) -> None:
        """An event of the session; of a turn that answers the client, with its response."""
        match event:
            case SpeechStarted():
                self._stop_idle()
                if self._last is not None and self._live.taking.barge_in:
                    self._out.drop(self._last.id)
                    if self._sink is not None:
                        self._sink.drop(self._last.id)
                self._input.speech(event)
            case SpeechEnded():
                self._input.speech(event)
            case Heard():
                self._transcripts.heard(event.text)
            case _:
                pass
        self._responder.take(event, response)

    def _new_response(self, terms: Terms) -> Response:
        self._stop_idle()
        response = Response(self._out, self._items, terms, self._conversation_id, self._place, self._sink)
        if terms.keeps:
            self._last = response
        return response

    def _place(self, name: str) -> tuple[str, str] | None:
        place = self._mcp.place(name)
        return None if place[0] == OWN_LABEL and not self._shows_calls else place

    def turn_settled(self) -> None:
        """A turn is over, and the conversation holds what came of it."""
        self._desk.catch_up()
        self._look_for_words()

    def _look_for_words(self) -> None:
        """Ask the recogniser about what was said last, where no turn is going to tell."""
        if self._config.transcription is None or self._session.is_busy:
            return
        entry = self._items.find(lambda shown: shown.get("role") == "user")
        if entry is not None:
            self._transcripts.recognise(entry)

    def _said(self, entry: Entry, audio: Audio) -> None:
        """The client committed what the user said."""
        self._session.add(UserInput(audio=audio, id=entry.id))
        self._transcripts.recognise(entry, audio)

    def _played_ms(self) -> int | None:
        if self._transport_played_ms is not None:
            return self._transport_played_ms()
        turn, sent_ms = self._responder.view.turn, None if self._last is None else self._last.sent_ms
        if sent_ms is None:
            return None
        return int(sent_ms + (turn.audio_ms if turn is not None else 0.0))

    def turn_ended(self) -> None:
        """A turn that answered the client has ended: another may begin."""
        self._live.tell_news()

    def response_over(self, response: Response) -> None:
        """A response is over: the user's time begins once it was played."""
        detection = self._config.turn_detection
        if isinstance(detection, ServerVad) and detection.idle_timeout_ms is not None:
            left_s = 0.0
            if response.first_audio_s is not None:
                ends_s = response.first_audio_s + response.audio_ms / 1000
                left_s = max(0.0, ends_s - asyncio.get_running_loop().time())
            self._stop_idle()
            idle_ms = detection.idle_timeout_ms
            self._idle = asyncio.get_running_loop().call_later(
                left_s + idle_ms / 1000, lambda: self._tasks.create_task(self._time_out(idle_ms))
            )

    async def _time_out(self, idle_ms: int) -> None:
        if self._session.is_busy or self._live.speaking or self._responder.active is not None:
            return
        entry = self._input.time_out(max(0, self._input.position_ms - idle_ms))
        self._session.add(Instruction(STILL_THERE.format(seconds=idle_ms / 1000), entry.id))
        try:
            await self._responder.create(None)
        except ServerError:
            _log.debug("the user spoke in the same moment")

    def _stop_idle(self) -> None:
        if self._idle is not None:
            self._idle.cancel()
            self._idle = None

    def _show_history(self) -> None:
        """A conversation that is gone on with has items already."""
        conversation = self._session.conductor.conversation
        conversation.name_replies(shown_items.new_id("item") for _ in conversation.items)
        for item in conversation.items:
            id = item.id if isinstance(item, UserInput | AssistantReply | Instruction) else ""
            if (entry := shown_items.from_history(item, id)) is not None and id:
                self._items.keep(entry)
