from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.deployment import Capability, KeyState
from router_core.errors import ConfigError, UnknownModel
from router_core.manifest import Order, dead_references
from router_core.registry import Registry
from router_core.request import StreamRecovery


def deployment(identity: str, **more: Any) -> dict[str, Any]:
    provider, _, model = identity.partition("#")[0].partition("/")
    price = {"input": 1, "output": 2}
    return {
        "id": identity,
        "provider": provider,
        "model": model,
        "context_window": 1000,
        "price_usd_per_mtok": price,
        **more,
    }


def setup(**more: Any) -> dict[str, Any]:
    return {
        "providers": {"acme": {"wire": "openai", "vendor": "Acme Inc"}, "beta": {"wire": "anthropic"}},
        "deployments": [
            deployment("acme/m1", fallbacks=["beta/m2"]),
            deployment("acme/m1#eu", weight=3),
            deployment("beta/m1"),
            deployment("beta/m2", capabilities=["tools", "vision"]),
        ],
        **more,
    }


def ids(registry: Registry, name: str) -> list[str]:
    return [each.id for each in registry.resolve(name).candidates]


def refused(data: dict[str, Any], **options: Any) -> str:
    with pytest.raises(ConfigError) as caught:
        Registry.from_mapping(data, **options)
    return str(caught.value)


ALL = ["acme/m1", "acme/m1#eu", "beta/m1", "beta/m2"]


@pytest.mark.parametrize(
    ("name", "policy"),
    [
        ("auto", None),
        ("auto:quality", "quality"),
        ("auto:cost", "cost"),
        ("auto:speed", "speed"),
        ("auto:balanced", "balanced"),
    ],
)
def test_an_alias_routes_over_everything_under_its_policy(name, policy):
    resolved = Registry.from_mapping(setup()).resolve(name)
    assert [each.id for each in resolved.candidates] == ALL
    assert (resolved.policy, resolved.order, resolved.pinned, resolved.route) == (policy, "scored", False, None)


def test_an_operators_policy_has_an_alias_too():
    registry = Registry.from_mapping(setup(), policies=["balanced", "night"])
    assert registry.resolve("auto:night").policy == "night"
    with pytest.raises(UnknownModel):
        registry.resolve("auto:speed")


def test_a_model_name_routes_over_its_deployments_without_pinning():
    registry = Registry.from_mapping(setup())
    assert ids(registry, "m1") == ["acme/m1", "acme/m1#eu", "beta/m1"]
    assert registry.resolve("m1").pinned is False


def test_provider_and_model_pin_over_their_names_and_a_name_pins_one():
    registry = Registry.from_mapping(setup())
    assert ids(registry, "acme/m1") == ["acme/m1", "acme/m1#eu"]
    assert ids(registry, "acme/m1#eu") == ["acme/m1#eu"]
    assert registry.resolve("acme/m1").pinned
    assert registry.resolve("acme/m1#eu").pinned


def test_provider_and_model_find_a_deployment_with_an_id_of_its_own():
    row = {**deployment("acme/east"), "model": "m9"}
    registry = Registry.from_mapping({"providers": {"acme": {"wire": "azure"}}, "deployments": [row]})
    assert ids(registry, "acme/m9") == ids(registry, "acme/east") == ids(registry, "m9") == ["acme/east"]


def test_a_route_has_its_own_order_policy_recovery_and_weights():
    routes = {
        "main": {
            "order": "weighted",
            "deployments": ["beta/m2", "acme/m1"],
            "weights": {"acme/m1": 5},
            "policy": "cost",
            "stream_recovery": "buffer",
        },
    }
    resolved = Registry.from_mapping(setup(routes=routes)).resolve("main")
    assert [(each.id, each.weight) for each in resolved.candidates] == [
        ("beta/m2", 1.0),
        ("acme/m1", 5.0),
        ("acme/m1#eu", 5.0),
    ]
    assert (resolved.order, resolved.policy, resolved.pinned, resolved.route) == (Order.WEIGHTED, "cost", False, "main")
    assert resolved.stream_recovery is StreamRecovery.BUFFER


