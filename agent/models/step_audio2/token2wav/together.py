"""Chunks that several threads want at the same time, run as one batch.

Whoever comes while nothing runs begins at once and runs alone. Whoever comes meanwhile waits for that, and then all who
wait are run together by one of them. So nobody waits for company, and company forms where there is a queue.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from threading import Condition
from typing import TypeAlias

from sayso.models.step_audio2.token2wav.stream import Chunk, Samples, Stream

Split: TypeAlias = Callable[[Sequence[Chunk]], list[list[Chunk]]]
Run: TypeAlias = Callable[[Sequence[Chunk]], list[tuple[Chunk, Samples]]]


@dataclass(slots=True, eq=False)
class _Wish:
    """What one thread waits for: all chunks of its streams that are due."""

    streams: Sequence[Stream]
    samples: dict[int, list[Samples]]
    error: Exception | None = None
    over: bool = False

    def due(self) -> list[Chunk]:
        """The next chunk of each stream that has one."""
        return [chunk for stream in self.streams if (chunk := stream.next_chunk()) is not None]


class Together:
    """Serves threads; see the module docstring.

    Args:
        split: Sorts chunks into batches that can be run together.
        run: Runs a batch, moves its streams on, and returns the samples of those that were not given up. Where it
            fails no stream has moved. Called by one thread at a time.
    """

    def __init__(self, split: Split, run: Run) -> None:
        self._split, self._run = split, run
        self._wishes: list[_Wish] = []
        self._led = False
        self._changed = Condition()

    def serve(self, streams: Sequence[Stream]) -> list[list[Samples]]:
        """Run all that is due in some streams; no other thread may ask for one of them meanwhile.

        Returns:
            The samples of each stream, chunk by chunk.

        Raises:
            Exception: What running these streams' chunks raised.
        """
        wish = _Wish(streams, {id(stream): [] for stream in streams})
        if not wish.due():  # mostly: nobody waits for others with nothing to run
            return [[] for _ in streams]
        with self._changed:
            self._wishes.append(wish)
            self._changed.wait_for(lambda: wish.over or not self._led)
            leads = not wish.over
            self._led = self._led or leads
        if leads:
            self._lead(wish)
        if wish.error is not None:
            raise wish.error
        return [wish.samples[id(stream)] for stream in streams]

    def _lead(self, own: _Wish) -> None:
        try:
            while not own.over:
                self._round()
        finally:
            with self._changed:
                self._led = False
                if own in self._wishes:  # this thread was interrupted
                    self._wishes.remove(own)
                self._changed.notify_all()

    def _round(self) -> None:
        """Run the next chunk of all streams that somebody waits for now."""
        with self._changed:
            wishes = list(self._wishes)
        owners = {id(chunk.stream): (wish, chunk) for wish in wishes for chunk in wish.due()}
        for batch in self._split([chunk for _, chunk in owners.values()]):
            try:
                done = self._run(batch)
            except Exception as error:
                done = self._one_by_one(batch, error, owners)
            for chunk, samples in done:
                owners[id(chunk.stream)][0].samples[id(chunk.stream)].append(samples)
        with self._changed:
            for wish in wishes:
                wish.over = wish.error is not None or not wish.due()
            self._wishes = [wish for wish in self._wishes if not wish.over]
            self._changed.notify_all()

    def _one_by_one(
        self, batch: Sequence[Chunk], error: Exception, owners: dict[int, tuple[_Wish, Chunk]]
    ) -> list[tuple[Chunk, Samples]]:
        """What fails together may go well alone, such as where there was no memory for all."""
        done: list[tuple[Chunk, Samples]] = []
        for chunk in batch:
            try:
                if len(batch) == 1:
                    raise error
                done += self._run([chunk])
            except Exception as own:
                owners[id(chunk.stream)][0].error = own
        return done
