"""What the demo models say."""

from __future__ import annotations

import ast

import pytest

from gateway.demo.answer import AnswerSettings, deal
from gateway.demo.ask import Ask, Image, Tool, pieces
from gateway.demo.compose import compose
from gateway.demo.profile import PROFILES, Profile

PLAIN = AnswerSettings()
LARGE = PROFILES["harbor-large"]


def text(prompt: str, profile: Profile = LARGE, **more: object) -> str:
    ask = Ask(model=profile.name, prompt=prompt, **more)  # type: ignore[arg-type]
    return compose(ask, profile, PLAIN).choices[0].text


@pytest.mark.parametrize(
    "prompt",
    ["Write a Python function that sorts words", 'Implement a "class" for C:\\paths', "code!", "refactor", "class"],
)
def test_code_is_code(prompt: str):
    block = text(prompt).split("```python\n")[1].split("```")[0]
    (function,) = ast.parse(block).body
    assert isinstance(function, ast.FunctionDef)


@pytest.mark.parametrize(
    ("prompt", "value"),
    [("2+3", "2+3 = 5."), ("what is 7 - 10?", "7 - 10 = -3."), ("1.5 x 4", "1.5 x 4 = 6.0."), ("3*-2", "3*-2 = -6.")],
)
def test_sums_are_done(prompt: str, value: str):
    assert value in text(prompt)


def test_a_weak_model_is_wrong_only_where_it_says_so():
    weak = PROFILES["harbor-mini"]
    for number in range(30):
        said = text(f"What is {number}+1?", weak)
        assert (f"= {number + 1}." in said) is ("possible mistake" not in said)


def test_a_plan_has_steps_and_an_empty_prompt_an_answer():
    assert "\n4. " in text("Give me a plan for the move")
    assert "nothing in particular" in text("")


def test_the_seed_varies_ids_but_a_call_repeats():
    one, again, other = (compose(Ask("m", prompt="x"), LARGE, PLAIN, seed).id for seed in (1, 1, 2))
    assert one == again != other


def test_images_without_data_are_named_not_fetched():
    assert "url of 0 bytes" in text("look", images=(Image("url", 0),))


def test_without_a_fitting_tool_the_first_is_called():
    tools = (Tool("alpha", "", {}), Tool("beta", "", {}))
    (call,) = compose(Ask("m", prompt="zzz", tools=tools), LARGE, PLAIN).choices[0].tool_calls
    assert (call.name, call.arguments) == ("alpha", "{}")


def test_reasoning_counts_as_output_and_against_the_limit():
    deep = PROFILES["meadow-deep"]
    answer = compose(Ask("meadow-deep", prompt="why", reasoning=True, max_tokens=20), deep, PLAIN)
    assert answer.usage is not None
    assert answer.usage.output == 20
    assert answer.usage.reasoning == len(answer.choices[0].reasoning) > 0
    assert answer.choices[0].finish == "length"


@pytest.mark.parametrize("count", [1, 2, 3, 7, None, 100])
def test_dealing_loses_nothing(count: int | None):
    said = "  one two\n three   four five six seven "
    chunks = deal(said, count)
    assert "".join(chunks) == said
    assert len(chunks) == min(count or 99, len(pieces(said)))
