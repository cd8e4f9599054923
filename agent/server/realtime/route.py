"""``GET /v1/realtime``: the protocol over a WebSocket."""

from __future__ import annotations

import asyncio
from typing import Annotated

from fastapi import APIRouter, Query, WebSocket
from starlette.websockets import WebSocketDisconnect

from sayso.errors import SaysoError
from sayso.server.auth import admit
from sayso.server.errors import log_broken, refuse
from sayso.server.host import Host, host_of
from sayso.server.realtime.client_mcp import ClientMcp
from sayso.server.realtime.machine import Connection
from sayso.server.realtime.outgoing import Outgoing
from sayso.session import Session

router = APIRouter()
Model = Annotated[str | None, Query(max_length=256, description="The agent's name.")]
ToolItems = Annotated[bool, Query(description="Whether calls of the agent's own tools are shown as items.")]


@router.websocket("/v1/realtime")
async def realtime(websocket: WebSocket, model: Model = None, tool_items: ToolItems = True) -> None:
    """Talk to an agent by OpenAI's Realtime protocol; see docs/server-realtime.md."""
    host = host_of(websocket)
    caller = await admit(websocket)
    name = host.agent_name(model, caller)
    try:
        async with host.open_session(name, caller) as session:
            await _serve(websocket, host, session, model or name, tool_items)
    except SaysoError:
        raise  # the app answers it
    except (WebSocketDisconnect, OSError):
        return
    except Exception as error:
        log_broken(error)
        await refuse(websocket, error)


async def _serve(websocket: WebSocket, host: Host, session: Session, model: str, shows_calls: bool) -> None:
    out = Outgoing()
    mcp = ClientMcp(allowed=host.settings.client_mcp)
    limit = host.settings.max_message_bytes
    async with Connection(
        session, out, model=model, max_message_bytes=limit, mcp=mcp, shows_calls=shows_calls
    ) as connection:
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
    while True:
        message = await websocket.receive()
        if message["type"] == "websocket.disconnect":
            return
        host.touch(session)
        text = message.get("text")
        await connection.receive(message["bytes"] if text is None else text)


async def _send(websocket: WebSocket, out: Outgoing) -> None:
    while True:
        await websocket.send_text(await out.next())
