from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.term_index import TermIndex

TERMS = st.lists(st.text(max_size=4), unique=True, max_size=80)


@given(names=TERMS, first=TERMS, then=TERMS)
def test_it_finds_what_a_dictionary_would(names, first, then):
    numbers = {name: i for i, name in enumerate(names)}
    found, of_first = TermIndex.of(names).find([*names, *first], then)
    known = [numbers[term] for term in first if term in numbers]
    assert found[:of_first].tolist() == [*range(len(names)), *known]
    assert found[of_first:].tolist() == [numbers[term] for term in then if term in numbers]


def test_a_large_vocabulary_is_found_whole():
    names = [f"term{i}" for i in range(30_000)]
    index = TermIndex.of(names)
    assert index.find(names)[0].tolist() == list(range(len(names)))
    assert not len(index.find([name + "x" for name in names])[0])


@pytest.mark.parametrize("asked", [["te"], ["整"], ["te", "整"], ["nothing", "整", "te"]])
def test_a_name_is_found_whatever_script_is_asked_for_beside_it(asked):
    names = ["te", "整", "ü"]
    found, _ = TermIndex.of(names).find(asked)
    assert [names[i] for i in found] == [term for term in asked if term in names]


@pytest.mark.parametrize(("name", "asked"), [("と", "h0"), ("整", "te"), ("te", "整"), ("ab\x01\x00", "\U00016261")])
def test_strings_kept_in_the_same_bytes_are_told_apart(name, asked):
    index = TermIndex.of([name])
    assert not len(index.find([asked])[0])
    assert len(index.find([name])[0]) == 1


def test_a_name_may_not_come_twice():
    with pytest.raises(ValueError, match="twice"):
        TermIndex.of(["a", "b", "a"])
