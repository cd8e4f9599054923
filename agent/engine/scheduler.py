"""Continuous batching: requests of many sessions share each step; they come and go between two steps.

`Scheduler` is synchronous and belongs to one thread; `Scheduler.turn` does one round::

    requests that were cancelled or ran out of time go
    waiting requests are admitted, first come first served, while there are slots (idle sessions' are taken if need be)
    one chunk of one prompt is computed, in turns
    one step: all that are generating draw one more id

What fails takes only the requests with it that it concerned.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable, Sequence

import torch
from torch import Tensor

from sayso.engine.cache import CachedSequence, Prefixes, Slots, penalty_ids
from sayso.engine.graphs import free_unused
from sayso.engine.job import Fill, Job, checked_prompt
from sayso.engine.network import Network
from sayso.engine.request import Prompt
from sayso.engine.runner import Drawn, Runner
from sayso.errors import ModelError, SaysoError, UsageError

CHUNK_TOKENS = 512
"""Of a prompt are computed at once: between two chunks the others draw an id each."""


class Scheduler:
    """Runs requests on one network; see the module docstring.

    Args:
        network: What computes.
        prefix_slots: Slots that are kept for shared prefixes.
        chunk_tokens: How much of a prompt is computed at once.
        clock: Seconds, monotonic.
        graphs: See `Runner`.
        overlap: Look at the ids of a step while the next one runs, so that the device never waits for the host; the
            step behind a request's last id is then computed for nothing. None: where there is CUDA.

    Raises:
        UsageError: The network has no slot left for sessions.
    """

    def __init__(
        self,
        network: Network,
        *,
        prefix_slots: int = 1,
        chunk_tokens: int = CHUNK_TOKENS,
        clock: Callable[[], float] = time.monotonic,
        graphs: bool | None = None,
        overlap: bool | None = None,
    ) -> None:
        sessions = network.slots - prefix_slots
        if sessions < 1 or prefix_slots < 0 or chunk_tokens < 1:
            raise UsageError(
                f"{network.slots} slots with {prefix_slots} for prefixes, chunks of {chunk_tokens} tokens: impossible.",
                "Leave at least one slot for sessions.",
            )
        self.network = network
        self.clock = clock
        self._chunk_tokens = chunk_tokens
        self._overlap = network.device.type == "cuda" if overlap is None else overlap
        self._runner = Runner(network, graphs)
        self._slots = Slots(range(sessions))
        self._prefixes = Prefixes(range(sessions, network.slots))
        self._waiting: deque[Job] = deque()
        self._fills: deque[Fill] = deque()
        self._generating: list[Job] = []
        self._drawn: Drawn | None = None

    # --- from outside, between two turns ---

    def submit(self, job: Job) -> None:
        """Take a request in."""
        self._waiting.append(job)

    def warm(self, prompt: Prompt, done: Callable[[Exception | None], None]) -> None:
        """Compute a shared prefix unless it is there; ``done`` is called with what went wrong, or None."""
        keys = checked_prompt(prompt, self.network)
        sequence = self._prefixes.find(keys)
        if sequence is None and (sequence := self._prefixes.add(keys)) is not None:
            self._fills.append(Fill(prompt, keys, sequence, done=done))
        elif sequence is not None and sequence.busy:
            self._fills.append(Fill(prompt, keys, sequence, done=done))  # whichever comes first computes it
        else:
            done(None)

    def prepare(self) -> None:
        """Run each shape of a step once, so that no request waits for its graph to be captured."""
        self._runner.prepare(self._lengths())

    def release(self, session: str) -> None:
        """Forget a session that is not generating."""
        sequence = self._slots.sequence(session)
        if sequence is not None and not sequence.busy:
            self._slots.forget(session)

    def fail_all(self, error: Exception) -> None:
        """End every request with an error."""
        for fill in list(self._fills):
            if fill.done is not None:
                self._end_prefix(fill, error)
        for job in (*self._waiting, *self._jobs()):
            self._fail(job, error)
        self._waiting.clear()
        self._drawn = None

    def sequence(self, session: str) -> CachedSequence | None:
        """What the cache holds of a session."""
        return self._slots.sequence(session)

    # --- a turn ---

    def turn(self) -> bool:
        """Do one round; returns whether there is more to do."""
        self._drop()
        self._admit()
        self._compute_chunk()
        self._generate()
        return bool(self._waiting or self._fills or self._generating)

    def _drop(self) -> None:
        now = self.clock()
        for job in (*self._waiting, *self._jobs()):
            late = job.deadline_s is not None and now >= job.deadline_s
            if not (job.cancelled or late):
                continue
            if job.sequence is None:
                self._waiting.remove(job)
                job.over = True
            else:
                self._leave(job)
            job.deliver(_late(job) if late and not job.cancelled else None)

    def _admit(self) -> None:
        waiting, self._waiting = self._waiting, deque()
        for job in waiting:
            job.sequence = self._slots.take(job.request.session)
            if job.sequence is None:
                self._waiting.append(job)
                continue
            # The last position is always computed: its logits are wanted.
            job.sequence.roll_back(min(job.sequence.common(job.keys), len(job.keys) - 1))
            job.usage.reused_tokens = len(job.sequence.keys)
            self._fills.append(Fill(job.request.prompt, job.keys, job.sequence, job))

    def _compute_chunk(self) -> None:
        for _ in range(len(self._fills)):
            fill = self._fills.popleft()
            if fill.job is not None and fill.done is None:
                try:
                    if not self._share(fill, fill.job):
                        self._fills.append(fill)  # its prefix is computed in another turn
                        continue
                except Exception as error:
                    self._fail(fill.job, _explained(error, "copying a shared prefix"))
                    continue
            elif fill.is_over:
                self._end_prefix(fill, None)
                continue
            self._compute(fill)
            return

    def _share(self, fill: Fill, job: Job) -> bool:
        """Use the shared prefix where there is more in it than in the session's cache; False: it is not there yet."""
        shared = min(job.request.shared_tokens, len(job.keys) - 1)
        if len(fill.sequence.keys) >= shared:
            return True
        keys = job.keys[:shared]
        prefix = self._prefixes.find(keys)
        if prefix is None:
            prefix = self._prefixes.add(keys)
            if prefix is not None:
                self._fills.appendleft(Fill(job.request.prompt, keys, prefix, job, done=lambda error: None))
            return prefix is None
        if prefix.busy:
            return False
        self._runner.copy(prefix.slot, fill.sequence.slot, shared)
        fill.sequence.keys[:] = keys
        job.usage.reused_tokens = shared - job.usage.prefilled_tokens
        return True

    def _compute(self, fill: Fill) -> None:
        sequence = fill.sequence
        start = len(sequence.keys)
        end = min(start + self._chunk_tokens, len(fill.keys))
        try:
            logits = self._runner.prefill(sequence.slot, fill.prompt, start, end)
            if end == len(fill.keys) and fill.job is not None and fill.done is None:
                self._begin(fill.job, logits)
        except Exception as error:
            failed = _explained(error, f"computing {end - start} tokens of a prompt")
            if fill.done is not None:
                self._end_prefix(fill, failed)
            if fill.job is not None:
                self._fail(fill.job, failed)
            return
        sequence.keys += fill.keys[start:end]
        if fill.job is not None:
            fill.job.usage.prefilled_tokens += end - start
        if not fill.is_over:
            self._fills.append(fill)
        elif fill.done is not None:
            self._end_prefix(fill, None)

    def _begin(self, job: Job, logits: Tensor) -> None:
        ids = penalty_ids(job.request.prompt)
        self._runner.begin(job.place.slot, ids, logits, job.request.sampling)
        self._generating.append(job)

    def _end_prefix(self, fill: Fill, error: Exception | None) -> None:
        sequence = fill.sequence
        sequence.busy = False
        if error is not None:
            self._prefixes.forget(sequence)
        waiting = [other for other in self._fills if other.sequence is sequence and other is not fill]
        for ended in (fill, *waiting):  # several may wait for the same prefix
            if ended in self._fills:
                self._fills.remove(ended)
            if ended.done is not None:
                ended.done(error)

    # --- generating ---

    def _generate(self) -> None:
        if self._overlap:
            going_on = [job for job in self._generating if job.drawn and not job.is_last]
            self._step(going_on)
            self._take()
        else:
            going_on = [job for job in self._generating if job.drawn]
            self._take()
            going_on = [job for job in going_on if job in self._generating]
            self._step(going_on)
        for job in going_on:
            if job in self._generating:
                job.place.keys.append(job.last_id)
        self._draw()

    def _step(self, jobs: Sequence[Job]) -> None:
        """Queue a step of the ids that were drawn last, which are on the device."""
        if not jobs:
            return
        try:
            self._runner.forward({job.place.slot: len(job.place.keys) for job in jobs}, self._lengths())
        except Exception as error:
            self._fail_each(jobs, error, "computing the next ids")

    def _take(self) -> None:
        """Look at the ids that were drawn last."""
        drawn, self._drawn = self._drawn, None
        jobs = [job for job in self._generating if job.drawn]
        if drawn is None or not jobs:
            return
        try:
            ids = drawn.ids()
        except Exception as error:
            self._fail_each(jobs, error, "computing the next ids")
            return
        for job in jobs:
            job.drawn = False
            job.last_id = token_id = ids[job.place.slot]
            try:
                if job.request.guide is not None:
                    job.request.guide.accept(token_id)
            except Exception as error:
                self._fail(job, _explained(error, "restricting the output"))
                continue
            over = job.is_last or token_id in job.request.stop_ids
            job.usage.generated_tokens += 1
            job.deliver(token_id)
            if over:
                self._leave(job)
                job.deliver(None)

    def _draw(self) -> None:
        masks: dict[int, Tensor] = {}
        forced: dict[int, int] = {}
        for job in list(self._generating):
            try:
                self._restrict(job, masks, forced)
            except Exception as error:
                self._fail(job, _explained(error, "restricting the output"))
        uniform = {job.place.slot: job.random.random() for job in self._generating}
        if not uniform:
            return
        try:
            self._drawn = self._runner.draw(uniform, masks, forced)
        except Exception as error:
            self._fail_each(self._generating, error, "drawing an id")
        for job in self._generating:
            job.drawn = True

    def _restrict(self, job: Job, masks: dict[int, Tensor], forced: dict[int, int]) -> None:
        constraint = None if job.request.guide is None else job.request.guide.constraint()
        if isinstance(constraint, int):
            if not 0 <= constraint < self.network.vocab_size:
                raise UsageError(f"{constraint} is no id.")
            forced[job.place.slot] = constraint
        elif constraint is not None:
            masks[job.place.slot] = constraint

    # --- how requests end ---

    def _lengths(self) -> dict[int, int]:
        return self._slots.lengths() | self._prefixes.lengths()

    def _jobs(self) -> list[Job]:
        """The requests that have a slot."""
        filling = [fill.job for fill in self._fills if fill.job is not None and fill.done is None]
        return [*filling, *self._generating]

    def _leave(self, job: Job) -> None:
        """Free its slot; what is in the cache stays for the session's next request."""
        job.over = True
        self._runner.end(job.place.slot)
        self._slots.give_back(job.request.session)
        if job in self._generating:
            self._generating.remove(job)
        self._fills = deque(fill for fill in self._fills if fill.job is not job or fill.done is not None)

    def _fail(self, job: Job, error: Exception) -> None:
        """End a request with an error; its part of the cache is not to be trusted."""
        if job.over:  # it left while the prefix was computed that it was to pay for
            return
        if job.sequence is not None:
            self._leave(job)
            self._slots.forget(job.request.session)
        job.over = True
        job.deliver(error)

    def _fail_each(self, jobs: Sequence[Job], error: Exception, what: str) -> None:
        failed = _explained(error, what)
        for job in list(jobs):
            self._fail(job, failed)


def _late(job: Job) -> ModelError:
    return ModelError(f"The model did not finish within {job.request.timeout_s:g} s.", "Ask again, or allow more time.")


def _explained(error: Exception, what: str) -> SaysoError:
    """What went wrong, in words."""
    if isinstance(error, SaysoError):
        return error
    if isinstance(error, torch.OutOfMemoryError) or "allocate memory" in str(error):
        free_unused()
        explained = ModelError(
            f"There was no memory left while {what}.", "Use fewer slots, a shorter context or smaller weights."
        )
    else:
        explained = ModelError(f"The network failed while {what}: {type(error).__name__}: {error}")
    explained.__cause__ = error
    return explained
