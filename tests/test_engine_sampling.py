"""Drawing ids: parity with transformers' processors, masks, seeds."""

import math

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch
from hypothesis import assume, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st

from sayso.engine import Sampling
from sayso.engine.masks import all_but, allowed, mask_of, words
from sayso.engine.sampling import Rows, draw, likeliest, mask_out, penalise
from sayso.errors import UsageError

VOCAB = 70


def random_logits(rows: int, seed: int = 0) -> torch.Tensor:
    return 3 * torch.randn(rows, VOCAB, generator=torch.Generator().manual_seed(seed))


def settings(temperature: float = 1.0, top_p: float = 1.0, penalty: float = 1.0, rows: int = 1) -> Rows:
    return Rows(*(torch.full((rows, 1), value) for value in (temperature, top_p, penalty)))


def chances(logits: torch.Tensor, rows: Rows, draws: int = 100) -> torch.Tensor:
    """How often each id is drawn when the uniform numbers cover [0, 1) evenly: the distribution itself."""
    many = Rows(*(value.expand(draws, 1) for value in (rows.temperature, rows.top_p, rows.penalty)))
    ids = draw(logits.expand(draws, VOCAB), many, (torch.arange(draws)[:, None] + 0.5) / draws)
    return torch.bincount(ids, minlength=VOCAB) / draws


def kept_by_sorting(logits: torch.Tensor, temperature: float, top_p: float) -> torch.Tensor:
    """The chances of one row's nucleus as whole numbers, by a plain sort; ties stay in the order of ids."""
    chances = (logits.float() / temperature).softmax(0)
    weights = (chances * 2.0**48).long()
    ids = chances.sort(descending=True, stable=True).indices
    before = weights[ids].cumsum(0) - weights[ids]
    inside = before.double() < torch.tensor(top_p, dtype=torch.float32).double() * weights.sum()
    return weights.where(torch.zeros_like(weights, dtype=torch.bool).scatter_(0, ids, inside), 0)


def drawn_by_sorting(logits: torch.Tensor, temperature: float, top_p: float, uniform: torch.Tensor) -> torch.Tensor:
    """What `draw` has to give for one row and some numbers."""
    kept = kept_by_sorting(logits, temperature, top_p)
    chances = (logits.float() / temperature).softmax(0)
    order = torch.argsort((chances == chances[kept > 0].min()).int(), stable=True)  # the least chance comes last
    ends = kept[order].cumsum(0)
    return order[torch.searchsorted(ends, (uniform.flatten().double() * ends[-1]).long(), right=True)]


def numbers(draws: int) -> torch.Tensor:
    """Between 0 and 1, both ends among them."""
    inner = torch.rand(draws - 2, generator=torch.Generator().manual_seed(0))
    return torch.cat([torch.tensor([0.0, 1 - 2.0**-24]), inner])[:, None]


@pytest.mark.parametrize("temperature", [0.3, 0.7, 1.0, 1.7])
@pytest.mark.parametrize("top_p", [0.05, 0.5, 0.9, 1.0])
@pytest.mark.parametrize("penalty", [1.0, 1.05, 1.8])
def test_drawn_from_what_transformers_would_draw_from(temperature: float, top_p: float, penalty: float) -> None:
    processors = pytest.importorskip("transformers", reason="transformers is the oracle").generation.logits_process
    logits = random_logits(1)
    before = torch.tensor([[3, 5, 5, 60, 9]])
    theirs = processors.RepetitionPenaltyLogitsProcessor(penalty)(before, logits.clone())
    theirs = processors.TemperatureLogitsWarper(temperature)(before, theirs)
    theirs = processors.TopPLogitsWarper(top_p)(before, theirs).softmax(1)[0]

    seen = torch.zeros(1, VOCAB, dtype=torch.bool).scatter_(1, before, True)
    rows = settings(temperature, top_p, penalty, rows=8)
    penalised = penalise(logits, seen, rows.penalty[:1])[0]
    kept = kept_by_sorting(penalised, temperature, top_p)
    torch.testing.assert_close((kept / kept.sum()).float(), theirs)
    drawn = draw(penalised.expand(8, -1), rows, numbers(8))
    assert torch.equal(drawn, drawn_by_sorting(penalised, temperature, top_p, numbers(8)))


def test_temperature_zero_is_greedy_whatever_the_number() -> None:
    logits = random_logits(4)
    rows = settings(0.0, 0.4, rows=4)
    for number in (0.0, 0.5, 0.999999):
        assert torch.equal(draw(logits, rows, torch.full((4, 1), number)), logits.argmax(1))
    assert torch.equal(likeliest(logits), logits.argmax(1))


