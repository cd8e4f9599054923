"""One small tool for async streams: a producer that pushes, read as an iterator that cleans up after itself."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Awaitable, Callable
from typing import Generic, TypeVar, cast

from sayso.errors import SaysoError

T = TypeVar("T")


class _End(Generic[T]):
    """Marks that a producer returned."""


async def pushed(producer: Callable[[Callable[[T], None]], Awaitable[None]]) -> AsyncGenerator[T, None]:
    """Iterate over what ``producer`` pushes.

    The producer runs as one task, which this generator owns: closing the generator cancels the task and waits for its
    clean-up. So a producer may use task groups freely, which a generator that yields inside one may not.

    Args:
        producer: Called with ``push``, a function that takes one item and never blocks.

    Yields:
        The items in order.

    Raises:
        Exception: Whatever the producer raises, after the items that it pushed before; of a group, one.
    """
    queue: asyncio.Queue[T | _End[T]] = asyncio.Queue()
    end = _End[T]()

    async def run() -> None:
        try:
            await producer(queue.put_nowait)
        finally:
            queue.put_nowait(end)

    task = asyncio.create_task(run())
    try:
        while (item := await queue.get()) is not end:
            yield cast(T, item)
        await task
    except BaseExceptionGroup as group:
        raise sole_exception(group) from None
    finally:
        task.cancel()
        await asyncio.wait([task])
        if not task.cancelled():
            task.exception()  # seen: it was raised above, or the reader left before it could be


def sole_exception(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The exception to tell of a group: sayso's own first, since it says what to do; else the first."""
    inner: list[BaseException] = []
    for error in group.exceptions:
        if isinstance(error, BaseExceptionGroup):
            error = sole_exception(cast("BaseExceptionGroup[BaseException]", error))
        inner.append(error)
    return next((error for error in inner if isinstance(error, SaysoError)), inner[0])
