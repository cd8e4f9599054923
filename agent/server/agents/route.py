"""``/v1/agents``: agents, their sessions, turns, calls and recordings."""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing
from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Header, Path, Query, Request, Response, WebSocket
from fastapi.responses import FileResponse
from sse_starlette import EventSourceResponse, ServerSentEvent

from sayso.agent import Agent
from sayso.errors import SaysoError
from sayso.events import Event
from sayso.items import Audio
from sayso.result import TurnResult, summarise
from sayso.server.agents.hosted import Hosted, Told
from sayso.server.agents.hosting import Hosting, hosting_of
from sayso.server.agents.recorder import recordings, recordings_folder
from sayso.server.agents.schemas import (
    AgentInfo,
    AgentList,
    Approval,
    CallInfo,
    Cancelled,
    Events,
    History,
    Interrupt,
    Interrupted,
    JournalEntries,
    JournalEntry,
    Place,
    Recording,
    Recordings,
    SessionCreate,
    SessionId,
    SessionInfo,
    SessionList,
    ToolInfo,
    TurnCreate,
    TurnInfo,
)
from sayso.server.agents.talk import Talk
from sayso.server.auth import CalledBy, Caller, admit
from sayso.server.errors import InvalidRequest, NotFound, refuse
from sayso.server.host import host_of
from sayso.turn_options import TurnOptions
from sayso.turns import Work
from sayso.wire import audio_from_json, audio_to_json, item_to_json

router = APIRouter(prefix="/v1/agents", tags=["agents"])

Name = Annotated[str, Path(description="The agent's name.")]
Id = Annotated[SessionId, Path(description="The session's name.")]
CallId = Annotated[str, Path(description="The call's id.", max_length=200)]
_ITEM = {
    "type": "object",
    "properties": {
        "id": {"type": "string", "description": "The event's number."},
        "event": {"type": "string", "description": "Its type."},
        "data": {
            "type": "string",
            "contentMediaType": "application/json",
            "contentSchema": {"$ref": "#/components/schemas/Events/properties/events/items"},
        },
    },
}
STREAM: dict[int | str, dict[str, Any]] = {
    200: {
        "description": "One JSON object, or, with `Accept: text/event-stream`, events as they happen.",
        "content": {"text/event-stream": {"itemSchema": _ITEM}},
    }
}


@router.get("")
async def list_agents(request: Request, caller: CalledBy) -> AgentList:
    """The agents that this caller may talk to."""
    agents = host_of(request).agents
    return AgentList(agents=[_agent_info(name, agent) for name, agent in agents.items() if caller.may_use(name)])


@router.get("/{name}")
async def get_agent(name: Name, request: Request, caller: CalledBy) -> AgentInfo:
    """One agent: what it can, and what its tools are."""
    return _agent_info(name, _agent(request, name, caller))


@router.post("/{name}/sessions", status_code=201)
async def create_session(name: Name, body: SessionCreate, request: Request, caller: CalledBy) -> SessionInfo:
    """Open a conversation, or go on with one of an earlier process."""
    agent = _agent(request, name, caller)
    hosting = hosting_of(request)
    given = body.model_dump(include={"instructions", "speak", "record"}, exclude_defaults=True)
    settings = {**(hosting.conversations.settings(body.id) if body.id else {}), **given}
    hosted = await hosting.create(
        name,
        caller,
        id=body.id,
        definition=agent.variant(instructions=settings.get("instructions"), voice=body.voice),
        speak=settings.get("speak"),
        record=settings.get("record", False),
    )
    hosting.conversations.keep_settings(hosted.session.id, settings)
    return _session_info(hosting, name, hosted.session.id, caller)


@router.get("/{name}/queue/{id}")
async def get_place(name: Name, id: Id, request: Request, caller: CalledBy) -> Place:
    """Where a session stands that is being opened under this name while the server has no free place."""
    return Place(position=hosting_of(request).position(name, id, caller))


@router.get("/{name}/sessions")
async def list_sessions(
    name: Name, request: Request, caller: CalledBy, limit: Annotated[int, Query(ge=1, le=1000)] = 100
) -> SessionList:
    """The caller's conversations with an agent, the newest first."""
    _agent(request, name, caller)
    hosting = hosting_of(request)
    found = hosting.conversations.list(agent=name, user=caller.id, last=limit)
    return SessionList(sessions=[_session_info(hosting, name, saved.id, caller) for saved in found])


@router.get("/{name}/sessions/{id}")
async def get_session(name: Name, id: Id, request: Request, caller: CalledBy) -> SessionInfo:
    """How a conversation stands."""
    return _session_info(hosting_of(request), name, id, caller)


@router.delete("/{name}/sessions/{id}", status_code=204)
async def delete_session(name: Name, id: Id, request: Request, caller: CalledBy) -> None:
    """End a conversation and forget what was said and recorded. The journal keeps its calls."""
    hosting = hosting_of(request)
    hosting.saved(name, id, caller)
    await hosting.delete(id)


