from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.term_index import TermIndex

TERMS = st.lists(st.text(max_size=4), unique=True, max_size=80)


@given(names=TERMS, asked=TERMS)
def test_it_finds_what_a_dictionary_would(names, asked):
    numbers = {name: i for i, name in enumerate(names)}
    which, found = TermIndex.of(names).find([*names, *asked], len(names) + len(asked))
    expected = [(place, numbers[term]) for place, term in enumerate([*names, *asked]) if term in numbers]
    assert list(zip(which.tolist(), found.tolist(), strict=True)) == expected


def test_a_large_vocabulary_is_found_whole():
    names = [f"term{i}" for i in range(30_000)]
    index = TermIndex.of(names)
    assert index.find(names, len(names))[1].tolist() == list(range(len(names)))
    assert not len(index.find([name + "x" for name in names], len(names))[0])


def test_a_name_may_not_come_twice():
    with pytest.raises(ValueError, match="twice"):
        TermIndex.of(["a", "b", "a"])
