from __future__ import annotations

import pytest

from gateway.config.explain import keys_at, problems
from gateway.config.models_file import ModelsFile
from gateway.config.policy_file import PolicyFile


def said(model: type, data: object) -> list[str]:
    return [str(problem) for problem in problems(model, data)]


@pytest.mark.parametrize(
    ("path", "first"),
    [
        ((), "providers"),
        (("providers", "acme"), "wire"),
        (("providers", "acme", "timeouts"), "connect_s"),
        (("deployments", 3, "price_usd_per_mtok"), "input"),
        (("deployments", 3, "quality", "default"), "mean"),
        (("task_preferences", "planning"), "preferred"),
    ],
)
def test_allowed_keys_are_found_at_any_depth(path, first):
    assert keys_at(ModelsFile, path)[0] == first


@pytest.mark.parametrize(
    "path", [("providers",), ("nothing",), ("judges", 0), ("providers", "a", "wire", "x"), ("deployments", 0, "tags")]
)
def test_where_keys_are_free_none_are_listed(path):
    assert keys_at(ModelsFile, path) == []


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (None, "must be a mapping, not empty"),
        ({"retry": []}, "retry: must be a mapping, not a list"),
        ({"retry": {"max_attempts": None}}, "retry.max_attempts: must be a valid integer, not empty"),
        ({"retry": {"max_attempts": {}}}, "retry.max_attempts: must be a valid integer, not a mapping"),
        ({"parallel": {"judges": "x"}}, "parallel.judges: must be a list, not 'x'"),
        ({"parallel": {"judges": [["x"]]}}, "parallel.judges[0]: must be a valid string, not a list"),
        ({"retry": {"content_filter_fallback": 3}}, "retry.content_filter_fallback: must be a valid boolean"),
    ],
)
def test_pydantics_words_become_an_operators(data, text):
    (found,) = said(PolicyFile, data)
    assert found.startswith(text)


def test_a_long_value_is_not_repeated_whole():
    (found,) = said(PolicyFile, {"retry": "x" * 500})
    assert len(found) < 120
    assert found.endswith("…")


def test_nothing_wrong_is_nothing_said():
    assert said(PolicyFile, {}) == said(ModelsFile, {"providers": None}) == []