def test_a_route_without_weights_uses_the_deployments_own():
    registry = Registry.from_mapping(setup(routes={"main": {"order": "weighted", "deployments": ["acme/m1"]}}))
    assert [each.weight for each in registry.resolve("main").candidates] == [1.0, 3.0]


def test_a_route_wins_over_a_model_of_its_name():
    registry = Registry.from_mapping(
        setup(routes={"m1": {"order": "listed", "deployments": ["beta/m1", "acme/m1#eu"]}})
    )
    assert ids(registry, "m1") == ["beta/m1", "acme/m1#eu"]
    assert [entry.kind for entry in registry.models() if entry.id == "m1"] == ["route"]


def test_a_deployments_id_wins_over_a_model_of_its_name():
    rows = [deployment("acme/m1"), {**deployment("beta/x"), "model": "acme/m1"}]
    registry = Registry.from_mapping({**setup(), "deployments": rows})
    assert ids(registry, "acme/m1") == ["acme/m1"]
    assert [entry.kind for entry in registry.models() if entry.id == "acme/m1"] == ["deployment"]


@pytest.mark.parametrize("name", ["", "m3", "acme", "acme/", "acme/m3", "acme/m1#us", "auto:", "AUTO"])
def test_an_unknown_name_is_the_clients_mistake(name):
    with pytest.raises(UnknownModel) as caught:
        Registry.from_mapping(setup()).resolve(name)
    assert caught.value.param == "model"


def test_a_long_unknown_name_is_not_echoed_whole():
    with pytest.raises(UnknownModel) as caught:
        Registry.from_mapping(setup()).resolve("x" * 5000)
    assert len(caught.value.message) < 200


def test_preferences_fall_from_one_to_a_half_and_budget_ranks_below():
    lists = {"preferred": ["beta/m2", "acme/m1", "beta/m1"], "budget": ["beta/m1"]}
    registry = Registry.from_mapping(
        setup(
            task_preferences={
                "planning": lists,
                "testing": {"preferred": ["beta/m2"]},
                "analysis": {"budget": ["beta/m2"]},
            }
        )
    )
    assert registry.preferences["planning"] == {"beta/m2": 1.0, "acme/m1": 0.75, "acme/m1#eu": 0.75, "beta/m1": 0.5}
    assert registry.preference("testing", "beta/m2") == 1.0
    assert registry.preference("analysis", "beta/m2") == 0.3
    assert registry.preference("analysis", "acme/m1") == 0.0
    assert registry.preference("general", "beta/m2") == 0.0


@given(st.integers(min_value=1, max_value=30))
def test_a_preferred_rank_is_at_least_a_half_and_falls(count):
    rows = [deployment(f"acme/m{number}") for number in range(count)]
    names = [row["id"] for row in rows]
    data = {"providers": {"acme": {"wire": "openai"}}, "deployments": rows}
    registry = Registry.from_mapping({**data, "task_preferences": {"planning": {"preferred": names}}})
    ranks = [registry.preference("planning", name) for name in names]
    assert ranks[0] == 1.0
    assert ranks == sorted(ranks, reverse=True)
    assert len(set(ranks)) == count
    assert count == 1 or ranks[-1] == 0.5


def test_models_lists_aliases_routes_models_and_deployments_with_their_owner():
    registry = Registry.from_mapping(setup(routes={"main": {"deployments": ["beta/m2"]}}), policies=["balanced"])
    assert [(entry.id, entry.kind, entry.owned_by) for entry in registry.models()] == [
        ("auto", "alias", "router"),
        ("auto:balanced", "alias", "router"),
        ("main", "route", "router"),
        ("m1", "model", "Acme Inc"),
        ("m2", "model", "beta"),
        ("acme/m1", "deployment", "Acme Inc"),
        ("acme/m1#eu", "deployment", "Acme Inc"),
        ("beta/m1", "deployment", "beta"),
        ("beta/m2", "deployment", "beta"),
    ]
    assert {entry.id: entry.deployments for entry in registry.models()}["main"] == ("beta/m2",)


