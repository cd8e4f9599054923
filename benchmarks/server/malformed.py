"""Messages that no client should send, made up from a seed."""

from __future__ import annotations

import base64
import json
import random
from collections.abc import Iterator
from typing import Any, Literal, TypeAlias, cast

Json: TypeAlias = dict[str, Any]
Protocol: TypeAlias = Literal["realtime", "agents"]

SOUND = base64.b64encode(bytes(960)).decode()
USER = {"type": "message", "role": "user", "content": [{"type": "input_text", "text": "1 0"}]}
REALTIME: list[Json] = [
    {"type": "session.update", "session": {"type": "realtime", "instructions": "x", "output_modalities": ["audio"]}},
    {"type": "session.update", "session": {"type": "realtime", "audio": {"input": {"turn_detection": None}}}},
    {"type": "session.update", "session": {"type": "realtime", "tools": [], "tool_choice": "auto"}},
    {"type": "input_audio_buffer.append", "audio": SOUND},
    {"type": "input_audio_buffer.commit"},
    {"type": "input_audio_buffer.clear"},
    {"type": "conversation.item.create", "item": USER},
    {"type": "conversation.item.create", "item": {"type": "function_call_output", "call_id": "c", "output": "o"}},
    {"type": "conversation.item.delete", "item_id": "nobody"},
    {"type": "conversation.item.retrieve", "item_id": "nobody"},
    {"type": "conversation.item.truncate", "item_id": "nobody", "content_index": 0, "audio_end_ms": 10},
    {"type": "response.create", "response": {"metadata": {"a": "b"}, "output_modalities": ["text"]}},
    {"type": "response.cancel", "response_id": "nobody"},
    {"type": "output_audio_buffer.clear"},
]
AGENTS: list[Json] = [
    {"type": "say", "text": "1 0"},
    {"type": "hands_free", "on": False},
    {"type": "commit"},
    {"type": "clear"},
    {"type": "interrupt", "played_ms": 10},
    {"type": "played", "turn": 1, "ms": 10},
    {"type": "approve", "call_id": "nobody"},
    {"type": "refuse", "call_id": "nobody"},
    {"type": "cancel", "call_id": "nobody"},
    {"type": "voice", "voice": "nobody"},
]
JUNK: list[Any] = [
    *(None, True, -1, 0, 1.5, 1e308, 2**63, -(2**70), "", "x", "\u0000", "\U0001f600", "?" * 5000, [], {}, [[]]),
    *({"type": "x"}, ["a"] * 1000, {"a": {"b": {"c": [None]}}}, "AAA", "AAA=AAAA", "=" * 40, "äö", "-_-_"),
]


def malformed(protocol: Protocol, count: int, seed: int = 0) -> Iterator[str | bytes]:
    """``count`` messages: text, or bytes for a binary message."""
    chance, good = random.Random(seed), REALTIME if protocol == "realtime" else AGENTS
    kinds = (_broken_json, _odd_json, _deep, _wrong_type, _wrong_field, _wrong_field, _wrong_sound, _out_of_order)
    for _ in range(count):
        if chance.random() < 0.08:
            yield chance.randbytes(chance.choice((0, 1, 2, 3, 100, 961, 4000)))
        else:
            yield chance.choice(kinds)(chance, good)


def _broken_json(chance: random.Random, good: list[Json]) -> str:
    text = json.dumps(chance.choice(good))
    match chance.randrange(4):
        case 0:
            return text[: chance.randrange(len(text))]
        case 1:
            at = chance.randrange(len(text))
            return text[:at] + chance.choice('{}[]",:\\x00\n') + text[at + 1 :]
        case 2:
            return text + text
        case _:
            return "".join(
                chr(chance.choice((chance.randrange(128), chance.randrange(0x4E00, 0x9FFF)))) for _ in range(40)
            )


def _odd_json(chance: random.Random, good: list[Json]) -> str:
    odd = ("", " ", "null", "3", '""', "[]", "[{}]", "{}", '{"type":', "NaN", '{"type":NaN}', '{"type":"\\ud800"}')
    return chance.choice((*odd, '{"type":"a","type":"b"}', '{"event_id":7,"type":"x"}', "\ufeff{}", "{" * 50))


def _deep(chance: random.Random, good: list[Json]) -> str:
    depth = chance.choice((100, 1000, 20_000))
    nested = chance.choice(("[" * depth + "]" * depth, '{"a":' * depth + "1" + "}" * depth))
    name = chance.choice(("type", "session", "item", "response", "audio", "text", "voice"))
    return nested if chance.random() < 0.3 else json.dumps(chance.choice(good))[:-1] + f', "{name}": {nested}}}'


def _wrong_type(chance: random.Random, good: list[Json]) -> str:
    types = ("session.destroy", "transcription_session.update", "SAY", "say ", "response.created", "\u0000", "a" * 9999)
    return json.dumps({**chance.choice(good), "type": chance.choice((*types, *JUNK))})


def _wrong_field(chance: random.Random, good: list[Json]) -> str:
    event: Any = json.loads(json.dumps(chance.choice(good)))
    node, places = event, list(_places(event))
    *path, last = chance.choice(places)
    for part in path:
        node = node[part]
    if chance.random() < 0.25:
        del node[last]
    else:
        node[last] = chance.choice(JUNK)
    return json.dumps(event)


def _wrong_sound(chance: random.Random, good: list[Json]) -> str:
    sound = list(SOUND)
    for _ in range(chance.randrange(1, 4)):
        sound[chance.randrange(len(sound))] = chance.choice("?*\n =ä-_")
    return json.dumps({"type": "input_audio_buffer.append", "audio": "".join(sound)[: chance.choice((1, 7, 99, 2000))]})


def _out_of_order(chance: random.Random, good: list[Json]) -> str:
    return json.dumps(chance.choice(good))


def _places(node: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Where something stands in a JSON value."""
    if path:
        yield path
    pairs: list[tuple[Any, Any]] = []
    if isinstance(node, dict):
        pairs = list(cast("dict[Any, Any]", node).items())
    elif isinstance(node, list):
        pairs = list(enumerate(cast("list[Any]", node)))
    for key, value in pairs:
        yield from _places(value, (*path, key))


FRAMES: dict[str, bytes] = {
    "text that is no UTF-8": b"\x81\x82\x00\x00\x00\x00\xff\xfe",
    "a frame that is not masked": b"\x81\x02{}",
    "an unknown kind": b"\x83\x80\x00\x00\x00\x00",
    "reserved bits": b"\xf1\x80\x00\x00\x00\x00",
    "a continuation of nothing": b"\x80\x80\x00\x00\x00\x00",
    "a ping of 200 bytes": b"\x89\xfe\x00\xc8\x00\x00\x00\x00" + bytes(200),
    "a ping in parts": b"\x09\x80\x00\x00\x00\x00",
    "a length of 2**63": b"\x81\xff\x80\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "1 TB to come": b"\x82\xff\x00\x00\x01\x00\x00\x00\x00\x00\x00\x00\x00\x00",
    "text inside text": b"\x01\x81\x00\x00\x00\x00a\x81\x81\x00\x00\x00\x00b",
    "a close of one byte": b"\x88\x81\x00\x00\x00\x00a",
    "a close code that is none": b"\x88\x82\x00\x00\x00\x00\x00\x01",
    "no WebSocket at all": b"GET / HTTP/1.1\r\n\r\n",
}
"""Bytes behind the handshake that are no WebSocket: each has to end the connection, and nothing else."""
