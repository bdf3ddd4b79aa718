from __future__ import annotations

import json
from dataclasses import fields, is_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.deployment import Capability, Limits, Provider, QualityPrior, TimeoutOverrides
from router_core.errors import ConfigError
from router_core.mapping import Problem, build, canonical, convert, fingerprint, spell, suggest
from router_core.policy import ParallelPolicy, Policy, Weights


def refused(kind: type, data: object) -> str:
    with pytest.raises(ConfigError) as caught:
        build(kind, data, ("here",))
    return str(caught.value)


@pytest.mark.parametrize(
    ("path", "text"),
    [((), ""), (("a",), "a"), (("a", 2, "b", 0), "a[2].b[0]"), (("a", "b", "c"), "a.b.c")],
)
def test_a_path_is_spelled_as_people_write_it(path, text):
    assert spell(path) == text


def test_a_problem_without_a_path_is_its_message():
    assert str(Problem((), "nothing fits")) == "nothing fits"
    assert str(Problem(("a", 1), "is missing")) == "a[1]: is missing"


def test_a_close_word_is_suggested_and_a_far_one_gets_the_list():
    assert suggest("qality", ["quality", "cost"]) == "; did you mean 'quality'?"
    assert suggest("zzz", ["quality", "cost"]) == "; allowed: quality, cost"
    assert suggest("zzz", [f"key{number}" for number in range(20)]).endswith("key11, …")
    assert suggest("zzz", []) == ""
    assert suggest("reasonin", list(Capability)) == "; did you mean 'reasoning'?"


def test_nested_sections_enums_lists_and_numbers_become_their_types():
    provider = build(
        Provider,
        {"id": "acme", "wire": "openai", "lane": "relay", "timeouts": {"idle_s": 3}, "headers": {"X-Team": "a"}},
    )
    assert provider.timeouts == TimeoutOverrides(idle_s=3.0)
    assert type(provider.timeouts.idle_s) is float
    assert provider.lane.value == "relay"
    assert provider.headers == {"X-Team": "a"}
    parallel = build(ParallelPolicy, {"judges": ["a/b"], "trigger_min_quality": None})
    assert parallel.judges == ("a/b",)
    assert convert(frozenset[Capability], ["tools", "vision"], ()) == {Capability.TOOLS, Capability.VISION}
    assert convert(frozenset[Capability], {Capability.TOOLS}, ()) == {Capability.TOOLS}


def test_an_instance_passes_as_it_is():
    weights = Weights(quality=2.0)
    assert build(Policy, {"policies": {"balanced": weights}}).policies["balanced"] is weights


@pytest.mark.parametrize(
    ("kind", "data", "message"),
    [
        (Limits, [], "here: must be a mapping, not a list"),
        (Limits, None, "here: must be a mapping, not empty"),
        (Limits, {"max_in_fligt": 1}, "here.max_in_fligt: unknown key; did you mean 'max_in_flight'?"),
        (Limits, {"max_in_flight": "many"}, "here.max_in_flight: must be a whole number, not 'many'"),
        (Limits, {"max_in_flight": 1.5}, "here.max_in_flight: must be a whole number, not 1.5"),
        (Limits, {"max_in_flight": True}, "here.max_in_flight: must be a whole number, not True"),
        (Limits, {"max_in_flight": {}}, "here.max_in_flight: must be a whole number, not a mapping"),
        (Limits, {"max_in_flight": 0}, "here: max_in_flight must be at least 1, not 0"),
        (QualityPrior, {"mean": True}, "here.mean: must be a number, not True"),
        (QualityPrior, {"mean": 2}, "here: quality mean must be within [0, 1], not 2.0"),
        (Provider, {"id": "a"}, "here.wire: is missing"),
        (Provider, {"id": "a", "wire": 3}, "here.wire: must be text, not 3"),
        (
            Provider,
            {"id": "a", "wire": "w", "lane": "rely"},
            "here.lane: 'rely' is none of its values; did you mean 'relay'?",
        ),
        (Provider, {"id": "a", "wire": "w", "drop_params": 1}, "here.drop_params: must be true or false, not 1"),
        (Provider, {"id": "a", "wire": "w", "headers": []}, "here.headers: must be a mapping, not a list"),
        (Provider, {"id": "a", "wire": "w", "headers": {"x": 1}}, "here.headers.x: must be text, not 1"),
        (
            Provider,
            {"id": "a", "wire": "w", "timeouts": {"idle_s": -1}},
            "here.timeouts: idle_s must be a positive number",
        ),
        (ParallelPolicy, {"judges": "a/b"}, "here.judges: must be a list, not 'a/b'"),
        (ParallelPolicy, {"judges": ["a/b", 7]}, "here.judges[1]: must be text, not 7"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(kind, data, message):
    assert refused(kind, data).startswith(message)


def test_equal_content_has_an_equal_fingerprint_whatever_the_order_of_a_set():
    assert canonical(frozenset({Capability.VISION, Capability.TOOLS})) == ["tools", "vision"]
    assert fingerprint({"a": (1, 2), "b": Weights()}) == fingerprint({"b": Weights(), "a": [1, 2]})
    assert fingerprint(Weights()) != fingerprint(Weights(cost=1.01))
    assert len(fingerprint(Weights(), 8)) == 8


SECTIONS = [spec.name for spec in fields(Policy)]
KEYS = [
    spec.name for name in SECTIONS if is_dataclass(getattr(Policy(), name)) for spec in fields(getattr(Policy(), name))
]
ANY = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=5)
    | st.lists(st.text(max_size=5), max_size=2)
)


@given(
    st.dictionaries(
        st.sampled_from(SECTIONS), ANY | st.dictionaries(st.sampled_from(KEYS), ANY, max_size=3), max_size=3
    )
)
def test_any_data_builds_a_legal_policy_or_is_refused_and_nothing_else(data):
    try:
        policy = build(Policy, data)
    except ConfigError:
        return
    assert build(Policy, canonical(policy)) == policy


def test_the_default_policy_survives_the_way_through_json():
    assert build(Policy, json.loads(json.dumps(canonical(Policy())))) == Policy()