def test_every_listed_name_resolves_to_what_the_list_says():
    registry = Registry.from_mapping(setup(routes={"main": {"deployments": ["beta/m2"]}}))
    for entry in registry.models():
        if entry.kind != "deployment":
            assert tuple(ids(registry, entry.id)) == entry.deployments


def test_deployments_are_found_by_provider_and_by_capability():
    registry = Registry.from_mapping(setup())
    assert [each.id for each in registry.of_provider("beta")] == ["beta/m1", "beta/m2"]
    assert registry.of_provider("gamma") == ()
    assert [each.id for each in registry.able(Capability.TOOLS, Capability.VISION)] == ["beta/m2"]
    assert list(registry.deployments) == ALL
    assert list(registry.providers) == ["acme", "beta"]


def test_a_name_is_known_when_it_can_be_resolved():
    registry = Registry.from_mapping(setup())
    assert [registry.knows(name) for name in ("auto", "m1", "acme/m1#eu", "gpt-99")] == [True, True, True, False]


def test_where_parameters_may_be_dropped_any_may_be_asked():
    strict, lenient = ({"wire": "anthropic", "drop_params": drops} for drops in (False, True))
    data = {
        "providers": {"acme": strict, "beta": lenient},
        "deployments": [deployment("acme/m1"), deployment("beta/m1")],
    }
    found = Registry.from_mapping(data).able(Capability.ANY_PARAMETER)
    assert [each.id for each in found] == ["beta/m1"]


def test_wires_bring_their_capabilities_and_lacks_takes_them_away():
    rows = [
        deployment("acme/m1", capabilities=["tools"], reasoning=True, lacks=["logprobs"]),
        deployment("beta/m2"),
        deployment("host/m3"),
    ]
    providers = {"acme": {"wire": "openai"}, "beta": {"wire": "anthropic"}, "host": {"wire": "some_new_host"}}
    found = Registry.from_mapping({"providers": providers, "deployments": rows}).deployments
    assert {each.value for each in found["acme/m1"].capabilities} == {
        "tools",
        "parallel_tools",
        "streaming",
        "json_object",
        "any_parameter",
        "n",
        "reasoning",
    }
    assert found["beta/m2"].capabilities == {Capability.STREAMING}
    assert found["host/m3"].capabilities == {
        Capability.STREAMING,
        Capability.JSON_OBJECT,
        Capability.ANY_PARAMETER,
    }


def test_quality_may_be_a_bare_number():
    row = deployment("acme/m1", quality={"default": 0.7, "planning": {"mean": 0.9, "weight": 20}})
    found = Registry.from_mapping({**setup(), "deployments": [row]}).deployments["acme/m1"]
    assert (found.prior("testing").mean, found.prior("testing").weight) == (0.7, 10.0)
    assert (found.prior("planning").mean, found.prior("planning").weight) == (0.9, 20.0)


@pytest.mark.parametrize(
    ("provider", "row", "ref", "state", "can"),
    [
        ({}, {}, None, KeyState.NOT_NEEDED, True),
        ({"api_key": None}, {}, None, KeyState.NOT_NEEDED, True),
        ({"api_key": "${ACME_KEY}"}, {}, "ACME_KEY", KeyState.PRESENT, True),
        ({"api_key": "${ACME_KEY:-none}"}, {}, "ACME_KEY", KeyState.PRESENT, True),
        ({"api_key": "sk-literal"}, {}, "acme", KeyState.PRESENT, True),
        ({"key_ref": "K"}, {}, "K", KeyState.PRESENT, True),
        ({"key_ref": "K", "key_state": "absent"}, {}, "K", KeyState.ABSENT, False),
        ({"key_ref": "K", "key_state": "absent"}, {"key_ref": "OWN"}, "OWN", KeyState.ABSENT, True),
        ({"key_ref": "K", "api_key": "x"}, {"key_ref": "OWN", "key_state": "absent"}, "OWN", KeyState.PRESENT, False),
    ],
)
def test_a_key_is_named_never_kept_and_its_absence_takes_deployments_out(provider, row, ref, state, can):
    data = {
        "providers": {"acme": {"wire": "openai", **provider}},
        "deployments": [deployment("acme/m1", **row)],
    }
    registry = Registry.from_mapping(data)
    assert registry.deployments["acme/m1"].key_ref == ref
    assert registry.deployments["acme/m1"].callable is can
    assert registry.providers["acme"].key_state is state
    assert "sk-literal" not in repr(registry)