@router.post("/{name}/sessions/{id}/turns", response_model=TurnInfo, responses=STREAM)
async def create_turn(
    name: Name,
    id: Id,
    body: TurnCreate,
    request: Request,
    caller: CalledBy,
    accept: Annotated[str | None, Header()] = None,
) -> Any:
    """Say something. The turn goes on when the connection breaks: `events` with `after` shows the rest of it."""
    hosted = await hosting_of(request).use(name, id, caller)
    options = None if body.options is None else TurnOptions(**body.options.model_dump())
    return await _turn(hosted, hosted.session.conductor.answer(_said(body), None, options), accept)


@router.get("/{name}/sessions/{id}/events", response_model=Events, responses=STREAM)
async def follow_events(
    name: Name,
    id: Id,
    request: Request,
    caller: CalledBy,
    after: Annotated[int | None, Query(ge=0, description="Events behind this number, as far as they are kept.")] = None,
    accept: Annotated[str | None, Header()] = None,
    last_event_id: Annotated[str | None, Header()] = None,
) -> Response:
    """The events that are kept; with `Accept: text/event-stream` all that happens from now on, until it is closed."""
    hosted = await hosting_of(request).use(name, id, caller)
    if not _wants_stream(accept):
        kept = b",".join(told.json for told in hosted.kept(after or 0))
        return Response(b'{"events":[' + kept + b"]}", media_type="application/json")
    if after is None and last_event_id is not None and last_event_id.isdecimal():
        after = int(last_event_id)

    async def follow() -> AsyncGenerator[Told]:
        async with hosted.follow(after) as follower:
            async for told in follower:
                yield told

    return EventSourceResponse(_sent(follow()))


@router.post("/{name}/sessions/{id}/interrupt")
async def interrupt(name: Name, id: Id, body: Interrupt, request: Request, caller: CalledBy) -> Interrupted:
    """Cut the reply off, and history at what was heard."""
    hosted = await hosting_of(request).use(name, id, caller)
    return Interrupted(interrupted=await hosted.session.interrupt(body.played_ms))


@router.post("/{name}/sessions/{id}/calls/{call_id}/approve", response_model=TurnInfo, responses=STREAM)
async def approve_call(
    name: Name,
    id: Id,
    call_id: CallId,
    request: Request,
    caller: CalledBy,
    accept: Annotated[str | None, Header()] = None,
) -> Any:
    """Agree to the call that waits: it runs with the arguments that were shown, and is answered."""
    hosted = await hosting_of(request).use(name, id, caller)
    _waiting(hosted, call_id)
    return await _turn(hosted, hosted.session.conductor.approved(call_id), accept)


@router.post("/{name}/sessions/{id}/calls/{call_id}/refuse", status_code=204)
async def refuse_call(name: Name, id: Id, call_id: CallId, request: Request, caller: CalledBy) -> None:
    """Say no to the call that waits; nothing is said aloud."""
    hosted = await hosting_of(request).use(name, id, caller)
    _waiting(hosted, call_id)
    hosted.session.refuse(call_id)


@router.post("/{name}/sessions/{id}/calls/{call_id}/cancel")
async def cancel_call(name: Name, id: Id, call_id: CallId, request: Request, caller: CalledBy) -> Cancelled:
    """Stop a call that runs, in the background or not."""
    hosted = await hosting_of(request).use(name, id, caller)
    return Cancelled(cancelled=hosted.session.cancel_call(call_id))


@router.get("/{name}/sessions/{id}/history")
async def get_history(name: Name, id: Id, request: Request, caller: CalledBy) -> History:
    """What was said and done, as the model is shown it; sound and token ids are left out."""
    hosting = hosting_of(request)
    hosting.saved(name, id, caller)
    live = hosting.live(id)
    items = live.session.history if live is not None else hosting.conversations.items(id)
    return History.model_validate({"items": [item_to_json(item, whole=False) for item in items]})


@router.get("/{name}/sessions/{id}/calls")
async def get_calls(name: Name, id: Id, request: Request, caller: CalledBy) -> JournalEntries:
    """The journal: every call of the conversation, written down before it ran."""
    hosting_of(request).saved(name, id, caller)
    agent = host_of(request).agents[name]
    found = agent.call_journal.entries(id) if agent.registry else []
    return JournalEntries(calls=[JournalEntry.model_validate(asdict(entry)) for entry in found])


@router.get("/{name}/sessions/{id}/recordings")
async def list_recordings(name: Name, id: Id, request: Request, caller: CalledBy) -> Recordings:
    """The files of sound that were kept; none unless the session was made with `record`."""
    hosting_of(request).saved(name, id, caller)
    return Recordings(recordings=[Recording(name=file.name, bytes=file.stat().st_size) for file in recordings(id)])


