"""`pushed`: order, errors and clean-up."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import aclosing

import pytest

from sayso.streams import pushed
from sayso.testing import run


def test_items_come_in_order_and_it_ends() -> None:
    async def produce(push: Callable[[int], None]) -> None:
        for number in range(3):
            push(number)
            await asyncio.sleep(1)

    async def main() -> list[int]:
        return [item async for item in pushed(produce)]

    assert run(main()) == [0, 1, 2]


def test_an_error_comes_after_the_items_before_it_without_its_group() -> None:
    async def produce(push: Callable[[int], None]) -> None:
        async with asyncio.TaskGroup() as tasks:
            tasks.create_task(asyncio.sleep(9))
            push(1)
            raise ValueError("no")

    async def main() -> None:
        seen: list[int] = []
        with pytest.raises(ValueError, match="no"):
            async for item in pushed(produce):
                seen.append(item)
        assert seen == [1]

    run(main())


@pytest.mark.parametrize("steps", [0, 1, 2])
def test_closing_cancels_the_producer_and_waits_for_it(steps: int) -> None:
    ended: list[str] = []

    async def produce(push: Callable[[int], None]) -> None:
        try:
            for number in range(9):
                push(number)
                await asyncio.sleep(1)
        finally:
            await asyncio.sleep(0)
            ended.append("ended")

    async def main() -> None:
        async with aclosing(pushed(produce)) as stream:
            for _ in range(steps):
                await anext(stream)
        assert ended == (["ended"] if steps else [])

    run(main())
