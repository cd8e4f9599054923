"""Latency and sanity of whole spoken turns with the embedded models.

    python -m benchmarks.turns [--tts piper|kokoro|both] [--repeat N]

Twelve spoken requests (`requests/spoken.jsonl`, rendered by Kokoro voices that are not the agent's) go through
`Session.ask` as sound. Time zero is the moment the whole utterance is handed over, which is the end of speech. Two
agents are asked: one whose tools declare a template for their result, one whose results the model phrases. Replies are
recognised again and compared with their text.

Then conversations of four turns: the next question is handed over when the reply would have been played and the
question spoken.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from benchmarks import report
from benchmarks.assistant import INSTRUCTIONS, TOOLS
from benchmarks.speech import recognised_wer, spoken
from sayso import Agent
from sayso.items import Audio
from sayso.models.embedded import embedded_model
from sayso.session import Session

REQUESTS = Path(__file__).parent / "requests" / "spoken.jsonl"
TURNS = 4


@dataclass(frozen=True)
class Row:
    """One turn."""

    engine: str
    answer: str
    request: str
    heard: str
    tools: list[str]
    right_tool: bool
    said: str
    stages: dict[str, float]
    wer: float
    seconds: float


async def measure(session: Session, engine: str, answer: str, case: dict[str, Any], audio: Audio) -> Row:
    """Ask one request in a fresh conversation."""
    result = await session.ask(audio)
    tools = [call.name for call in result.calls]
    expected = [case["tool"]] if case["tool"] else []
    kind = answer if case["tool"] else "no tool"
    seconds = result.audio.seconds if result.audio else 0.0
    wer = recognised_wer(result.audio, result.text) if result.audio else 0.0
    right = tools == expected
    return Row(engine, kind, case["text"], result.heard, tools, right, result.text, result.stages, wer, seconds)


async def run(engines: Sequence[str], repeat: int) -> list[Row]:
    """All turns of all engines and both agents."""
    cases = [json.loads(line) for line in REQUESTS.read_text().splitlines()]
    utterances = [await asyncio.to_thread(spoken, case["text"], case["voice"]) for case in cases]
    rows: list[Row] = []
    for engine in engines:
        model = embedded_model(tts=engine)  # pyright: ignore[reportArgumentType]
        for answer, tools in (
            ("template", TOOLS),
            ("phrased by the model", [replace(tool, speak=None) for tool in TOOLS]),
        ):
            agent = Agent(tools=tools, instructions=INSTRUCTIONS, model=model)
            async with agent.session() as session:
                await session.warm()
            for _ in range(repeat):
                for case, audio in zip(cases, utterances, strict=True):
                    if answer != "template" and not case["tool"]:
                        continue
                    async with agent.session() as session:
                        rows.append(await measure(session, engine, answer, case, audio))
        rows += await conversations(
            Agent(tools=TOOLS, instructions=INSTRUCTIONS, model=model), engine, cases, utterances
        )
        await model.aclose()
    return rows


async def conversations(
    agent: Agent, engine: str, cases: Sequence[dict[str, Any]], utterances: Sequence[Audio]
) -> list[Row]:
    """The requests that need a tool, four to a conversation, in real time."""
    rows: list[Row] = []
    asked = [(case, audio) for case, audio in zip(cases, utterances, strict=True) if case["tool"]]
    for start in range(0, len(asked), TURNS):
        async with agent.session() as session:
            await session.warm()
            for number, (case, audio) in enumerate(asked[start : start + TURNS], 1):
                row = await measure(session, engine, f"template, turn {number}", case, audio)
                rows.append(row)
                await asyncio.sleep(row.seconds + audio.seconds)
    return rows


def quantile(values: Sequence[float], share: float) -> float:
    """The value below which ``share`` of ``values`` lie."""
    return sorted(values)[min(len(values) - 1, round(share * (len(values) - 1)))]


def summary(rows: Sequence[Row]) -> list[dict[str, Any]]:
    """Per engine and kind of answer: the median and the 90th percentile of each stage, in seconds."""
    table: list[dict[str, Any]] = []
    for engine in dict.fromkeys(row.engine for row in rows):
        for answer in dict.fromkeys(row.answer for row in rows):
            chosen = [row for row in rows if row.engine == engine and row.answer == answer]
            line: dict[str, Any] = {"engine": engine, "answer": answer, "turns": len(chosen)}
            line["right tool"] = sum(row.right_tool for row in chosen)
            for stage in ("heard", "call_ready", "first_text", "first_sound", "first_audio", "done"):
                reached = [row.stages[stage] for row in chosen if stage in row.stages]
                if reached:
                    line[stage] = round(statistics.median(reached), 2)
                    line[f"{stage}_p90"] = round(quantile(reached, 0.9), 2)
            line["wer"] = round(statistics.mean(row.wer for row in chosen), 3)
            table.append(line)
    return table


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--tts", choices=["piper", "kokoro", "both"], default="both")
    parser.add_argument("--repeat", type=int, default=1)
    options = parser.parse_args()
    engines = ["piper", "kokoro"] if options.tts == "both" else [options.tts]
    rows = asyncio.run(run(engines, options.repeat))
    table = summary(rows)
    replies = [
        f"{row.engine}, {row.answer}: {row.heard!r} -> {row.tools} {row.said!r} WER {row.wer:.2f}" for row in rows
    ]
    report.write("turns", table, ["Seconds from the end of speech, median and 90th percentile.", *replies])


if __name__ == "__main__":
    main()
