"""`Call`: one peer connection: the protocol's events on its data channel, sound on its tracks."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

import orjson
from aiortc import RTCConfiguration, RTCPeerConnection, RTCSessionDescription

from sayso.errors import SaysoError
from sayso.items import JsonObject, Samples
from sayso.server.errors import InvalidRequest, LimitReached, error_event
from sayso.server.host import Host
from sayso.server.realtime.client_mcp import ClientMcp
from sayso.server.realtime.machine import Connection
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.rtc.playout import Playout
from sayso.server.rtc.tracks import VoiceTrack, listen
from sayso.session import Session

CHANNEL = "oai-events"
CONNECT_S = 20.0
"""Until both sides have found each other."""
MAX_WAITING = 1000
"""Messages of a client that were not looked at yet."""
MAX_BUFFERED_BYTES = 1 << 20
"""Of events, in the data channel."""
GOODBYE_S = 1.0
"""For the last words."""
LEFT = frozenset({"failed", "closed"})

_log = logging.getLogger(__name__)


class Call:
    """One client's call. `answer` it, then `run` it.

    Args:
        host: The server's.
        model: What the client called the agent.
        update: What it wants of its session, as ``session.update`` has it; None: nothing.
    """

    def __init__(self, host: Host, model: str, update: JsonObject | None) -> None:
        self._host = host
        self._model = model
        self._update = update
        self._peer = RTCPeerConnection(RTCConfiguration(iceServers=[]))  # nobody else is asked where we are
        self._out = Outgoing()
        self._playout = Playout(self._tell)
        self._received: asyncio.Queue[str | bytes] = asyncio.Queue(MAX_WAITING)
        self._channel: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._track: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        self._connected = asyncio.Event()
        self._left = asyncio.Event()
        self._too_much = False
        self._drained = asyncio.Event()

    async def answer(self, offer: str) -> str:
        """The SDP that answers ``offer``.

        Raises:
            InvalidRequest: It is none, or offers no sound or no data channel.
        """
        peer: Any = self._peer
        peer.on("track", self._take_track)
        peer.on("datachannel", self._take_channel)
        peer.on("connectionstatechange", self._look)
        try:
            await peer.setRemoteDescription(RTCSessionDescription(offer, "offer"))
            kinds = [transceiver.kind for transceiver in peer.getTransceivers()]
            if "audio" not in kinds or peer.sctp is None:
                raise InvalidRequest("The offer has to have a track of sound and a data channel.", param="sdp")
            peer.addTrack(VoiceTrack(self._playout))
            await peer.setLocalDescription(await peer.createAnswer())
        except SaysoError:
            raise
        except Exception as error:  # whatever the parser stumbles over
            raise InvalidRequest(f"The SDP cannot be used ({type(error).__name__}).", param="sdp") from None
        return peer.localDescription.sdp

    async def run(self, session: Session) -> None:
        """Talk until the client leaves.

        Raises:
            ServerError: The client sends too much or reads too slowly, or the server ended the session.
        """
        mcp, limit = ClientMcp(allowed=self._host.settings.client_mcp), self._host.settings.max_message_bytes
        async with Connection(
            session, self._out, model=self._model, sink=self._playout, max_message_bytes=limit, mcp=mcp
        ) as connection:
            if self._update is not None:
                await connection.receive(orjson.dumps(self._update).decode())
            await self._until_over(session, connection)

    async def tell(self, error: Exception) -> None:
        """Say why the call ends, if the client still listens."""
        if not self._channel.done() or self._channel.cancelled() or self._channel.result().readyState != "open":
            return
        channel = self._channel.result()
        channel.send(orjson.dumps(error_event(error)).decode())
        until_s = asyncio.get_running_loop().time() + GOODBYE_S
        while channel.bufferedAmount and asyncio.get_running_loop().time() < until_s:  # noqa: ASYNC110
            await asyncio.sleep(0.01)

    async def aclose(self) -> None:
        """Hang up."""
        await self._peer.close()

    async def _until_over(self, session: Session, connection: Connection) -> None:
        work = (
            self._left.wait(),
            self._find(),
            self._read(session, connection),
            self._send(),
            self._hear(session, connection),
        )
        tasks = [asyncio.create_task(one) for one in (*work, self._out.broken())]
        leaving, waiting = tasks[0], set(tasks)
        try:
            while not leaving.done():
                done, waiting = await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
                for task in done:
                    task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks)
            for task in tasks:
                if not task.cancelled():
                    task.exception()  # seen: one of them was raised

    async def _find(self) -> None:
        """Wait until both sides have found each other."""
        try:
            async with asyncio.timeout(CONNECT_S):
                await self._connected.wait()
                await self._channel
        except TimeoutError:
            _log.info("no connection came about")
            self._left.set()

    async def _read(self, session: Session, connection: Connection) -> None:
        while True:
            message = await self._received.get()
            if self._too_much:
                raise LimitReached(
                    "The client sends faster than can be read.", "Send fewer events.", code="client_too_fast"
                )
            self._host.touch(session)
            await connection.receive(message)
            await asyncio.sleep(0)

    async def _send(self) -> None:
        channel = await self._channel
        while True:
            message = await self._out.next()
            while channel.bufferedAmount > MAX_BUFFERED_BYTES:
                self._drained.clear()
                await self._drained.wait()
            if channel.readyState != "open":
                return
            channel.send(message)

    async def _hear(self, session: Session, connection: Connection) -> None:
        track = await self._track

        async def hear(samples: Samples) -> None:
            self._host.touch(session)
            await connection.hear(connection.config.input_format.bytes_of(samples))

        await listen(track, lambda: connection.config.input_format.rate_hz, hear)

    def _tell(self, what: str, response_id: str) -> None:
        self._out.send({"type": f"output_audio_buffer.{what}", "response_id": response_id})

    def _take_track(self, track: Any) -> None:
        if track.kind == "audio" and not self._track.done():
            self._track.set_result(track)

    def _take_channel(self, channel: Any) -> None:
        if channel.label != CHANNEL or self._channel.done():
            return
        channel.bufferedAmountLowThreshold = MAX_BUFFERED_BYTES // 2
        channel.on("bufferedamountlow", self._drained.set)
        channel.on("message", self._take_message)
        channel.on("close", self._left.set)
        self._channel.set_result(channel)

    def _take_message(self, message: str | bytes) -> None:
        if self._received.full():
            self._too_much = True
        else:
            self._received.put_nowait(message)

    async def _look(self) -> None:
        state = self._peer.connectionState
        if state == "connected":
            self._connected.set()
        elif state in LEFT:
            self._left.set()
