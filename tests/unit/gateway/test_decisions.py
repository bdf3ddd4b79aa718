from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.decisions import DecisionIds, RecentDecisions

KEY = b"k" * 32


@given(st.floats(0.0, 2.0**32 - 1), st.binary(min_size=1, max_size=32), st.integers(0, 2**40))
def test_an_id_proves_itself_and_says_when_it_was_made(at, key, worker):
    made = DecisionIds(key, worker).new(at)
    assert made.startswith("dec_")
    assert DecisionIds(key, worker + 1).made_at(made) == float(int(at))


def test_ids_never_repeat_and_name_their_worker():
    first, second = DecisionIds(KEY, 1), DecisionIds(KEY, 2)
    made = {ids.new(0.0) for ids in (first, second) for _ in range(500)}
    assert len(made) == 1000


def test_the_counter_may_turn_over():
    ids = DecisionIds(KEY, 1)
    ids._count = 0xFFFFFF
    assert ids.new(7.0) != ids.new(7.0)
    assert ids.made_at(ids.new(7.0)) == 7.0


def test_an_id_made_with_another_key_is_none_of_ours():
    ids = DecisionIds(KEY)
    foreign = DecisionIds(b"another").new(1.0)
    assert ids.made_at(foreign) is None
    ids.rekey(b"another")
    assert ids.made_at(foreign) == 1.0


@given(st.integers(4, 39), st.sampled_from("0123456789abcdefghijkl"))
def test_changing_any_character_makes_an_id_a_forgery(place, letter):
    ids = DecisionIds(KEY, 3)
    made = ids.new(1_800_000_000.0)
    forged = made[:place] + letter + made[place + 1 :]
    if forged != made and place < len(made) - 1:
        assert ids.made_at(forged) is None


def test_an_id_has_one_spelling():
    ids = DecisionIds(KEY)
    made = ids.new(1_800_000_000.0)
    assert ids.made_at(f"dec_{made[4:].upper()}") is None
    assert ids.made_at(f"{made[:8]} {made[8:]}") is None


@pytest.mark.parametrize(
    "odd", ["", "dec_", "dec_a", "dec_!!!", "dec_ß", "dec_" + "a" * 500, "dec_" + "a" * 29, "DEC_x", "dec_1890", "\n"]
)
def test_what_is_no_id_is_told_so(odd):
    assert DecisionIds(KEY).made_at(odd) is None


@given(st.text(max_size=80))
def test_no_text_ever_raises(text):
    assert DecisionIds(KEY).made_at("dec_" + text) is None


def test_without_a_key_each_process_has_its_own():
    assert DecisionIds().made_at(DecisionIds().new(1.0)) is None


def test_the_newest_decisions_are_kept():
    recent: RecentDecisions[int] = RecentDecisions(most=2)
    for number, name in enumerate("abc"):
        recent.put(name, number)
    assert [recent.get(name) for name in "abc"] == [None, 1, 2]
    recent.put("c", 9)
    assert recent.get("b") == 1
