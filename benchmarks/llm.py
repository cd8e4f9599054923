"""What the language model of the embedded agent calls and says, and how long it takes, on written requests.

    python -m benchmarks.llm --model MODEL.gguf --requests tuning
    python -m benchmarks.llm --model MODEL.gguf --requests tuning --format plain    # decode every character

Prints one line a request, totals and times; writes ``benchmarks/results/llm_<set>.json``.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.scoring import REQUESTS, Request, read_requests, right_call
from sayso.items import AssistantReply, Item, ToolCall, ToolOutput, ToolSpec, UserInput
from sayso.models.base import CallClose, CallOpen, ModelRequest, Text
from sayso.models.llm import LlamaModel, LlmOptions

RESULTS = REQUESTS / "results.jsonl"
"""Requests with a call and its result: the answer must hold each number (``a|b``: one of them)."""


@dataclass(slots=True)
class Row:
    """What one request led to; times in seconds from its start."""

    text: str
    tool: str | None = None
    arguments: dict[str, Any] | None = None
    said: str = ""
    right: bool = False
    right_tool: bool = False
    valid: bool = True
    first_s: float = 0.0
    call_s: float | None = None
    sentence_s: float | None = None
    prompt_tokens: int = 0
    completion_tokens: int = 0
    decode_tokens_per_s: float = 0.0


async def ask(model: LlamaModel, request: ModelRequest, text: str) -> Row:
    """Run one round and time it."""
    row, start = Row(text), time.perf_counter()
    async for event in model.respond(request):
        now = time.perf_counter() - start
        row.first_s = row.first_s or now
        match event:
            case CallOpen(name=name):
                row.tool = name
            case CallClose(arguments=arguments):
                row.arguments, row.valid, row.call_s = arguments, arguments is not None, now
            case Text(text=words):
                row.said += words
                if row.sentence_s is None and row.said.rstrip().endswith((".", "!", "?")):
                    row.sentence_s = now
            case _:
                pass
    if row.said and row.sentence_s is None:
        row.sentence_s = time.perf_counter() - start
    usage = model.usage
    row.prompt_tokens, row.completion_tokens = usage.prompt_tokens, usage.completion_tokens
    row.decode_tokens_per_s = usage.completion_tokens / (usage.decode_s or 1e9)
    return row


def is_valid(row: Row, tools: Sequence[ToolSpec]) -> bool:
    """The call names a tool and its arguments fit the schema."""
    import jsonschema

    by_name = {tool.name: tool for tool in tools}
    if row.tool is None:
        return bool(row.said.strip())
    if row.tool not in by_name or row.arguments is None:
        return False
    try:
        jsonschema.validate(row.arguments, by_name[row.tool].parameters)
    except jsonschema.ValidationError:
        return False
    return True


async def run_requests(model: LlamaModel, base: ModelRequest, requests: Sequence[Request]) -> list[Row]:
    """Ask each request on its own and print what came."""
    rows: list[Row] = []
    for request in requests:
        row = await ask(model, with_items(base, [UserInput(request.text)]), request.text)
        row.valid = is_valid(row, base.tools)
        row.right_tool = row.tool == request.tool
        row.right = row.valid and right_call(request, row.tool, row.arguments)
        rows.append(row)
        mark = "ok   " if row.right else "args " if row.right_tool else "WRONG"
        done = row.call_s or row.sentence_s or 0.0
        print(f"{mark} {done:5.2f} s  {request.text[:64]:64}  {row.tool or 'says'} {row.arguments or row.said or ''}")
    return rows


async def run_results(model: LlamaModel, base: ModelRequest) -> list[Row]:
    """Answer the results of calls."""
    rows: list[Row] = []
    for case in map(json.loads, RESULTS.read_text(encoding="utf-8").splitlines()):
        text, tool = str(case["text"]), str(case["tool"])
        items: list[Item] = [UserInput(text)]
        await ask(model, with_items(base, items), text)  # so that the cache is as in a session
        items += [ToolCall("1", tool, case["arguments"]), ToolOutput("1", tool, case["output"])]
        row = await ask(model, with_items(base, items), text)
        row.right = row.tool is None and all(any(one in row.said for one in n.split("|")) for n in case["numbers"])
        rows.append(row)
        print(f"{_mark(row)} {row.sentence_s or 0:5.2f} s  {text[:44]:44}  {row.tool or ''} {row.said}")
    return rows


async def run_followups(model: LlamaModel, base: ModelRequest) -> list[Row]:
    """A second request in a conversation that already has one."""
    history: list[Item] = [
        UserInput("what's the weather in Oslo tomorrow"),
        ToolCall("1", "get_weather", {"city": "Oslo", "day": "tomorrow"}),
        ToolOutput(
            "1", "get_weather", "In Oslo tomorrow it is mostly cloudy, with a high of 14 and a low of 8 degrees."
        ),
        AssistantReply("Tomorrow in Oslo it will be mostly cloudy, between 8 and 14 degrees."),
    ]
    cases = [
        Request("and in Rome", "get_weather", {"city": {"any_of": ["Rome"]}, "day": {"any_of": ["tomorrow"]}}),
        Request("set a timer for five minutes", "set_timer", {"duration": {"seconds": 300}}),
        Request("thanks", None, {}),
        Request("and who is the mayor there", "web_search", {"query": {"contains": ["mayor"]}}),
    ]  # fmt: skip
    rows: list[Row] = []
    for case in cases:
        row = await ask(model, with_items(base, [*history, UserInput(case.text)]), case.text)
        row.right = right_call(case, row.tool, row.arguments)
        rows.append(row)
        print(f"{_mark(row)} {case.text[:44]:44}  {row.tool or ''} {row.arguments or row.said}")
    return rows


def _mark(row: Row) -> str:
    return "ok   " if row.right else "WRONG"


def with_items(base: ModelRequest, items: Sequence[Item]) -> ModelRequest:
    """``base`` with other items."""
    return ModelRequest(items, base.instructions, base.tools)


def percentiles(values: Sequence[float | None]) -> str:
    """P50 / p90 of the values that there are."""
    there = sorted(value for value in values if value is not None)
    if not there:
        return "-"
    return f"{statistics.median(there):.2f} / {there[min(len(there) - 1, round(0.9 * (len(there) - 1)))]:.2f}"


def summary(rows: Sequence[Row]) -> dict[str, Any]:
    """Totals and times."""
    return {
        "requests": len(rows),
        "right_tool": sum(row.right_tool for row in rows),
        "right": sum(row.right for row in rows),
        "invalid": sum(not row.valid for row in rows),
        "first_event_s_p50_p90": percentiles([row.first_s for row in rows]),
        "call_complete_s_p50_p90": percentiles([row.call_s for row in rows]),
        "first_sentence_s_p50_p90": percentiles([row.sentence_s for row in rows]),
        "prompt_tokens_mean": round(statistics.mean(row.prompt_tokens for row in rows), 1),
        "completion_tokens_mean": round(statistics.mean(row.completion_tokens for row in rows), 1),
        "decode_tokens_per_s_p50": round(statistics.median(row.decode_tokens_per_s for row in rows), 1),
    }


async def main() -> None:
    """Run the benchmark."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--model", type=Path, help="the GGUF file; default: the 1.5 B model of the store")
    parser.add_argument("--requests", default="tuning", help="a file, or the name of one in benchmarks/requests")
    parser.add_argument("--format", choices=["jump", "plain"], default="jump", help="plain: decode what is certain too")
    parser.add_argument("--only", choices=["requests", "results", "followups"], help="one part")
    options = parser.parse_args()
    from benchmarks.assistant import INSTRUCTIONS, TOOLS
    from sayso.models.store import Store

    options.model = options.model or Store().path("qwen2.5-coder-1.5b")
    tools: tuple[ToolSpec, ...] = tuple(tool.spec for tool in TOOLS)
    base = ModelRequest((), INSTRUCTIONS, tools)
    model = LlamaModel(LlmOptions(options.model, jump=options.format == "jump"))
    start = time.perf_counter()
    await model.runner()
    loaded = time.perf_counter() - start
    await model.warm(base)
    warm = time.perf_counter() - start - loaded
    print(f"load {loaded:.2f} s, system prompt and tools {warm:.2f} s")
    report: dict[str, Any] = {"model": options.model.name, "format": options.format, "load_s": loaded, "warm_s": warm}
    rows: list[Row] = []
    if options.only in (None, "requests"):
        rows = await run_requests(model, base, read_requests(options.requests))
        report["totals"] = summary(rows)
    if options.only in (None, "results"):
        results = await run_results(model, base)
        report["results"] = summary(results)
    if options.only in (None, "followups"):
        report["followups_right"] = sum(row.right for row in await run_followups(model, base))
    write_report(options, report, rows)
    await model.aclose()


def write_report(options: argparse.Namespace, report: dict[str, Any], rows: Sequence[Row]) -> None:
    """Print the totals and write them beside the other results, with the requests that went wrong."""
    from benchmarks.report import write

    head = {key: value for key, value in report.items() if not isinstance(value, dict)}
    parts: list[dict[str, Any]] = [{"part": key, **value} for key, value in report.items() if isinstance(value, dict)]
    wrong = [f"wrong: {row.text} -> {row.tool} {row.arguments or row.said}" for row in rows if not row.right]
    name = f"llm_{Path(options.requests).stem}_{options.model.stem}_{options.format}"
    write(name, parts, [*(f"{key}: {value}" for key, value in head.items()), *wrong])


if __name__ == "__main__":
    asyncio.run(main())