def test_prices_keep_their_source_and_their_version_follows_the_numbers():
    def price(**more: Any) -> Any:
        row = deployment("acme/m1", **more)
        return Registry.from_mapping({**setup(), "deployments": [row]}).deployments["acme/m1"].price

    first = price(price_source="https://example.com", price_checked="2026-01-31")
    assert (first.source, first.checked) == ("https://example.com", "2026-01-31")
    assert first.version == price().version
    assert first.version == price(price_usd_per_mtok={"input": 1.0, "output": 2.0}).version
    assert first.version != price(price_usd_per_mtok={"input": 1, "output": 2.5}).version
    assert price(price_usd_per_request=0.01).request_usd == 0.01


def test_version_follows_the_content():
    base = Registry.from_mapping(setup()).version
    assert base == Registry.from_mapping(setup()).version
    assert base != Registry.from_mapping(setup(judges=["beta/m2"])).version
    assert base != Registry.from_mapping(setup(), policies=["balanced"]).version


def test_references_may_name_provider_and_model_and_spell_out_every_name():
    rows = [deployment("acme/m1", fallbacks=["acme/m1#eu"]), deployment("acme/m1#eu", fallbacks=["acme/m1", "beta/m2"])]
    registry = Registry.from_mapping({**setup(), "deployments": [*rows, deployment("beta/m2")], "judges": ["acme/m1"]})
    assert registry.deployments["acme/m1"].fallbacks == ("acme/m1#eu",)
    assert registry.deployments["acme/m1#eu"].fallbacks == ("acme/m1", "beta/m2")
    assert registry.judges == ("acme/m1", "acme/m1#eu")


