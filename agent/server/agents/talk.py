"""`Talk`: a live conversation over a WebSocket, in sayso's own events."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import AsyncExitStack
from itertools import count
from typing import Annotated, Any, Final, Literal, TypeAlias

import numpy as np
import orjson
from fastapi import WebSocket
from numpy.typing import NDArray
from pydantic import Field, TypeAdapter, ValidationError
from starlette.websockets import WebSocketDisconnect

from sayso.errors import SaysoError
from sayso.events import TurnStarted
from sayso.items import Audio
from sayso.live import Live
from sayso.server.agents.hosted import Follower, Hosted
from sayso.server.agents.schemas import Body
from sayso.server.errors import InvalidRequest, error_event
from sayso.server.host import Host

MAX_HELD_S: Final = 60
"""Of speech that waits for its ``commit`` where turns are not found by themselves."""

SLICE_MS: Final = 100
"""So much is heard at once: an hour that comes in one message must not keep the other sessions waiting."""

YIELD_EVERY: Final = 8
"""Messages: whoever sends without end must not keep the others waiting, and each time costs as much as a message."""


class Say(Body):
    """Ask in words."""

    type: Literal["say"]
    text: str = Field(min_length=1, max_length=100_000)


class HandsFree(Body):
    """Find turns in the sound by themselves (``on``, the default), or wait for `Commit`."""

    type: Literal["hands_free"]
    on: bool


class Commit(Body):
    """What was said so far is a turn."""

    type: Literal["commit"]


class Clear(Body):
    """Forget what was said since the last turn."""

    type: Literal["clear"]


class Interrupt(Body):
    """Cut the reply off, after so much of its turn's sound was played."""

    type: Literal["interrupt"]
    played_ms: int | None = Field(None, ge=0)


class Played(Body):
    """So much of the turn's sound was played by now; tell it every now and then, so that history is what was heard."""

    type: Literal["played"]
    turn: int
    ms: int = Field(ge=0)


class Approve(Body):
    """Agree to the call that waits."""

    type: Literal["approve"]
    call_id: str


class Refuse(Body):
    """Say no to the call that waits."""

    type: Literal["refuse"]
    call_id: str


class Cancel(Body):
    """Stop a call that runs."""

    type: Literal["cancel"]
    call_id: str


class Voice(Body):
    """Speak with another voice from the next sentence on."""

    type: Literal["voice"]
    voice: str


Command: TypeAlias = Annotated[
    Say | HandsFree | Commit | Clear | Interrupt | Played | Approve | Refuse | Cancel | Voice,
    Field(discriminator="type"),
]
_COMMANDS: TypeAdapter[Command] = TypeAdapter(Command)


