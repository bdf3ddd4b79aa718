from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.consensus import MAX_CHARS, clipped, medoid, normal_form, similarity, vote


@pytest.mark.parametrize(
    ("text", "form"),
    [
        ("42", "number:42"),
        ("The answer is 42.", "number:42"),
        ("First we add.\n\n**Answer: 1,234.50**", "number:1234.5"),
        ("x = 4.20e1", "number:42"),
        ("that makes 12%", "number:12%"),
        ("The answer is (b)", "choice:B"),
        ("Option D", "choice:D"),
        ("  (c).", "choice:C"),
        ("Rome", "text:rome"),
        ("Bob", "text:bob"),
        ("The answer is blue", "text:the answer is blue"),
        ("my choice", "text:my choice"),
        ("It is Schroedinger's e", "text:it is schroedinger's e"),
        ("Long thoughts about everything.\n\nAnswer: C.", "choice:C"),
        ('{"b": 1, "a": [2]}', 'json:{"a":[2],"b":1}'),
        ('```json\n{"a": 1}\n```', 'json:{"a":1}'),
        ("Here:\n```python\nx  =  1\n```\nand\n```\ny\n```", "code:x = 1"),
        ("  Yes,   of course ", "text:yes, of course"),
        ("", "text:"),
    ],
)
def test_what_is_meant_is_compared_not_how_it_is_written(text: str, form: str):
    assert normal_form(text) == form


def test_long_prose_has_no_form():
    assert normal_form("Paris is the capital of France. " * 10) is None
    assert normal_form("There were 12 of them and nobody knew why, so the story goes on and on. " * 3) is None


def test_a_number_at_the_end_counts_only_where_the_line_concludes():
    assert normal_form("The story is long and has many turns in it, as stories do.\nIn total 7") == "number:7"
    assert (
        normal_form("The story is long and has many turns in it, as stories do.\nand 7 dwarfs in it somewhere") is None
    )


def test_broken_json_is_text():
    assert normal_form("{not json") == "text:{not json"
    assert normal_form("[" * 50_000) is None


def test_letters_in_a_long_last_line_are_no_choice():
    line = "and so we come, after all that has been said and done today, to the vitamin that is called B"
    assert normal_form(line) is None


def test_head_and_tail_of_what_is_too_long():
    text = "a" * MAX_CHARS + "b" * MAX_CHARS
    short = clipped(text)
    assert len(short) == MAX_CHARS + 1
    assert short.startswith("a")
    assert short.endswith("b")
    assert clipped("short") == "short"


def test_the_majority_wins_against_the_heavier_answer():
    found = vote(["41", "the answer is 42", "42"], [0.9, 0.5, 0.6])
    assert (found.winner, found.by) == (2, "majority")
    assert found.agreement == pytest.approx(1.1 / 2.0)


def test_of_equal_groups_the_heavier_one_wins():
    assert vote(["1", "2", "1", "2"], [0.1, 0.9, 0.1, 0.9]).winner == 1


def test_without_a_majority_the_answer_most_like_the_others():
    answers = ["the cat sat on the mat", "the cat sat on a mat today", "quantum fields are relativistic"]
    found = vote(answers, [0.5, 0.5, 0.6])
    assert found.by == "medoid"
    assert found.winner in {0, 1}


def test_long_answers_are_weighed_whole():
    long = "Paris has been the capital of France for most of its history, with few and short breaks. "
    found = vote([long, long + "Nobody doubts it.", "Lyon " * 60], [0.5, 0.5, 0.5])
    assert (found.winner, found.by) == (0, "medoid")


def test_two_different_answers_go_to_the_heavier():
    assert medoid(["yes", "no"], [0.4, 0.6]).winner == 1
    assert medoid(["yes", "no"], [0.5, 0.5]).winner == 0


def test_weights_of_zero_are_no_division():
    assert vote(["a", "a"], [0.0, 0.0]).winner == 0
    assert medoid(["a", "b"], [0.0, 0.0]).agreement == 0.0


@pytest.mark.parametrize("choose", [vote, medoid])
def test_nothing_cannot_be_chosen_from(choose):
    with pytest.raises(ValueError, match="at least one answer"):
        choose([], [])


def test_likeness_of_nothing():
    assert similarity("", "") == 1.0
    assert similarity("", "word") == 0.0
    assert similarity("word", "word") == pytest.approx(1.0)


@given(st.lists(st.text(max_size=60), min_size=1, max_size=5), st.data())
def test_somebody_wins_and_agreement_is_a_share(answers: list[str], data: st.DataObject):
    weights = data.draw(st.lists(st.floats(0.01, 1.0), min_size=len(answers), max_size=len(answers)))
    for choose in (vote, medoid):
        found = choose(answers, weights)
        assert 0 <= found.winner < len(answers)
        assert 0.0 <= found.agreement <= 1.0 + 1e-9


@given(st.text(max_size=200), st.text(max_size=200))
def test_likeness_is_symmetric_and_within_bounds(a: str, b: str):
    assert 0.0 <= similarity(a, b) <= 1.0
    assert similarity(a, b) == pytest.approx(similarity(b, a))


@given(st.text(max_size=500))
def test_no_text_breaks_the_reader(text: str):
    form = normal_form(text)
    assert form is None or form.partition(":")[0] in {"json", "code", "choice", "number", "text"}
