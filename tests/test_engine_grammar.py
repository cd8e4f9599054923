"""Calls under the grammar: always valid, nothing masked outside, and the whole way through the engine."""

import json
import sys
from collections.abc import Callable
from typing import Any

import jsonschema
import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")

import torch

from sayso.engine import Generation, Sampling
from sayso.engine.grammar import Banned, CallGuide, Grammars
from sayso.engine.job import Job, checked
from sayso.engine.masks import all_but, allowed
from sayso.engine.scheduler import Scheduler
from sayso.errors import ModelMissingError
from sayso.models.call_parser import STEP_AUDIO, CallParser
from sayso.models.step_audio2.tokenizer import Tokenizer


def an_object(**properties: Any) -> dict[str, Any]:
    return {"type": "object", "properties": properties, "required": list(properties), "additionalProperties": False}


TOOLS: dict[str, dict[str, Any]] = {
    "get_date_time": an_object(),
    "get_weather": an_object(
        location={"type": "string", "maxLength": 12}, days={"type": "integer", "minimum": 1, "maximum": 9}
    ),
    "light": {
        "type": "object",
        "properties": {"room": {"$ref": "#/$defs/Room"}, "on": {"type": "boolean"}, "level": {"type": "number"}},
        "required": ["room"],
        "additionalProperties": False,
        "$defs": {"Room": {"type": "string", "enum": ["kitchen", "living room", "Küche", "客厅"]}},
    },
    "note": an_object(
        text={"type": "string", "minLength": 1, "maxLength": 20},
        tags={"type": "array", "items": {"type": "string", "maxLength": 4}, "maxItems": 3},
    ),
    "remind": an_object(
        at={"type": "string", "pattern": "^[0-2][0-9]:[0-5][0-9]$"},
        when={"anyOf": [{"type": "string", "format": "date"}, {"type": "null"}]},
    ),
}
# 0xED begins Hangul, but also surrogates, which xgrammar lets through byte by byte; they are left to the validator.
PARTS = [b"" if byte == 0xED else bytes([byte]) for byte in range(256)]
PARTS += [
    part.encode()
    for part in (
        '"}',
        '": ',
        '", "',
        '{"',
        "}}",
        "function",
        "\n{",
        "get_",
        "客",
        "厅",
        "kitchen",
        "true",
        "null",
        " 5",
        "]}",
    )
]
OPEN, CLOSE, AUDIO = len(PARTS), len(PARTS) + 1, len(PARTS) + 2
VOCAB = 384  # some rows of the head stand for nothing


@pytest.fixture(scope="module")
def grammars() -> Grammars:
    return Grammars([*PARTS, b"<tool_call>", b"</tool_call>", b""], VOCAB, open_id=OPEN, close_id=CLOSE)


def alternatives(*names: str) -> list[tuple[str, dict[str, Any]]]:
    return [(f"function\n{name}\n", TOOLS[name]) for name in names or TOOLS]


def sample(guide: CallGuide, generator: torch.Generator, vocab: int = VOCAB, likes: Any = 0.0) -> list[int]:
    """Ids of a call from random logits; ``likes`` is added to them."""
    ids: list[int] = []
    while guide.is_armed:
        mask = guide.constraint()
        assert isinstance(mask, torch.Tensor)
        logits = torch.randn(vocab, generator=generator) * 2 + likes
        ids.append(int(logits.masked_fill(~allowed(mask[None], vocab)[0], float("-inf")).argmax()))
        guide.accept(ids[-1])
        assert len(ids) < 2000
    return ids


def read(text: str) -> tuple[str, Any]:
    """Name and arguments of the one call in a text."""
    parser = CallParser(STEP_AUDIO)
    events = [*parser.feed(text), *parser.close()]
    (name,) = [event.name for event in events if event.type == "call_open"]
    (arguments,) = [event.arguments for event in events if event.type == "call_close"]
    assert not [event for event in events if event.type == "text"]
    return name, arguments


def test_a_thousand_random_calls_are_valid(grammars: Grammars) -> None:
    compiled = grammars.compile(alternatives())
    generator = torch.Generator().manual_seed(0)
    names: set[str] = set()
    for _ in range(1000):
        ids = sample(compiled.guide(armed=True), generator)
        assert ids[-1] == CLOSE
        text = b"".join(PARTS[token_id] for token_id in ids[:-1]).decode()  # whole characters
        name, arguments = read(f"<tool_call>{text}</tool_call>")
        jsonschema.validate(arguments, TOOLS[name])
        assert text.startswith(f"function\n{name}\n{{")
        names.add(name)
    assert names == TOOLS.keys()


def test_calls_in_the_real_vocabulary_are_valid(step_tokenizer: Tokenizer) -> None:
    tokenizer = step_tokenizer
    grammars = Grammars(tokenizer.text_pieces, 158720, open_id=tokenizer.tool_call, close_id=tokenizer.tool_call_end)
    compiled = grammars.compile(alternatives("get_weather", "light", "remind"))
    generator = torch.Generator().manual_seed(1)
    for _ in range(4):
        ids = sample(compiled.guide(armed=True), generator, vocab=158720)
        name, arguments = read(tokenizer.decode([tokenizer.tool_call, *ids]))
        jsonschema.validate(arguments, TOOLS[name])
        assert ids[-1] == tokenizer.tool_call_end
        assert all(map(tokenizer.is_text, ids[:-1]))


