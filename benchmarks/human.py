"""Human speech: three everyday requests, and coffee orders with an order tool.

    python -m benchmarks.human [--orders N] [--skip N] [--ears tiny.en|base]

The clips are in ``SAYSO_SHARED`` (default ``../shared``), with their licences. Every order goes through the whole
agent; a slot is right where the tool was given the value that was labelled, a slot that was not labelled where it was
left out.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import BaseModel

from benchmarks import report
from benchmarks.assistant import INSTRUCTIONS, TOOLS
from benchmarks.words import in_words
from sayso import Agent, tool
from sayso.models.embedded import embedded_model

SPEECH = Path(os.environ.get("SAYSO_SHARED", "../shared")) / "data" / "speech"
EVERYDAY = {
    "turn_on_living_room_lamp": "set_light",
    "what_time_is_it": "get_date_time",
    "whatstheweatherlike": "get_weather",
}
SLOTS = {
    "coffeeDrink": "drink",
    "size": "size",
    "roast": "roast",
    "numberOfShots": "shots",
    "milkAmount": "milk",
    "sugarAmount": "sugar",
}
KIND = {"milk": re.compile("milk|cream", re.I), "sugar": re.compile("sugar|sweetener", re.I)}


class Order(BaseModel):
    """An order that was taken."""

    drink: str


@tool(
    effect="write",
    say="One {drink} is on its way.",
    examples={
        "can I get a large light roast latte with a triple shot and some soy milk": {
            "size": "large", "roast": "light roast", "shots": "triple shot", "drink": "latte",
            "extras": ["some soy milk"],
        },
        "house coffee with lots of sweetener please": {
            "size": None, "roast": None, "shots": None, "drink": "house coffee", "extras": ["lots of sweetener"],
        },
        "make me a sixteen ounce cappuccino with brown sugar and whole milk": {
            "size": "sixteen ounce", "roast": None, "shots": None, "drink": "cappuccino",
            "extras": ["brown sugar", "whole milk"],
        },
        "I want a double shot medium roast espresso": {
            "size": None, "roast": "medium roast", "shots": "double shot", "drink": "espresso", "extras": [],
        },
        "get me a single shot drip coffee with a little bit of cream": {
            "size": None, "roast": None, "shots": "single shot", "drink": "drip coffee",
            "extras": ["a little bit of cream"],
        },
        "a small iced mocha with some almond milk and sugar": {
            "size": "small", "roast": None, "shots": None, "drink": "iced mocha",
            "extras": ["some almond milk", "sugar"],
        },
    },
)  # fmt: skip
def order_coffee(
    size: Literal["small", "medium", "large", "eight ounce", "twelve ounce", "sixteen ounce", "twenty ounce"] | None,
    roast: Literal["light roast", "medium roast", "dark roast"] | None,
    shots: Literal["single shot", "double shot", "triple shot"] | None,
    drink: Literal[
        "americano", "cappuccino", "espresso", "iced mocha", "latte", "mocha", "coffee", "drip coffee", "house coffee",
        "iced coffee",
    ],
    extras: list[str],
) -> Order:  # fmt: skip
    """Order a coffee drink.

    Args:
        size: The cup, or null.
        roast: Of the beans, or null.
        shots: Of espresso, or null.
        drink: Which drink.
        extras: Milk, cream, sugar and sweetener, each with its amount, in the words that were said.
    """
    return Order(drink=drink)


def words(value: object) -> str:
    """Casefolded words with numbers spelled out."""
    text = re.sub(r"\d+", lambda match: in_words(int(match.group())), str(value).casefold())
    return " ".join(re.findall(r"[a-z]+", text))


def extra(extras: Sequence[str] | None, slot: str) -> str:
    """Which of the extras belongs to ``slot``."""
    return next((said for said in extras or () if KIND[slot].search(said)), "") if slot in KIND else ""


def slots_right(expected: Mapping[str, str], given: Mapping[str, Any]) -> tuple[int, int]:
    """How many of the six slots are right, of those that were labelled or given."""
    right = total = 0
    for label, name in SLOTS.items():
        wanted, got = words(expected.get(label, "")), words(given.get(name) or extra(given.get("extras"), name))
        if wanted or got:
            total += 1
            right += wanted == got
    return right, total


async def everyday(model: Any) -> list[dict[str, Any]]:
    """The three everyday requests, with all the tools of the assistant."""
    rows: list[dict[str, Any]] = []
    agent = Agent(tools=TOOLS, instructions=INSTRUCTIONS, model=model)
    for stem, expected in EVERYDAY.items():
        result = await agent.ask(SPEECH / "assistant" / f"{stem}.flac", speak=False)
        called = [call.name for call in result.calls]
        arguments = [call.arguments for call in result.calls]
        rows.append(
            {"clip": stem, "heard": result.heard, "called": f"{called} {arguments}", "right": called == [expected]}
        )
    return rows


async def orders(model: Any, cases: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """The orders, with the order tool alone."""
    rows: list[dict[str, Any]] = []
    agent = Agent(tools=[order_coffee], instructions="You take orders in a coffee shop.", model=model)
    for case in cases:
        result = await agent.ask(SPEECH.parent / case["file"], speak=False)
        given = result.calls[0].arguments if result.calls else {}
        right, total = slots_right(case["slots"], given)
        rows.append(
            {
                "clip": Path(case["file"]).stem,
                "heard": result.heard,
                "given": json.dumps(given),
                "labelled": json.dumps(case["slots"]),
                "slots": f"{right}/{total}",
                "slots_right": right,
                "slots_total": total,
                "right": bool(result.calls) and right == total,
            }
        )
    return rows


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--orders", type=int, default=20)
    parser.add_argument("--skip", type=int, default=0, help="leave out the first orders (tune on the later ones)")
    parser.add_argument("--ears", choices=["tiny.en", "base"], default="tiny.en")
    options = parser.parse_args()
    if not SPEECH.is_dir():
        raise SystemExit(f"There are no clips at {SPEECH}. Set SAYSO_SHARED.")
    manifest = [json.loads(line) for line in (SPEECH / "manifest.jsonl").read_text().splitlines()]
    cases = [row for row in manifest if row.get("intent") == "orderDrink"][options.skip :][: options.orders]
    model = embedded_model(language="en" if options.ears == "tiny.en" else None)

    async def run() -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
        return await everyday(model), await orders(model, cases)

    spoken, ordered = asyncio.run(run())
    right, total = (sum(row[key] for row in ordered) for key in ("slots_right", "slots_total"))
    summary = [
        {"set": "everyday requests, right tool", "right": sum(row["right"] for row in spoken), "of": len(spoken)},
        {"set": "orders, every slot right", "right": sum(row["right"] for row in ordered), "of": len(ordered)},
        {"set": "orders, slots right", "right": right, "of": total},
    ]
    details = [json.dumps(row) for row in (*spoken, *ordered)]
    report.write("human" if not options.skip else "human_tuning", summary, [f"ears: {options.ears}", *details])


if __name__ == "__main__":
    main()
