"""Transcripts, tokenizer, grammar and engine together, on a tiny network with the real vocabulary."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")
pytest.importorskip("xgrammar", reason="the extra step-audio is not installed")

import torch

from sayso.engine import Generation, Prompt, Sampling, Vectors
from sayso.engine.grammar import Grammars
from sayso.engine.job import Job, checked
from sayso.engine.scheduler import Scheduler
from sayso.items import AssistantReply, Audio, Item, ToolCall, ToolOutput, ToolSpec, UserInput
from sayso.models.call_parser import STEP_AUDIO, CallParser
from sayso.models.step_audio2.chat import ChatFormat, Segment, call_alternatives
from sayso.models.step_audio2.interleave import Splitter, SpokenLine, split, stop_ids
from sayso.models.step_audio2.tokenizer import Tokenizer
from sayso.models.step_audio2.transcript import Transcript

VOCAB = 158720
LIGHT = ToolSpec(
    "light",
    "Switch a light.",
    {
        "type": "object",
        "properties": {"room": {"type": "string", "enum": ["kitchen", "Küche"]}, "on": {"type": "boolean"}},
        "required": ["room", "on"],
        "additionalProperties": False,
    },
)


def run(scheduler: Scheduler, request: Generation) -> tuple[list[int], Job]:
    ids: list[int] = []

    def take(value: int | Exception | None) -> None:
        if isinstance(value, int):
            ids.append(value)
        elif value is not None:
            raise value

    job = Job(request, *checked(request, scheduler.network), take)
    scheduler.submit(job)
    while scheduler.turn():
        pass
    return ids, job


@pytest.fixture
def network(tiny_network: Callable[..., Any]) -> Any:
    return tiny_network(slots=2, max_length=1500, vocab=VOCAB)


def test_a_conversation_with_calls_and_sound_computes_each_position_once(
    network: Any, step_tokenizer: Tokenizer
) -> None:
    tokenizer = step_tokenizer
    grammars = Grammars(tokenizer.text_pieces, VOCAB, open_id=tokenizer.tool_call, close_id=tokenizer.tool_call_end)
    grammar = grammars.compile(call_alternatives([LIGHT]))
    scheduler = Scheduler(network, overlap=True)
    transcript = Transcript(ChatFormat(tokenizer), "Be brief.", [LIGHT])
    sampling = Sampling(temperature=1.0, top_p=0.9, repetition_penalty=1.05, seed=3)

    def prompt_of(segments: list[Segment]) -> Prompt:
        """Sounds become two vectors between their marks, as an encoder's would."""
        pieces: list[Any] = []
        for segment in segments:
            if isinstance(segment, tuple):
                pieces.append(segment)
            else:
                vectors = Vectors(torch.full((2, 64), 0.1), str(id(segment.audio)), tokenizer.audio_patch)
                pieces += [[tokenizer.audio_start], vectors, [tokenizer.audio_end]]
        return pieces

    items: list[Item] = []
    length = 0
    for turn in range(4):
        audio = Audio(np.zeros(16000, np.float32), 16000)
        items.append(UserInput("", audio) if turn % 2 else UserInput(f"Turn {turn}"))
        for opening in ("call", "speak"):
            prompt = prompt_of(transcript.prompt(items, opening))
            ids, job = run(
                scheduler,
                Generation(
                    "a",
                    prompt,
                    shared_tokens=len(transcript.prefix.ids),
                    sampling=sampling,
                    max_tokens=60 if opening == "call" else 12,
                    stop_ids=frozenset({*stop_ids(tokenizer), tokenizer.tool_call_end}),
                    guide=grammar.guide(armed=opening == "call"),
                ),
            )
            # All that was there before and all ids but the last were in the cache.
            size = job.usage.reused_tokens + job.usage.prefilled_tokens
            assert size == len(job.keys)
            assert job.usage.reused_tokens == (length - 1 if length else 0)
            length = size + len(ids)
            transcript.generated(ids, opening)
            if opening == "call":
                assert ids[-1] == tokenizer.tool_call_end
                events = CallParser(STEP_AUDIO).feed(tokenizer.decode([tokenizer.tool_call, *ids]))
                (arguments,) = [event.arguments for event in events if event.type == "call_close"]
                assert arguments is not None
                assert arguments["room"] in ("kitchen", "Küche")
                call = ToolCall(f"c{turn}", "light", arguments)
                items += [call, ToolOutput(call.call_id, "light", "done")]
            else:
                words = tokenizer.decode(split(tokenizer, ids).text)
                items.append(AssistantReply(words))


def test_a_given_line_is_spoken_in_the_models_own_sound(network: Any, step_tokenizer: Tokenizer) -> None:
    tokenizer = step_tokenizer
    line = tokenizer.encode("It is done.")
    prompt = ChatFormat(tokenizer).open("speak")
    ids, _ = run(
        Scheduler(network),
        Generation(
            "a",
            [prompt],
            sampling=Sampling(temperature=1.0, seed=1),
            max_tokens=200,
            stop_ids=frozenset(stop_ids(tokenizer)),
            guide=SpokenLine(tokenizer, line, VOCAB),
        ),
    )
    splitter = Splitter(tokenizer, speaking=True)
    parts = [part for token_id in ids if (part := splitter.feed(token_id)) is not None]
    assert [part.value for part in parts if part.kind == "spoken"] == line
    assert len([part for part in parts if part.kind == "code"]) >= 4 * len(line)