def test_it_is_armed_by_one_id_and_dropped_at_another(grammars: Grammars) -> None:
    guide = grammars.compile(alternatives("get_date_time")).guide()
    for token_id in (5, AUDIO, CLOSE):
        guide.accept(token_id)
        assert guide.constraint() is None  # nothing to pay for outside a call
    for _ in range(2):  # calls may follow one another
        guide.accept(OPEN)
        for byte in b"function\nget_date_time\n{":
            mask = guide.constraint()
            assert isinstance(mask, torch.Tensor)
            assert bool(allowed(mask[None], VOCAB)[0, byte])
            guide.accept(byte)
        mask = guide.constraint()
        assert isinstance(mask, torch.Tensor)
        assert allowed(mask[None], VOCAB)[0].nonzero().flatten().tolist() == [ord("}")]
        guide.accept(ord("}"))
        mask = guide.constraint()
        assert isinstance(mask, torch.Tensor)
        assert allowed(mask[None], VOCAB)[0].nonzero().flatten().tolist() == [CLOSE]
        guide.accept(CLOSE)
        assert guide.constraint() is None


def test_an_id_that_does_not_fit_is_an_error(grammars: Grammars) -> None:
    guide = grammars.compile(alternatives()).guide(armed=True)
    with pytest.raises(ValueError, match="does not fit"):
        guide.accept(ord("{"))


def test_a_grammar_is_compiled_once(grammars: Grammars) -> None:
    assert grammars.compile(alternatives()) is grammars.compile(alternatives())
    assert grammars.compile(alternatives("note")) is not grammars.compile(alternatives())


def test_a_schema_beyond_the_grammar_still_gives_an_object(grammars: Grammars) -> None:
    compiled = grammars.compile([("function\nodd\n", {"type": "object", "properties": {"x": {"$ref": "#/nowhere"}}})])
    likes = torch.zeros(VOCAB)
    likes[ord("}")] = 30
    generator = torch.Generator().manual_seed(2)
    ids = sample(compiled.guide(armed=True), generator, likes=likes)
    name, arguments = read("<tool_call>" + b"".join(PARTS[token_id] for token_id in ids[:-1]).decode())
    assert name == "odd"
    assert isinstance(arguments, dict)


def test_the_length_of_a_long_text_is_left_to_the_validator(grammars: Grammars) -> None:
    schema = an_object(short={"type": "string", "maxLength": 3}, long={"type": "string", "maxLength": 100})
    guide = grammars.compile([("x", schema)]).guide(armed=True)
    for byte in b'x{"short": "abc", "long": "' + b"a" * 150 + b'"}':
        guide.accept(byte)
    guide.accept(CLOSE)
    guide.accept(OPEN)
    for byte in b'x{"short": "abc':
        guide.accept(byte)
    with pytest.raises(ValueError, match="does not fit"):
        guide.accept(ord("d"))


def test_without_the_package_the_extra_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "xgrammar", None)  # as if it were not installed
    with pytest.raises(ModelMissingError, match=r"sayso\[step-audio\]"):
        Grammars(PARTS, VOCAB, open_id=OPEN, close_id=CLOSE)


LETTERS = [bytes([byte]) for byte in range(33, 126)] + [b" "]
"""The vocabulary of the tiny network, without "~"."""


def run(network: Any, **more: Any) -> list[int]:
    scheduler = Scheduler(network)
    got: list[int] = []
    failed: list[Exception] = []

    def take(value: int | Exception | None) -> None:
        if isinstance(value, int):
            got.append(value)
        elif value is not None:
            failed.append(value)

    request = Generation("a", [[1, 2, 3]], **more)
    scheduler.submit(Job(request, *checked(request, network), take))
    while scheduler.turn():
        pass
    assert not failed
    return got


def test_a_network_that_knows_nothing_calls_correctly(tiny_network: Callable[..., Any]) -> None:
    grammars = Grammars(LETTERS, 96, open_id=94, close_id=95)
    schema = an_object(room={"enum": ["hall", "attic"]}, level={"type": "integer", "minimum": 1, "maximum": 99})
    compiled = grammars.compile([("light ", schema), ("door ", an_object(open={"type": "boolean"}))])
    for seed in range(5):
        ids = run(
            tiny_network(),
            guide=compiled.guide(armed=True),
            stop_ids=frozenset({95}),
            sampling=Sampling(temperature=1.5, seed=seed),
            max_tokens=80,
        )
        assert ids[-1] == 95
        name, _, text = b"".join(LETTERS[token_id] for token_id in ids[:-1]).decode().partition(" ")
        jsonschema.validate(json.loads(text), schema if name == "light" else an_object(open={"type": "boolean"}))


def test_banned_ids_are_never_drawn(tiny_network: Callable[..., Any]) -> None:
    free = run(tiny_network(), max_tokens=12)
    banned = {*free}
    bounded = run(tiny_network(), max_tokens=12, guide=Banned(all_but(banned, 96)))
    assert not banned & {*bounded}
    assert len(bounded) == 12
