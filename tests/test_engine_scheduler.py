"""Continuous batching on a tiny real network: every answer is compared with a fresh, uncached computation."""

import random
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch

from sayso.engine import Generation, Sampling, Vectors
from sayso.engine.job import Job, checked
from sayso.engine.masks import mask_of
from sayso.engine.scheduler import Scheduler as AnyScheduler
from sayso.errors import ModelError, UsageError
from sayso.models.step_audio2.decoder import CachedDecoder

PROMPT = [5, 17, 3, 42, 42, 8, 60, 11, 2, 33]


Scheduler = AnyScheduler


@pytest.fixture(autouse=True, params=[True, False], ids=["overlapping", "in-order"])
def overlap(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Everything is tested as it runs on CUDA and as it runs on a CPU."""
    monkeypatch.setitem(globals(), "Scheduler", partial(AnyScheduler, overlap=request.param))


class Recording(CachedDecoder):
    """Keeps the logits of each step and the positions that were prefilled."""

    def __init__(self, *parts: Any) -> None:
        super().__init__(*parts)
        self.steps: list[torch.Tensor] = []
        self.prefilled: list[tuple[int, int, int]] = []
        self.copies: list[tuple[int, int, int]] = []
        self.fail_next: Exception | None = None
        self.fail_slot: int | None = None

    def prefill(self, slot: int, inputs: torch.Tensor, position: int) -> torch.Tensor:
        self._maybe_fail()
        if slot == self.fail_slot:
            raise RuntimeError("broken")
        self.prefilled.append((slot, position, len(inputs)))
        return super().prefill(slot, inputs, position)

    def step(self, ids: torch.Tensor, positions: torch.Tensor, limit: int) -> torch.Tensor:
        self._maybe_fail()
        logits = super().step(ids, positions, limit)
        self.steps.append(logits.clone())
        return logits

    def copy(self, source: int, target: int, length: int) -> None:
        self._maybe_fail()
        self.copies.append((source, target, length))
        super().copy(source, target, length)

    def _maybe_fail(self) -> None:
        if self.fail_next is not None:
            error, self.fail_next = self.fail_next, None
            raise error


class Sent:
    """What a request delivered."""

    def __init__(self, scheduler: AnyScheduler, request: Generation) -> None:
        self.ids: list[int] = []
        self.over = False
        self.error: Exception | None = None
        keys, limit = checked(request, scheduler.network)
        self.job = Job(request, keys, limit, self._take)
        if request.timeout_s is not None:
            self.job.deadline_s = scheduler.clock() + request.timeout_s
        scheduler.submit(self.job)

    def _take(self, value: int | Exception | None) -> None:
        assert not self.over, "something came after the end"
        if isinstance(value, int):
            self.ids.append(value)
            return
        self.over, self.error = True, value


@pytest.fixture
def network(tiny_network: Callable[..., Any]) -> Recording:
    return tiny_network(slots=4, network=Recording)


@pytest.fixture
def fresh(tiny_network: Callable[..., Any]) -> Callable[..., list[int]]:
    """The greedy continuation by computing everything again for each id."""

    def continue_(prompt: list[int], count: int) -> list[int]:
        ids = list(prompt)
        for _ in range(count):
            ids.append(int(tiny_network(slots=1).prefill(0, torch.tensor(ids), 0).argmax()))
        return ids[len(prompt) :]

    return continue_


def request(session: str = "a", prompt: Any = (PROMPT,), tokens: int = 6, **more: Any) -> Generation:
    return Generation(session, prompt, max_tokens=tokens, **more)


def finish(scheduler: AnyScheduler) -> None:
    for _ in range(500):
        if not scheduler.turn():
            return
    raise AssertionError("the scheduler does not come to an end")


def test_a_request_gives_what_an_uncached_network_gives(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request())
    finish(scheduler)
    assert sent.ids == fresh(PROMPT, 6)
    assert sent.over
    assert sent.error is None
    assert sent.job.usage.prefilled_tokens == len(PROMPT)
    assert sent.job.usage.generated_tokens == 6
    assert len(network.steps) == 5  # the first id comes from the prompt, and none is computed for nothing


@pytest.mark.parametrize("chunk", [1, 3, 4, 10, 512])
def test_the_prompt_may_be_computed_in_chunks(network: Recording, fresh: Callable[..., list[int]], chunk: int) -> None:
    scheduler = Scheduler(network, chunk_tokens=chunk)
    sent = Sent(scheduler, request())
    finish(scheduler)
    assert sent.ids == fresh(PROMPT, 6)
    assert max(length for _, _, length in network.prefilled) <= chunk


def test_a_turn_computes_only_what_is_new(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    history = list(PROMPT)
    for turn in range(5):
        sent = Sent(scheduler, request(prompt=[history]))
        finish(scheduler)
        assert sent.ids == fresh(history, 6)
        # All ids but the last went through the network while they were generated.
        assert sent.job.usage.prefilled_tokens == (len(PROMPT) if turn == 0 else 1 + 3)
        assert sent.job.usage.reused_tokens == len(history) - sent.job.usage.prefilled_tokens
        history += [*sent.ids, 70 + turn, 4, 9]


def test_after_a_roll_back_all_is_as_if_it_had_never_been(network: Recording, tiny_network: Callable[..., Any]) -> None:
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request(tokens=20))
    finish(scheduler)
    cut = [*PROMPT, *sent.ids[:7]]
    again = Sent(scheduler, request(prompt=[[*cut, 80, 81]], tokens=3))
    network.steps.clear()
    finish(scheduler)
    assert again.job.usage.prefilled_tokens == 2
    other = tiny_network(slots=1)
    ids = [*cut, 80, 81]
    assert int(other.prefill(0, torch.tensor(ids), 0).argmax()) == again.ids[0]
    for step, token_id in zip(network.steps, again.ids[:-1], strict=True):
        ids.append(token_id)
        torch.testing.assert_close(
            step[0], tiny_network(slots=1).prefill(0, torch.tensor(ids), 0), atol=1e-5, rtol=1e-5
        )


def test_the_same_prompt_again_computes_one_position(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    for _ in range(2):
        sent = Sent(scheduler, request())
        finish(scheduler)
        assert sent.ids == fresh(PROMPT, 6)
    assert sent.job.usage.prefilled_tokens == 1  # its logits are wanted


def test_eight_sessions_share_steps_and_get_what_each_would_get_alone(
    tiny_network: Callable[..., Any], fresh: Callable[..., list[int]]
) -> None:
    network = tiny_network(slots=9, network=Recording)
    scheduler = Scheduler(network)
    prompts = [[(7 * session + 3 * at) % 90 for at in range(5 + session)] for session in range(8)]
    sent = [Sent(scheduler, request(f"s{at}", [prompt], 10)) for at, prompt in enumerate(prompts)]
    finish(scheduler)
    assert [one.ids for one in sent] == [fresh(prompt, 10) for prompt in prompts]
    assert len(network.steps) < 8 * 9 / 2


def test_one_that_is_cancelled_leaves_the_logits_of_the_others(tiny_network: Callable[..., Any]) -> None:
    def run(*, cancel: bool) -> tuple[list[torch.Tensor], list[list[int]]]:
        network = tiny_network(slots=4, network=Recording)
        scheduler = Scheduler(network)
        sent = [Sent(scheduler, request(f"s{at}", [[at, *PROMPT]], 12)) for at in range(3)]
        for _ in range(7):
            scheduler.turn()
        assert sent[1].ids
        sent[1].job.cancelled = cancel
        finish(scheduler)
        assert (len(sent[1].ids) < 12) == cancel
        return [step[row] for step in network.steps for row in (0, 2) if row < len(step)], [sent[0].ids, sent[2].ids]

    untouched, cancelled = run(cancel=False), run(cancel=True)
    assert untouched[1] == cancelled[1]
    for one, other in zip(untouched[0], cancelled[0], strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-6)


def test_what_a_cancelled_request_computed_is_of_use_to_the_next(
    network: Recording, fresh: Callable[..., list[int]]
) -> None:
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request(tokens=50))
    while len(sent.ids) < 9:
        scheduler.turn()
    sent.job.cancelled = True
    heard = [*PROMPT, *sent.ids[:6]]
    after = Sent(scheduler, request(prompt=[[*heard, 50]]))
    finish(scheduler)
    assert sent.over
    assert after.job.usage.prefilled_tokens == 1
    assert after.ids == fresh([*heard, 50], 6)


def test_a_stop_id_is_the_last_and_costs_the_others_nothing(
    network: Recording, fresh: Callable[..., list[int]]
) -> None:
    scheduler = Scheduler(network)
    wanted = fresh(PROMPT, 8)
    stop = wanted[3]
    first = wanted.index(stop)
    sent = Sent(scheduler, request(tokens=8, stop_ids=frozenset({stop})))
    other = Sent(scheduler, request("b", [[9, *PROMPT]], 8))
    finish(scheduler)
    assert sent.ids == wanted[: first + 1]
    assert other.ids == fresh([9, *PROMPT], 8)
    held = scheduler.sequence("a")
    assert held is not None
    assert held.keys == [*PROMPT, *wanted[:first]]  # what a step wrote behind it is not counted


def test_a_shared_prefix_is_computed_once(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    prefix = PROMPT[:7]
    sent = [Sent(scheduler, request(name, [[*prefix, at, 1]], shared_tokens=7)) for at, name in enumerate("abc")]
    finish(scheduler)
    assert [one.ids for one in sent] == [fresh([*prefix, at, 1], 6) for at in range(3)]
    assert [one.job.usage.prefilled_tokens for one in sent] == [9, 2, 2]
    assert [one.job.usage.reused_tokens for one in sent] == [0, 7, 7]
    assert [length for _, _, length in network.prefilled].count(7) == 1
    assert {copy[0] for copy in network.copies} == {3}  # the slot behind those of sessions


def test_another_prefix_takes_the_place_of_the_old_one(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    prompts = [PROMPT, PROMPT[::-1], PROMPT]
    for at, prompt in enumerate(prompts):
        sent = Sent(scheduler, request(f"s{at}", [prompt], shared_tokens=5))
        finish(scheduler)
        assert sent.ids == fresh(prompt, 6)
        assert sent.job.usage.prefilled_tokens == 10


def test_two_prefixes_at_once_with_room_for_one(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network, chunk_tokens=2)
    sent = [
        Sent(scheduler, request(name, [prompt], shared_tokens=5))
        for name, prompt in (("a", PROMPT), ("b", PROMPT[::-1]), ("c", [*PROMPT[:5], 1, 2]))
    ]
    finish(scheduler)
    assert sent[0].ids == fresh(PROMPT, 6)
    assert sent[1].ids == fresh(PROMPT[::-1], 6)
    assert sent[2].ids == fresh([*PROMPT[:5], 1, 2], 6)


def test_warm_computes_a_prefix_before_anybody_asks(network: Recording) -> None:
    scheduler = Scheduler(network)
    told: list[Exception | None] = []
    for _ in range(3):
        scheduler.warm([PROMPT[:7]], told.append)
    finish(scheduler)
    sent = Sent(scheduler, request(shared_tokens=7))
    finish(scheduler)
    assert told == [None, None, None]
    assert sent.job.usage.prefilled_tokens == 3
    assert sent.job.usage.reused_tokens == 7


def test_a_prefix_that_fails_tells_all_that_wait_for_it(network: Recording) -> None:
    scheduler = Scheduler(network)
    told: list[Exception | None] = []
    for _ in range(2):
        scheduler.warm([PROMPT[:7]], told.append)
    network.fail_next = RuntimeError("broken")
    finish(scheduler)
    assert all(isinstance(error, ModelError) for error in told)
    assert len(told) == 2
    sent = Sent(scheduler, request(shared_tokens=7))
    finish(scheduler)
    assert sent.error is None
    assert sent.job.usage.prefilled_tokens == 10


def test_a_prefix_that_fails_harms_nobody_who_has_left(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network, chunk_tokens=2)
    gone = Sent(scheduler, request(shared_tokens=8))
    scheduler.turn()
    gone.job.cancelled = True
    scheduler.turn()
    assert gone.over
    after = Sent(scheduler, request(prompt=[[4, 5, 6]]))
    network.fail_slot = 3  # that of the prefix
    finish(scheduler)
    assert gone.error is None
    assert after.ids == fresh([4, 5, 6], 6)
    assert scheduler.sequence("a") is not None


def test_a_prefix_that_cannot_be_copied_takes_its_own_request_only(network: Recording) -> None:
    scheduler = Scheduler(network)
    scheduler.warm([PROMPT[:7]], lambda error: None)
    finish(scheduler)
    sent = Sent(scheduler, request(shared_tokens=7))
    network.fail_next = RuntimeError("broken")
    finish(scheduler)
    assert "copying a shared prefix" in str(sent.error)
    again = Sent(scheduler, request(shared_tokens=7))
    finish(scheduler)
    assert again.job.usage.prefilled_tokens == 3


def test_without_prefix_slots_prefixes_are_no_use_and_no_harm(
    network: Recording, fresh: Callable[..., list[int]]
) -> None:
    scheduler = Scheduler(network, prefix_slots=0)
    sent = [Sent(scheduler, request(name, shared_tokens=7)) for name in "abcd"]
    finish(scheduler)
    assert all(one.ids == fresh(PROMPT, 6) for one in sent)
    assert network.copies == []


def test_who_waits_for_a_slot_is_served_in_turn_and_an_idle_session_comes_back(
    network: Recording, fresh: Callable[..., list[int]]
) -> None:
    scheduler = Scheduler(network)
    order: list[str] = []
    sent: dict[str, Sent] = {}
    for name in "abcdef":
        sent[name] = Sent(scheduler, request(name, [[ord(name) % 90, *PROMPT]], 4))
    while scheduler.turn():
        order += [name for name in "abcdef" if sent[name].ids and name not in order]
    assert order == list("abcdef")
    assert scheduler.sequence("a") is None  # its slot went to another
    again = Sent(scheduler, request("a", [[ord("a") % 90, *PROMPT, *sent["a"].ids, 7]], 4))
    finish(scheduler)
    assert again.ids == fresh([ord("a") % 90, *PROMPT, *sent["a"].ids, 7], 4)
    assert again.job.usage.prefilled_tokens == 1 + len(PROMPT) + 4 + 1


def test_requests_of_one_session_run_one_after_another(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    first = Sent(scheduler, request())
    second = Sent(scheduler, request(prompt=[[*PROMPT, 3]]))
    while not first.over:
        scheduler.turn()
        assert second.ids == []
    finish(scheduler)
    assert second.ids == fresh([*PROMPT, 3], 6)
    assert second.job.usage.prefilled_tokens == 1


def test_a_long_prompt_holds_the_others_up_for_one_chunk_at_a_time(network: Recording) -> None:
    scheduler = Scheduler(network, chunk_tokens=4)
    speaking = Sent(scheduler, request(tokens=40))
    while not speaking.ids:
        scheduler.turn()
    long = Sent(scheduler, request("b", [PROMPT * 6], 2))
    while not long.ids:
        before = len(speaking.ids)
        scheduler.turn()
        assert len(speaking.ids) == before + 1
    short = Sent(scheduler, request("c", [PROMPT[:3]], 2))
    finish(scheduler)
    assert short.over


def test_a_short_prompt_does_not_wait_for_a_long_one(network: Recording) -> None:
    scheduler = Scheduler(network, chunk_tokens=4)
    long = Sent(scheduler, request("a", [PROMPT * 6], 2))
    short = Sent(scheduler, request("b", [PROMPT[:3]], 1))
    while not short.over:
        scheduler.turn()
    assert long.ids == []


def test_vectors_stand_for_ids(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network, chunk_tokens=4)
    heard = Vectors(network.embed(torch.tensor(PROMPT[3:8])), "clip", token_id=90)
    prompt = [PROMPT[:3], heard, PROMPT[8:]]
    sent = Sent(scheduler, request(prompt=prompt))
    finish(scheduler)
    assert sent.ids == fresh(PROMPT, 6)
    network.prefilled.clear()
    after = Sent(scheduler, request(prompt=[*prompt, [*sent.ids, 7]]))
    finish(scheduler)
    assert after.ids == fresh([*PROMPT, *sent.ids, 7], 6)
    assert network.prefilled == [(0, 15, 2)]  # the sound is known by its key


def test_a_seed_draws_the_same_ids_in_any_company(network: Recording) -> None:
    def run(company: int) -> list[int]:
        scheduler = Scheduler(network)
        sampling = Sampling(temperature=1.0, top_p=0.95, repetition_penalty=1.1, seed=7)
        others = Sampling(temperature=0.7, seed=1)
        for at in range(company):
            Sent(scheduler, request(f"o{at}", [[at, 2, 3]], 30, sampling=others))
        sent = Sent(scheduler, request("x", tokens=20, sampling=sampling))
        finish(scheduler)
        return sent.ids

    alone = run(0)
    assert alone == run(2) == run(1)
    assert len(set(alone)) > 5
    scheduler = Scheduler(network)
    unseeded = [Sent(scheduler, request(f"u{at}", sampling=Sampling(temperature=1.5), tokens=20)) for at in range(3)]
    finish(scheduler)
    assert len({tuple(one.ids) for one in unseeded}) == 3


def test_the_penalty_counts_prompt_and_output_as_transformers_does(
    network: Recording, tiny_network: Callable[..., Any]
) -> None:
    processors = pytest.importorskip("transformers", reason="transformers is the oracle").generation.logits_process
    penalise = processors.RepetitionPenaltyLogitsProcessor(1.7)
    ids = list(PROMPT)
    for _ in range(12):
        logits = tiny_network(slots=1).prefill(0, torch.tensor(ids), 0)[None]
        ids.append(int(penalise(torch.tensor([ids]), logits.clone()).argmax()))
    scheduler = Scheduler(network)
    noise = Sent(scheduler, request("b", [[1, 2]], 30))
    sent = Sent(scheduler, request(tokens=12, sampling=Sampling(repetition_penalty=1.7)))
    finish(scheduler)
    assert sent.ids == ids[len(PROMPT) :]
    assert len(noise.ids) == 30


class Script:
    """A guide: what the next ids may be, one after another."""

    def __init__(self, *constraints: Any) -> None:
        self.constraints = list(constraints)
        self.seen: list[int] = []

    def constraint(self) -> Any:
        found = self.constraints.pop(0) if self.constraints else None
        if isinstance(found, Exception):
            raise found
        return found

    def accept(self, token_id: int) -> None:
        self.seen.append(token_id)


def test_the_penalty_counts_nothing_of_others_or_of_earlier_requests(tiny_network: Callable[..., Any]) -> None:
    def run(*, company: bool) -> list[list[int]]:
        scheduler = Scheduler(tiny_network(slots=3))
        Sent(scheduler, request("a", [[3]], 1))
        if company:
            Sent(scheduler, request("b", [[1, 2]], 140, sampling=Sampling(repetition_penalty=1.1)))
        answers: list[list[int]] = []
        for at in range(30):
            sent = Sent(scheduler, request(prompt=[[at, at + 40]], tokens=2, sampling=Sampling(repetition_penalty=30)))
            while not sent.over:
                scheduler.turn()
            answers.append(sent.ids)
        return answers

    assert run(company=True) == run(company=False)


def test_a_guide_forces_and_restricts_ids(network: Recording, fresh: Callable[..., list[int]]) -> None:
    scheduler = Scheduler(network)
    guide = Script(12, 13, mask_of([40, 41], 96), None, 5)
    other = Sent(scheduler, request("b"))
    sent = Sent(scheduler, request(guide=guide, tokens=7))
    finish(scheduler)
    assert sent.ids[:2] == [12, 13]
    assert sent.ids[2] in (40, 41)
    assert sent.ids[3] == fresh([*PROMPT, *sent.ids[:3]], 1)[0]
    assert sent.ids[4] == 5
    assert sent.ids[5:] == fresh([*PROMPT, *sent.ids[:5]], 2)
    assert guide.seen == sent.ids
    assert other.ids == fresh(PROMPT, 6)


@pytest.mark.parametrize("broken", [ValueError("no"), 96, -1])
def test_a_guide_that_fails_takes_its_own_request_only(network: Recording, broken: Any) -> None:
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request(guide=Script(None, broken)))
    other = Sent(scheduler, request("b"))
    finish(scheduler)
    assert isinstance(sent.error, ModelError | UsageError)
    assert len(sent.ids) == 1
    assert len(other.ids) == 6
    assert scheduler.sequence("a") is None


def test_a_prompt_that_fails_takes_its_own_request_only(network: Recording) -> None:
    scheduler = Scheduler(network)
    other = Sent(scheduler, request("b", tokens=20))
    while not other.ids:
        scheduler.turn()
    sent = Sent(scheduler, request())
    network.fail_next = torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 2 GiB")
    finish(scheduler)
    assert isinstance(sent.error, ModelError)
    assert "no memory left" in str(sent.error)
    assert "GiB" not in str(sent.error)
    assert other.error is None
    assert len(other.ids) == 20
    after = Sent(scheduler, request())
    finish(scheduler)
    assert after.error is None


def test_a_step_that_fails_ends_those_in_it_and_the_next_are_served(
    network: Recording, fresh: Callable[..., list[int]]
) -> None:
    scheduler = Scheduler(network)
    sent = [Sent(scheduler, request(name)) for name in "ab"]
    while not all(one.ids for one in sent):
        scheduler.turn()
    network.fail_next = RuntimeError("the device is gone")
    finish(scheduler)
    for one in sent:
        assert str(one.error) == "The network failed while computing the next ids: RuntimeError: the device is gone"
    after = Sent(scheduler, request("a"))
    finish(scheduler)
    assert after.ids == fresh(PROMPT, 6)
    assert after.job.usage.prefilled_tokens == 10  # what the failed step may have written is not used


def test_time_that_is_up_ends_a_request(network: Recording) -> None:
    now = [0.0]
    scheduler = Scheduler(network, clock=lambda: now[0])
    sent = Sent(scheduler, request(tokens=100, timeout_s=3.0))
    for name in "bc":
        Sent(scheduler, request(name, tokens=100))
    waiting = Sent(scheduler, request("e", timeout_s=2.0))
    for _ in range(5):
        scheduler.turn()
    now[0] = 2.5
    scheduler.turn()
    assert isinstance(waiting.error, ModelError)
    assert not sent.over
    now[0] = 3.0
    scheduler.turn()
    assert "3 s" in str(sent.error)
    held = scheduler.sequence("a")
    assert held is not None
    assert not held.busy
    assert held.keys[: len(PROMPT)] == PROMPT  # for the session's next request


def test_one_that_is_cancelled_while_it_waits_or_is_computed_is_gone(network: Recording) -> None:
    scheduler = Scheduler(network, chunk_tokens=2)
    sent = [Sent(scheduler, request(name, shared_tokens=6)) for name in "abcd"]
    scheduler.turn()
    for one in sent:
        one.job.cancelled = True
    finish(scheduler)
    assert all(one.over and one.error is None and not one.ids for one in sent)
    after = Sent(scheduler, request("a", shared_tokens=6))
    finish(scheduler)
    assert len(after.ids) == 6


def test_a_released_session_is_forgotten(network: Recording) -> None:
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request())
    scheduler.turn()
    scheduler.release("a")  # it is generating: nothing happens
    finish(scheduler)
    assert len(sent.ids) == 6
    scheduler.release("a")
    scheduler.release("nobody")
    assert scheduler.sequence("a") is None


def test_the_context_is_filled_to_the_last_position(
    tiny_network: Callable[..., Any], fresh: Callable[..., list[int]]
) -> None:
    network = tiny_network(slots=2, max_length=16)
    scheduler = Scheduler(network)
    sent = Sent(scheduler, request(tokens=1000))
    finish(scheduler)
    assert sent.ids == fresh(PROMPT, 5)  # the position behind a sequence is written to by its idle steps
    longest = Sent(scheduler, request(prompt=[[*PROMPT, 1, 2, 3, 4]], tokens=1000))
    finish(scheduler)
    assert len(longest.ids) == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"prompt": []}, "empty"),
        ({"prompt": [[1, 96]]}, "not among 0 to 95"),
        ({"prompt": [[-1]]}, "not among"),
        ({"prompt": [[1] * 159]}, "159 positions"),
        ({"tokens": 0}, "max_tokens"),
        ({"prompt": [Vectors(torch.zeros(3), "", 0)]}, "shape"),
    ],
)
def test_a_request_that_cannot_be_is_refused(network: Recording, wrong: dict[str, Any], words: str) -> None:
    with pytest.raises(UsageError, match=words):
        checked(request(**wrong), network)


def test_a_network_without_room_for_sessions_is_refused(tiny_network: Callable[..., Any]) -> None:
    with pytest.raises(UsageError, match="1 slots with 1"):
        Scheduler(tiny_network(slots=1))


def test_there_are_few_shapes_of_a_step(tiny_network: Callable[..., Any]) -> None:
    class Shapes(Recording):
        def step(self, ids: torch.Tensor, positions: torch.Tensor, limit: int) -> torch.Tensor:
            shapes.add((len(ids), limit))
            return super().step(ids, positions, limit)

    shapes: set[tuple[int, int]] = set()
    network = tiny_network(slots=6, max_length=700, network=Shapes)
    scheduler = Scheduler(network)
    scheduler.prepare()  # there are no graphs on a CPU
    assert shapes == set()
    for at in range(5):
        Sent(scheduler, request(f"s{at}", [PROMPT * (1 + 12 * at)], 40))
    finish(scheduler)
    assert {rows for rows, _ in shapes} <= {1, 2, 4, 6}
    assert {limit for _, limit in shapes} <= {256, 512, 700}


def test_what_is_held_survives_the_steps_of_others(network: Recording, fresh: Callable[..., list[int]]) -> None:
    """A step writes something in every row; in those of idle sessions it is written where nobody reads."""
    scheduler = Scheduler(network)
    first = Sent(scheduler, request("a"))
    finish(scheduler)
    Sent(scheduler, request("b", [[1, 2]], 30))
    Sent(scheduler, request("c", [[1, 2, 3]], 30))
    finish(scheduler)
    again = Sent(scheduler, request("a", [[*PROMPT, *first.ids, 7]]))
    finish(scheduler)
    assert again.job.usage.prefilled_tokens == 2
    assert again.ids == fresh([*PROMPT, *first.ids, 7], 6)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_whatever_comes_and_goes_each_answer_is_right(
    network: Recording, tiny_network: Callable[..., Any], seed: int
) -> None:
    """Random requests, cuts, cancellations and releases of five sessions on three slots."""
    rng = random.Random(seed)
    alone = tiny_network(slots=1)

    def check(sent: Sent) -> None:
        """The ids must follow from the prompt, one after the other: one fresh prefill, one step each."""
        expected = int(alone.prefill(0, torch.tensor(sent.job.keys), 0).argmax())
        for at, token_id in enumerate(sent.ids):
            assert token_id == expected
            position = torch.tensor([len(sent.job.keys) + at])
            expected = int(alone.step(torch.tensor([token_id]), position, 160)[0].argmax())

    scheduler = Scheduler(network, chunk_tokens=5)
    histories: dict[str, list[int]] = {name: PROMPT[: rng.randrange(2, 9)] for name in "abcde"}
    running: list[tuple[str, Sent]] = []
    checked_ones = 0
    for _ in range(150):
        name = rng.choice("abcde")
        if rng.random() < 0.3 and not any(other == name for other, _ in running):
            history = histories[name]
            if rng.random() < 0.3:
                del history[rng.randrange(1, len(history) + 1) :]
            history += [rng.randrange(96) for _ in range(rng.randrange(1, 12))]
            del history[:-100]
            shared = rng.choice([0, 2, 5])
            running.append(
                (name, Sent(scheduler, request(name, [history[:]], rng.randrange(1, 9), shared_tokens=shared)))
            )
        if running and rng.random() < 0.08:
            rng.choice(running)[1].job.cancelled = True
        if rng.random() < 0.05:
            scheduler.release(name)
        scheduler.turn()
        for who, sent in [one for one in running if one[1].over]:
            assert sent.error is None
            check(sent)
            histories[who] += sent.ids
            running.remove((who, sent))
            checked_ones += 1
    finish(scheduler)
    assert checked_ones > 15