def test_rows_are_drawn_as_if_they_were_alone() -> None:
    logits = random_logits(3)
    rows = Rows(torch.tensor([[0.0], [0.7], [1.3]]), torch.tensor([[1.0], [0.9], [0.5]]), torch.ones(3, 1))
    numbers = torch.tensor([[0.3], [0.8], [0.1]])
    together = draw(logits, rows, numbers)
    for row in range(3):
        part = slice(row, row + 1)
        alone = Rows(rows.temperature[part], rows.top_p[part], rows.penalty[part])
        assert draw(logits[part], alone, numbers[part]).item() == together[row]


def test_the_highest_numbers_never_leave_the_nucleus() -> None:
    logits = random_logits(1)
    top = torch.nextafter(torch.tensor(1.0), torch.tensor(0.0)).view(1, 1)
    masked = mask_out(logits, mask_of([4, 69], VOCAB)[None])
    assert draw(masked, settings(2.0), top).item() in (4, 69)
    assert draw(logits, settings(1.0, 1e-6), top).item() == logits.argmax()


def test_masks_are_packed_as_xgrammar_packs_them() -> None:
    mask = mask_of([0, 31, 32, 69], VOCAB)
    assert mask.dtype == torch.int32
    assert mask.tolist() == [1 - 2**31, 1, 1 << 5]
    assert allowed(mask[None], VOCAB)[0].nonzero().flatten().tolist() == [0, 31, 32, 69]
    assert allowed(all_but([7], VOCAB)[None], VOCAB).sum() == VOCAB - 1
    assert words(VOCAB) == 3


def test_an_id_that_is_masked_out_is_never_drawn() -> None:
    logits = random_logits(1)
    best = int(logits.argmax())
    masked = mask_out(logits, all_but([best], VOCAB)[None])
    assert chances(masked, settings(1.0))[best] == 0
    assert likeliest(masked) != best


value = st.sampled_from([0.0, 0.5, 1.0, 1.0 + 2**-20, -2.0, 12.0]) | st.floats(-40, 40, width=16)


@hypothesis_settings(max_examples=300)
@given(
    st.lists(value | st.just(float("-inf")), min_size=1, max_size=200),
    st.floats(0.0625, 3, width=32),
    st.floats(2**-10, 1, width=32) | st.sampled_from([0.25, 0.5, 1.0]),
    st.sampled_from([torch.float32, torch.bfloat16, torch.float16]),
)
def test_drawn_as_a_plain_sort_would(values: list[float], temperature: float, top_p: float, dtype: torch.dtype) -> None:
    assume(max(values) > float("-inf"))
    logits, uniform = torch.tensor(values, dtype=dtype), numbers(8)
    drawn = draw(logits.expand(8, -1), settings(temperature, top_p, rows=8), uniform)
    assert torch.equal(drawn, drawn_by_sorting(logits, temperature, top_p, uniform))


@pytest.mark.parametrize("vocab", [158_720, 1025, 1024, 1])
@pytest.mark.parametrize("top_p", [0.25, 0.5, 1.0])
def test_of_equal_ids_the_first_make_the_nucleus(vocab: int, top_p: float) -> None:
    uniform = numbers(8)
    ids = draw(torch.zeros(8, vocab), settings(0.7, top_p, rows=8), uniform)
    kept = math.ceil(top_p * vocab)
    assert ids.tolist() == [int(number * kept) for number in uniform.double().flatten().tolist()]


@pytest.mark.parametrize("spread", [0.01, 1.0, 6.0])
@pytest.mark.parametrize("top_p", [0.1, 0.9, 1.0])
def test_a_whole_vocabulary_flat_or_not_masked_or_not(spread: float, top_p: float) -> None:
    logits = spread * torch.randn(2, 158_720, generator=torch.Generator().manual_seed(1))
    logits[1, 1000:] = float("-inf")
    for row in logits:
        drawn = draw(row.expand(8, -1), settings(1.0, top_p, rows=8), numbers(8))
        assert torch.equal(drawn, drawn_by_sorting(row, 1.0, top_p, numbers(8)))


def test_the_host_never_waits_for_the_device() -> None:
    with torch.device("meta"):  # where nothing has a value, so that asking for one fails
        ids = draw(torch.zeros(3, 158_720), settings(0.7, 0.9, rows=3), torch.zeros(3, 1))
    assert ids.shape == (3,) and ids.dtype == torch.int64


def test_whatever_the_logits_are_an_id_comes_out() -> None:
    broken = torch.full((1, VOCAB), float("nan"))
    for logits in (broken, broken.nan_to_num(nan=float("inf")), broken.nan_to_num(nan=float("-inf"))):
        assert 0 <= draw(logits, settings(0.7, 0.9), torch.tensor([[0.999]])).item() < VOCAB


@pytest.mark.parametrize(
    "broken",
    [{"temperature": -1}, {"temperature": float("nan")}, {"top_p": 0}, {"top_p": 1.1}, {"repetition_penalty": 0}],
)
def test_settings_that_cannot_be_are_refused(broken: dict[str, float]) -> None:
    with pytest.raises(UsageError, match=next(iter(broken))):
        Sampling(**broken)