@router.get("/{name}/sessions/{id}/recordings/{file}", response_class=FileResponse)
async def get_recording(name: Name, id: Id, file: str, request: Request, caller: CalledBy) -> FileResponse:
    """One file of sound (WAV)."""
    hosting_of(request).saved(name, id, caller)
    if file not in [found.name for found in recordings(id)]:
        raise NotFound(f"There is no recording {file!r}.", "List them at recordings.")
    return FileResponse(recordings_folder(id) / file, media_type="audio/wav")


@router.websocket("/{name}/sessions/{id}/live")
async def live(
    websocket: WebSocket,
    name: str,
    id: SessionId,
    sample_rate_hz: Annotated[int, Query(ge=8000, le=48_000)] = 16_000,
    after: Annotated[int | None, Query(ge=0)] = None,
) -> None:
    """Talk: sound goes in as binary messages, commands and events are JSON; see docs/server-agents.md."""
    caller = await admit(websocket)
    try:
        hosted = await hosting_of(websocket).use(name, id, caller)
        await Talk(websocket, hosted, host_of(websocket), sample_rate_hz).run(after)
    except SaysoError as error:
        await refuse(websocket, error)


def _agent(request: Request, name: str, caller: Caller) -> Agent:
    host = host_of(request)
    if name not in host.agents or not caller.may_use(name):
        known = ", ".join(one for one in host.agents if caller.may_use(one))
        raise NotFound(f"There is no agent {name!r}.", f"There are: {known or 'none'}.", code="agent_not_found")
    return host.agents[name]


def _agent_info(name: str, agent: Agent) -> AgentInfo:
    profile = agent.voice_model.profile
    tools = [
        ToolInfo(
            name=tool.name, description=tool.spec.description, effect=tool.effect.value, parameters=tool.spec.parameters
        )
        for tool in agent.registry.values()
    ]
    return AgentInfo(
        name=name,
        model=profile.name,
        hears=profile.hears,
        speaks=profile.speaks,
        voices=list(profile.voices),
        languages=list(profile.languages),
        sample_rate_hz=profile.sample_rate_hz,
        tools=tools,
    )


def _session_info(hosting: Hosting, agent: str, id: str, caller: Caller) -> SessionInfo:
    saved, hosted = hosting.saved(agent, id, caller), hosting.live(id)
    waiting = hosted.session.approval if hosted is not None else None
    return SessionInfo(
        id=id,
        agent=agent,
        live=hosted is not None,
        busy=hosted is not None and hosted.session.is_busy,
        turn=saved.turn,
        last_seq=hosted.last_seq if hosted is not None else 0,
        voice=saved.voice,
        created_s=saved.created_s,
        updated_s=saved.updated_s,
        approval=None
        if waiting is None
        else Approval(
            call_id=waiting.call_id, name=waiting.name, arguments=waiting.arguments, question=waiting.question
        ),
    )


def _said(body: TurnCreate) -> str | bytes | Audio:
    if body.text is not None:
        if not body.text.strip():
            raise InvalidRequest("There is nothing to answer: the text is empty.", param="text")
        return body.text
    if body.audio is not None:
        return audio_from_json(body.audio.model_dump())
    try:
        return base64.b64decode(body.file or "", validate=True)
    except binascii.Error as error:
        raise InvalidRequest(f"file is no base64: {error}.", param="file") from None


def _waiting(hosted: Hosted, call_id: str) -> None:
    waiting = hosted.session.approval
    if waiting is None or waiting.call_id != call_id:
        raise NotFound(f"No call {call_id!r} waits for a person (any more).", code="call_not_waiting")


def _wants_stream(accept: str | None) -> bool:
    return "text/event-stream" in (accept or "")


async def _turn(hosted: Hosted, work: Work, accept: str | None) -> Response | TurnInfo:
    hosted.session.conductor.turns.check_idle()
    if _wants_stream(accept):
        return EventSourceResponse(_sent(hosted.run(work)))
    events: list[Event] = []
    async with hosted.follow() as follower:
        turn = hosted.start(work)
        turn.add_done_callback(lambda _: follower.close())
        async for told in follower:
            events.append(told.event)
    await asyncio.shield(turn)  # raises what made it fail
    return _turn_info(hosted.session.conductor.events.turn, summarise(events))


def _turn_info(turn: int, result: TurnResult) -> TurnInfo:
    return TurnInfo.model_validate(
        {
            "turn": turn,
            "heard": result.heard,
            "text": result.text,
            "audio": None if result.audio is None else audio_to_json(result.audio),
            "calls": [CallInfo(**asdict(report)) for report in result.calls],
            "stages": result.stages,
            "reason": result.reason,
        }
    )


async def _sent(stream: AsyncGenerator[Told]) -> AsyncIterator[ServerSentEvent]:
    async with aclosing(stream):
        async for told in stream:
            yield ServerSentEvent(told.json.decode(), event=told.event.type, id=str(told.event.seq))