def test_empty_sections_are_sections_without_entries():
    registry = Registry.from_mapping(
        dict.fromkeys(("providers", "deployments", "routes", "task_preferences", "judges"))
    )
    assert ids(registry, "auto") == []
    assert registry.models()[0].deployments == ()


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ({"provider": {}}, "provider: unknown key; did you mean 'providers'?"),
        ({"providers": []}, "deployments[0].provider: no provider is named 'acme'"),
        ({"providers": ["acme"]}, "providers: must be a mapping"),
        ({"providers": {"acme": "openai"}}, "providers.acme: must be a mapping"),
        ({"providers": {"acme": {"wire": "openai", "url": "x"}}}, "providers.acme.url: unknown key"),
        ({"deployments": {"a": 1}}, "deployments: must be a list of deployments"),
        ({"deployments": ["x"]}, "deployments[0]: must be a mapping"),
        ({"deployments": [{"id": "acme/m1"}]}, "deployments[0].provider: is missing"),
        ({"deployments": [{"id": "acme/m1", "provider": 3}]}, "deployments[0].provider: must be a name"),
        (
            {"deployments": [deployment("acme/m1", provider="acm")]},
            "deployments[0].provider: no provider is named 'acm'; did you mean",
        ),
        (
            {"deployments": [deployment("acme/m1", price_usd_per_mtok=None)]},
            "deployments[0].price_usd_per_mtok.input: is missing",
        ),
        (
            {"deployments": [deployment("acme/m1", price_usd_per_mtok=[1])]},
            "deployments[0].price_usd_per_mtok: must be a mapping",
        ),
        (
            {"deployments": [deployment("acme/m1", price_usd_per_mtok={"input": -1, "output": 1})]},
            "deployments[0].price_usd_per_mtok: price",
        ),
        ({"deployments": [deployment("acme/m1", context_window=0)]}, "deployments[0]: context_window of acme/m1"),
        (
            {"deployments": [deployment("acme/m1", capabilities=["tool"])]},
            "deployments[0].capabilities[0]: 'tool' is none of",
        ),
        (
            {"deployments": [deployment("acme/m1", capabilities=["n"], lacks=["n"])]},
            "deployments[0].lacks: 'n' is also listed",
        ),
        (
            {"deployments": [deployment("acme/m1", quality={"defalt": 1})]},
            "deployments[0].quality.defalt: no task is named",
        ),
        (
            {"deployments": [deployment("acme/m1", quality={"default": True})]},
            "deployments[0].quality.default: must be a mapping",
        ),
        ({"deployments": [deployment("acme/m1", quality=[])]}, "deployments[0].quality: must be a mapping"),
        ({"deployments": [deployment("acme/m1", key_state="gone")]}, "deployments[0].key_state: 'gone' is none of"),
        (
            {"deployments": [deployment("acme/m1", fallbacks=["acme/m1"])]},
            "deployments[0].fallbacks: a deployment cannot be its own",
        ),
        ({"routes": {"main": {"deployments": []}}}, "routes.main.deployments: must list at least one"),
        ({"routes": {"main": []}}, "routes.main: must be a mapping"),
        (
            {"routes": {"main": {"deployments": ["beta/m2"], "weights": {"beta/m2": -1}}}},
            "routes.main.weights: must be finite",
        ),
        ({"routes": {"auto": {"deployments": ["beta/m2"]}}}, "routes.auto: the name is taken"),
        ({"routes": {"auto:mine": {"deployments": ["beta/m2"]}}}, "routes.auto:mine: the name is taken"),
        ({"routes": {"beta/m2": {"deployments": ["beta/m1"]}}}, "routes.beta/m2: the name is taken"),
        (
            {"routes": {"main": {"deployments": ["beta/m2"], "policy": "cst"}}},
            "routes.main.policy: no policy is named 'cst'; did you mean 'cost'?",
        ),
        (
            {"task_preferences": {"planning": {"preferred": "beta/m2"}}},
            "task_preferences.planning.preferred: must be a list",
        ),
        ({"judges": "beta/m2"}, "judges: must be a list"),
    ],
)
def test_what_cannot_be_is_refused_with_its_path(more, message):
    assert refused({**setup(), **more}).startswith(message)


def test_dead_references_are_all_named_at_once():
    data = setup(
        routes={"main": {"deployments": ["beta/m3"], "weights": {"gamma/x": 1}}, "broken": []},
        task_preferences={"plannin": {"preferred": []}, "testing": {"budget": ["beta/m9"]}},
        judges=["nobody"],
    )
    data["deployments"] += [
        deployment("beta/m2", fallbacks=["acme/m7"]),
        {"id": "gone/m", "provider": "gone", "model": "m"},
        "no row",
    ]
    found = {problem.path: problem.message for problem in dead_references(data)}
    assert set(found) == {
        ("deployments", 4, "id"),
        ("deployments", 4, "fallbacks", 0),
        ("deployments", 5, "provider"),
        ("routes", "main", "deployments", 0),
        ("routes", "main", "weights", 0),
        ("task_preferences", "plannin"),
        ("task_preferences", "testing", "budget", 0),
        ("judges", 0),
    }
    assert found["deployments", 4, "id"] == "'beta/m2' is already the id of deployments[3]"


def test_all_dead_references_stand_in_the_error():
    data = setup(judges=["nobody"], routes={"main": {"deployments": ["beta/m3"]}})
    lines = refused(data).splitlines()
    assert [line.partition(":")[0] for line in lines] == ["routes.main.deployments[0]", "judges[0]"]
