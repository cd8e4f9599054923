"""The account of what the cache holds: slots of sessions, shared prefixes, common beginnings."""

import pytest

pytest.importorskip("torch", reason="the extra step-audio is not installed")

import torch
from hypothesis import given
from hypothesis import strategies as st

from sayso.engine import Vectors
from sayso.engine.cache import CachedSequence, Prefixes, Slots, keys_of, penalty_ids, prefix_handle, runs

KEYS = st.lists(st.integers(0, 3), max_size=12)


def vectors(count: int, key: str) -> Vectors:
    return Vectors(torch.arange(count * 2.0).view(count, 2), key, token_id=90)


@given(KEYS, KEYS)
def test_the_common_beginning_is_the_longest_one(held: list[int], wanted: list[int]) -> None:
    common = CachedSequence(0, list(held)).common(wanted)
    assert held[:common] == wanted[:common]
    assert common in (len(held), len(wanted)) or held[common] != wanted[common]


def test_a_sequence_rolls_back_to_a_checkpoint() -> None:
    sequence = CachedSequence(0, [1, 2, 3])
    mark = sequence.checkpoint()
    sequence.keys += [4, 5]
    sequence.roll_back(mark)
    assert sequence.keys == [1, 2, 3]
    with pytest.raises(ValueError, match="position 4"):
        sequence.roll_back(4)


def test_vectors_have_keys_of_their_content_and_length() -> None:
    same = keys_of([[5], vectors(3, "a")]), keys_of([[5], vectors(3, "a")])
    assert same[0] == same[1]
    assert len(set(same[0])) == 4
    others = keys_of([vectors(3, "b")]), keys_of([vectors(2, "a")])
    assert not {*same[0]} & {*others[0], *others[1]}
    assert all(key < 0 for key in same[0][1:])
    assert penalty_ids([[5], vectors(3, "a"), [6]]) == [5, 90, 90, 90, 6]


def test_a_prompt_is_cut_across_its_pieces() -> None:
    prompt = [[1, 2, 3], vectors(3, "a"), [4, 5]]
    assert list(runs(prompt, 0, 2)) == [[1, 2]]
    first, second, third = runs(prompt, 2, 7)
    assert (first, third) == ([3], [4])
    assert isinstance(second, Vectors)
    assert second.values.tolist() == [[0, 1], [2, 3], [4, 5]]
    (middle,) = runs(prompt, 4, 5)
    assert isinstance(middle, Vectors)
    assert middle.values.tolist() == [[2, 3]]
    assert list(runs(prompt, 8, 8)) == []


def test_a_session_keeps_its_slot_until_another_one_needs_it() -> None:
    slots = Slots([0, 1])
    first = slots.take("a")
    assert first is not None
    assert slots.take("a") is None  # one request a session at a time
    slots.take("b")
    assert slots.take("c") is None  # all busy
    slots.give_back("a")
    first.keys += [7]
    assert slots.take("a") is first
    slots.give_back("a")
    slots.give_back("b")
    taken = slots.take("c")
    assert taken is not None
    assert taken.slot == 1  # that of b, which was used longest ago
    assert taken.keys == []
    assert slots.sequence("b") is None
    assert slots.lengths() == {0: 1, 1: 0}


def test_the_lowest_free_slot_comes_first() -> None:
    slots = Slots([0, 1, 2])
    for name in "abc":
        slots.take(name)
    slots.forget("c")
    slots.forget("a")
    again = slots.take("d")
    assert again is not None
    assert again.slot == 0


def test_the_prefix_used_longest_ago_makes_way() -> None:
    prefixes = Prefixes([5, 6])
    for keys in ([1], [2]):
        sequence = prefixes.add(keys)
        assert sequence is not None
        sequence.keys[:] = keys
    assert prefixes.add([3]) is None  # both are being filled
    for keys in ([2], [1]):
        found = prefixes.find(keys)
        assert found is not None
        found.busy = False
    assert prefixes.add([3]) is not None
    assert prefixes.find([2]) is None
    assert prefixes.find([1]) is not None
    assert len(prefixes.lengths()) == 2


def test_a_prefix_handle_names_the_content() -> None:
    assert prefix_handle([1, 23]) == prefix_handle([1, 23]) != prefix_handle([12, 3])
