from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.prompt import Prompt, read_prompt
from router_core.tokens import IMAGE_TOKENS, apply_ratio, estimate_tokens


def tokens(text, **more):
    return estimate_tokens(read_prompt({"messages": [{"role": "user", "content": text}], **more}))


def test_an_empty_prompt_is_one_token():
    assert estimate_tokens(Prompt()) == 1


@pytest.mark.parametrize(
    ("text", "counted"),  # counted with cl100k_base
    [
        (
            "The council voted to close the road to cars during the summer months, and shop owners fear losses. " * 20,
            401,
        ),
        ("for (int i = 0; i < n; i++) { total += prices[i] * qty[i]; }\n" * 20, 500),
        ("Совет решил закрыть дорогу для машин на всё лето, и владельцы магазинов опасаются убытков. " * 20, 941),
        ("市议会投票决定夏季期间禁止汽车通行店主担心顾客减少居民则欢迎更安静的街道" * 20, 960),
    ],
)
def test_the_estimate_is_within_two_fifths_of_a_real_count(text, counted):
    assert counted * 0.6 < tokens(text) < counted * 1.4


def test_code_is_denser_than_prose():
    assert tokens("if(a[i]){b(c,d);}" * 50) > tokens("abcdefghi jklmnop" * 50)


def test_images_schemas_and_messages_add():
    base = tokens("look")
    with_image = tokens([{"type": "text", "text": "look"}, {"type": "image_url", "image_url": {}}])
    assert with_image == base + IMAGE_TOKENS
    assert tokens("look", tools=[{"type": "function", "function": {"name": "n", "description": "d" * 400}}]) > base + 90


@given(st.text(), st.text())
def test_more_text_is_never_fewer_tokens_at_the_same_code_share(a, b):
    def at(text):
        return estimate_tokens(read_prompt({"messages": [{"role": "user", "content": text}]}), 0.0)

    assert at(a + b) >= at(a) - 1


@given(st.integers(1, 10**7), st.floats(0.0, 1e6))
def test_the_learned_ratio_is_bounded(estimate, ratio):
    assert max(1, round(estimate * 0.25)) <= apply_ratio(estimate, ratio) <= estimate * 4


def test_a_ratio_of_one_changes_nothing():
    assert apply_ratio(1234, 1.0) == 1234