class Talk:
    """One connection that talks.

    Args:
        websocket: Accepted.
        hosted: The session.
        host: Is told that the session is in use.
        sample_rate_hz: Of the sound that comes in: 16-bit little-endian PCM.
    """

    def __init__(self, websocket: WebSocket, hosted: Hosted, host: Host, sample_rate_hz: int) -> None:
        self._websocket = websocket
        self._hosted = hosted
        self._host = host
        self._rate_hz = sample_rate_hz
        self._played: tuple[int, int] | None = None  # the turn, and milliseconds of it
        self._held: list[NDArray[np.float32]] | None = None  # until a commit; None: turns are found by themselves
        self._odd = b""  # half a sample

    async def run(self, after: int | None) -> None:
        """Until the client leaves or the session ends; a turn that runs then goes on.

        Args:
            after: Begin with the events behind this number.
        """
        async with AsyncExitStack() as scope:
            follower = await scope.enter_async_context(self._hosted.follow(after))
            live = await scope.enter_async_context(
                self._hosted.session.live(self._hosted.push, sample_rate_hz=self._rate_hz, played_ms=self._played_ms)
            )
            sending = asyncio.create_task(self._send(follower))
            receiving = asyncio.create_task(self._receive(live))
            try:
                await asyncio.wait([sending, receiving], return_when=asyncio.FIRST_COMPLETED)
                for task in (receiving, sending):
                    if task.done():
                        task.result()
            finally:
                for task in (sending, receiving):
                    task.cancel()
                await asyncio.wait([sending, receiving])
                live.clear()  # half a sentence is no turn

    def _played_ms(self) -> int | None:
        if self._played is None or self._played[0] != self._hosted.session.conductor.events.turn:
            return None
        return self._played[1]

    async def _send(self, follower: Follower) -> None:
        async for told in follower:
            if isinstance(told.event, TurnStarted):
                self._played = (told.event.turn, 0)
            await self._websocket.send_text(told.json.decode())
        with contextlib.suppress(RuntimeError):
            await self._websocket.close(1001, "the session was closed")

    async def _receive(self, live: Live) -> None:
        for number in count(1):
            message = await self._websocket.receive()
            if message["type"] == "websocket.disconnect":
                return
            self._host.touch(self._hosted.session)
            try:
                if (sound := message.get("bytes")) is not None:
                    await self._hear(sound, live)
                else:
                    await self._obey(_command(message.get("text") or ""), live)
            except SaysoError as error:
                await self._tell(error_event(error))
            if number % YIELD_EVERY == 0:
                await asyncio.sleep(0)

    async def _tell(self, event: dict[str, Any]) -> None:
        with contextlib.suppress(WebSocketDisconnect, RuntimeError):
            await self._websocket.send_text(orjson.dumps(event).decode())

    async def _hear(self, sound: bytes, live: Live) -> None:
        data = self._odd + sound
        whole = len(data) & ~1
        self._odd = data[whole:]
        frame = np.frombuffer(data[:whole], "<i2").astype(np.float32) / np.float32(32768)
        if self._held is None:
            size = self._rate_hz * SLICE_MS // 1000
            for start in range(0, len(frame), size):
                await live.hear(frame[start : start + size])
                if len(frame) > size:
                    await asyncio.sleep(0)
            return
        if sum(map(len, self._held)) + len(frame) > MAX_HELD_S * self._rate_hz:
            raise InvalidRequest(f"More than {MAX_HELD_S} seconds wait for their commit.", "Commit or clear first.")
        self._held.append(frame)

    async def _obey(self, command: Command, live: Live) -> None:
        session, conductor = self._hosted.session, self._hosted.session.conductor
        match command:
            case Say(text=text):
                await session.interrupt(self._played_ms())
                self._hosted.start(conductor.answer(text))
            case HandsFree(on=on):
                live.clear()
                self._held = None if on else []
            case Commit():
                await self._commit(live)
            case Clear():
                live.clear()
                self._held = None if self._held is None else []
            case Interrupt(played_ms=played_ms):
                await session.interrupt(self._played_ms() if played_ms is None else played_ms)
            case Played(turn=turn, ms=ms):
                self._played = (turn, ms)
            case Approve(call_id=call_id):
                conductor.turns.check_idle()
                self._hosted.start(conductor.approved(call_id))
            case Refuse(call_id=call_id):
                session.refuse(call_id)
            case Cancel(call_id=call_id):
                session.cancel_call(call_id)
            case Voice(voice=voice):
                session.update(voice=voice)

    async def _commit(self, live: Live) -> None:
        if self._held is None:
            await live.commit()
            return
        held, self._held = self._held, []
        if not held:
            raise InvalidRequest("Nothing was said since the last turn.", "Send sound first.")
        await self._hosted.session.interrupt(self._played_ms())
        self._hosted.start(self._hosted.session.conductor.answer(Audio(np.concatenate(held), self._rate_hz)))


def _command(text: str) -> Command:
    try:
        return _COMMANDS.validate_json(text)
    except ValidationError as error:
        first = error.errors()[0]
        place = ".".join(str(part) for part in first["loc"]) or "the message"
        raise InvalidRequest(
            f"{place}: {first['msg']}.", "Commands are JSON; sound is sent as binary messages."
        ) from None
