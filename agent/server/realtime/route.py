"""``GET /v1/realtime``: the protocol over a WebSocket."""

from __future__ import annotations

import asyncio
from itertools import count
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from sayso.errors import SaysoError
from sayso.server.agents.schemas import SessionId
from sayso.server.auth import Caller, admit, token_of
from sayso.server.errors import NotFound, log_broken, refuse
from sayso.server.host import Host, host_of
from sayso.server.realtime.client_mcp import ClientMcp
from sayso.server.realtime.items import new_id
from sayso.server.realtime.machine import Connection
from sayso.server.realtime.outgoing import Outgoing
from sayso.session import Session

YIELD_EVERY = 8
"""Messages: whoever sends without end must not keep the others waiting, and each time costs as much as a message."""

router = APIRouter()
Model = Annotated[str | None, Query(max_length=256, description="The agent's name.")]
ToolItems = Annotated[bool, Query(description="Whether calls of the agent's own tools are shown as items.")]

Conversation = Annotated[SessionId | None, Query(description="The `session.id` of a conversation to go on with.")]


@router.websocket("/v1/realtime")
async def realtime(
    websocket: WebSocket, model: Model = None, tool_items: ToolItems = False, session: Conversation = None
) -> None:
    """Talk to an agent by OpenAI's Realtime protocol; see docs/server-realtime.md."""
    host = host_of(websocket)
    caller = await admit(websocket)
    secret = host.secrets.find(token_of(websocket))
    model = model or (None if secret is None else secret.session.get("model"))
    name = host.agent_name(model, caller)
    id = _conversation(host, name, caller, session)
    try:
        async with host.open_session(
            name,
            caller,
            definition=host.agents[name].variant(name=name),
            id=id,
            user=caller.id,
            conversations=host.conversations,
        ) as opened:
            try:
                await _serve(
                    websocket, host, opened, model or name, tool_items, None if secret is None else secret.update
                )
            finally:
                if not opened.history:  # nothing to go on with
                    host.conversations.delete(id)
    except SaysoError:
        raise  # the app answers it
    except (WebSocketDisconnect, OSError):
        return
    except Exception as error:
        log_broken(error)
        await refuse(websocket, error)


def _conversation(host: Host, agent: str, caller: Caller, id: str | None) -> str:
    """The id of the conversation to go on with, or a new one.

    Raises:
        NotFound: It is forgotten, or not the caller's.
    """
    if id is None:
        return new_id("sess")
    saved = host.conversations.find(id)
    if saved is None or saved.agent != agent or saved.user != caller.id:
        raise NotFound(f"There is no session {id!r}.", code="session_not_found", param="session")
    return id


async def _serve(
    websocket: WebSocket, host: Host, session: Session, model: str, shows_calls: bool, update: str | None
) -> None:
    out = Outgoing()
    mcp = ClientMcp(allowed=host.settings.client_mcp)
    limit = host.settings.max_message_bytes
    async with Connection(
        session, out, model=model, max_message_bytes=limit, mcp=mcp, shows_calls=shows_calls
    ) as connection:
        if update is not None:
            await connection.receive(update)
        reading = asyncio.create_task(_read(websocket, host, session, connection))
        sending = asyncio.create_task(_send(websocket, out))
        breaking = asyncio.create_task(out.broken())
        tasks = (reading, sending, breaking)
        try:
            await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in tasks:
                if task.done():
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # seen: one of them was raised


async def _read(websocket: WebSocket, host: Host, session: Session, connection: Connection) -> None:
    for number in count(1):
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        host.touch(session)
        text = message.get("text")
        await connection.receive(message["bytes"] if text is None else text)
        if number % YIELD_EVERY == 0:
            await asyncio.sleep(0)


async def _send(websocket: WebSocket, out: Outgoing) -> None:
    while True:
        await websocket.send_text(await out.next())
