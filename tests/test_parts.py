"""A heavy part: loaded once, in its thread, freed once, and there again when it is asked again."""

from __future__ import annotations

import asyncio
import gc
import threading
from typing import Any

import pytest

from sayso.errors import ModelMissingError
from sayso.models.parts import Part


def test_it_loads_once_and_works_in_one_thread() -> None:
    threads: set[str] = set()
    loads: list[int] = []

    def load() -> int:
        loads.append(1)
        threads.add(threading.current_thread().name)
        return 20

    def work(part: int, more: int) -> int:
        threads.add(threading.current_thread().name)
        return part + more

    async def main() -> list[int]:
        part = Part("test", load)
        results = await asyncio.gather(*(part.use(work, more) for more in range(5)))
        part.close()
        return results

    assert asyncio.run(main()) == [20, 21, 22, 23, 24]
    assert len(loads) == 1 and len(threads) == 1


def test_a_load_that_failed_is_tried_again() -> None:
    tries: list[int] = []

    def load() -> str:
        tries.append(1)
        if len(tries) == 1:
            raise ModelMissingError("Not here.", "Fetch it.")
        return "loaded"

    async def main() -> None:
        part = Part("test", load)
        with pytest.raises(ModelMissingError, match="Fetch it"):
            await part.get()
        assert await part.get() == "loaded"
        part.close()

    asyncio.run(main())


def test_an_error_that_nobody_waits_for_any_more_is_not_printed() -> None:
    complaints: list[Any] = []
    begin = threading.Event()

    def load() -> str:
        begin.wait(10)
        raise ModelMissingError("Not here.", "Fetch it.")

    async def main() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, about: complaints.append(about))
        part = Part("test", load)
        waiting = asyncio.create_task(part.get())
        await asyncio.sleep(0)
        waiting.cancel()
        await asyncio.wait([waiting])
        begin.set()
        with pytest.raises(ModelMissingError):
            await part.get()
        part.close()

    asyncio.run(main())
    gc.collect()  # it complains when the future goes
    assert complaints == []


def test_closing_frees_once_and_only_what_was_loaded() -> None:
    freed: list[str] = []

    async def main() -> None:
        unused = Part("unused", lambda: "unused")
        unused.close(freed.append)
        part = Part("used", lambda: "used")
        await part.get()
        part.close(freed.append)
        part.close(freed.append)
        assert await part.get() == "used"
        part.close()

    asyncio.run(main())
    assert freed == ["used"]
