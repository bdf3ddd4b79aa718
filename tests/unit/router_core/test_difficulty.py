from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.difficulty import LIMIT, NAMES, SCALE, difficulty


def test_negations_and_names_are_hard_and_figures_are_not():
    plain = difficulty("which of these is true", 0.5, 0.0)
    assert difficulty("which of these is not true", 0.5, 0.0) > plain
    assert difficulty("which of these did Ann tell Bob", 0.5, 0.0) > plain
    assert difficulty("which of these is true", 0.5, 0.3) < plain


@pytest.mark.parametrize(("length", "limit"), [(0.0, -LIMIT), (9.0, LIMIT)])
def test_it_is_bounded(length, limit):
    assert difficulty("", length, 0.0) == limit


@given(st.text(alphabet="aZb ,;é1.X", max_size=40))
def test_names_are_counted_as_their_definition_says(text):
    names = min(5, len(re.findall(r"[a-z,;] [A-Z][a-z]", text)))
    assert difficulty(text, 0.5, 0.0) == pytest.approx(NAMES * names / 5 / SCALE)
