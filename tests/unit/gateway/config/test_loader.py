from __future__ import annotations

import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from router_core.deployment import Capability, KeyState, Lane
from router_core.errors import ConfigError
from router_core.policy import ParallelPolicy, Policy, SpendCeiling, Weights
from router_core.price import LongPrice
from router_core.request import StreamRecovery
from router_core.task import TaskType

ROW = "{id: acme/%s, provider: acme, model: %s, context_window: 100, price_usd_per_mtok: {input: 1, output: 2}}"


@dataclass
class Known:
    max_input_tokens: int | None = 200_000
    max_output_tokens: int | None = 8_000
    input_usd: float | None = 3.0
    output_usd: float | None = 15.0
    cached_input_usd: float | None = 0.3
    cache_write_usd: float | None = None
    reasoning_usd: float | None = None
    long_context: tuple[tuple[int, float | None, float | None, float | None, float | None], ...] = ()
    capabilities: frozenset[Capability] = frozenset({Capability.TOOLS, Capability.STREAMING})
    source: str = "https://example.com/prices"
    asked: list[tuple[str, str]] = field(default_factory=list)

    def __call__(self, model: str, wire: str) -> Known | None:
        self.asked.append((model, wire))
        return self if model == "m1" else None


BARE = "providers: {acme: {wire: openai}}\ndeployments: [{id: acme/m1, provider: acme, model: m1%s}]\n"


def test_a_key_goes_into_the_secrets_and_its_name_into_the_registry(loaded):
    config = loaded(env={"ACME_KEY": "sk-very-secret-1"})
    deployment = config.registry.deployments["acme/m1"]
    assert deployment.key_ref == "ACME_KEY"
    assert deployment.callable
    assert config.registry.providers["acme"].key_state is KeyState.PRESENT
    assert config.secrets["ACME_KEY"].reveal() == "sk-very-secret-1"
    assert "sk-very-secret-1" not in repr(config)
    assert config.report.no_key == {}


def test_an_absent_key_lists_its_deployments_and_is_no_error(loaded):
    config = loaded(env={"ACME_KEY": ""})
    assert config.registry.deployments["acme/m1"].callable is False
    assert config.registry.providers["acme"].key_state is KeyState.ABSENT
    assert config.report.no_key == {"acme/m1": "ACME_KEY"}
    assert config.secrets == {}


def test_a_deployments_own_key_is_its_own(loaded):
    rows = f"[{ROW % ('m1', 'm1')}, {ROW % ('m2', 'm2')}]".replace("id: acme/m2", "api_key: '${B}', id: acme/m2")
    models = "providers: {acme: {wire: openai, api_key: '${A}'}}\ndeployments: " + rows
    config = loaded(models, env={"B": "sk-of-its-own"})
    assert config.report.no_key == {"acme/m1": "A"}
    assert config.registry.deployments["acme/m2"].key_ref == "B"
    assert list(config.secrets) == ["B"]


def test_a_provider_has_its_own_everything(loaded):
    models = """
providers:
  acme:
    wire: azure
    base_url: https://acme.example/openai/
    lane: translate
    vendor: acme
    headers: {X-Team: "${TEAM:-blue}"}
    timeouts: {connect_s: 1, first_content_s: "${TTFT:-2.5}", idle_s: 3, total_s: 4}
    limits: {requests_per_minute: 5, tokens_per_minute: 6, max_in_flight: 7}
    options: {api_version: "2026-01-01"}
    drop_params: true
deployments: []
"""
    provider = loaded(models).registry.providers["acme"]
    assert provider.base_url == "https://acme.example/openai"
    assert provider.lane is Lane.TRANSLATE
    assert provider.headers == {"X-Team": "blue"}
    assert provider.timeouts.first_content_s == 2.5
    assert provider.limits.max_in_flight == 7
    assert provider.options == {"api_version": "2026-01-01"}
    assert provider.drop_params


def test_facts_fill_what_is_left_out_and_the_report_says_what(loaded):
    known = Known()
    config = loaded(BARE % "", facts=known)
    deployment = config.registry.deployments["acme/m1"]
    assert deployment.context_window == 200_000
    assert deployment.max_output_tokens == 8_000
    assert (deployment.price.input, deployment.price.output, deployment.price.cached_input) == (3.0, 15.0, 0.3)
    assert deployment.price.cache_write is None
    assert Capability.TOOLS in deployment.capabilities
    assert known.asked == [("m1", "openai")]
    assert config.report.filled["acme/m1"] == (
        "capabilities",
        "context_window",
        "max_output_tokens",
        "price_source",
        "price_usd_per_mtok",
    )


def test_prices_of_longer_prompts_are_filled_in_and_the_cache_s_rise_with_the_input_s(loaded):
    steps = ((100_000, 6.0, 22.5, 0.5, None), (200_000, 12.0, None, None, 9.0), (300_000, None, 30.0, None, None))
    config = loaded(BARE % "", facts=Known(cache_write_usd=3.75, long_context=steps))
    assert config.registry.deployments["acme/m1"].price.long == (
        LongPrice(100_000, 6.0, 22.5, 0.5, 7.5),
        LongPrice(200_000, 12.0, 15.0, 1.2, 9.0),
        LongPrice(300_000, 3.0, 30.0, 0.3, 3.75),
    )


def test_a_step_without_any_price_is_left_out(complaints):
    unknown = Known(input_usd=None, long_context=((100_000, None, 1.0, None, None),))
    assert [line.partition(": is")[0] for line in complaints(BARE % "", facts=unknown)] == [
        "models.yaml:2: deployments[0].price_usd_per_mtok.input"
    ]


def test_what_is_written_wins_over_facts_and_a_written_price_stays_as_it_is(loaded):
    known = Known()
    config = loaded(BARE % ", price_usd_per_mtok: {input: 9, output: 9}, capabilities: [vision]", facts=known)
    deployment = config.registry.deployments["acme/m1"]
    assert (deployment.price.input, deployment.price.cached_input) == (9.0, None)
    assert Capability.TOOLS not in deployment.capabilities
    assert deployment.context_window == 200_000


def test_facts_are_not_asked_for_when_all_is_written(loaded):
    known = Known()
    loaded(BARE % ", context_window: 5, price_usd_per_mtok: {input: 9, output: 9}", facts=known)
    assert known.asked == []


@pytest.mark.parametrize("facts", [None, Known(max_input_tokens=None, input_usd=None, output_usd=None)])
def test_what_nobody_knows_is_named(complaints, facts):
    reason = "is missing, and nothing is known of model 'm1' on wire 'openai'; write it"
    assert complaints(BARE % "", facts=facts) == [
        f"models.yaml:2: deployments[0].context_window: {reason}",
        f"models.yaml:2: deployments[0].price_usd_per_mtok.input: {reason}",
        f"models.yaml:2: deployments[0].price_usd_per_mtok.output: {reason}",
    ]


def test_an_answer_longer_than_the_window_is_not_taken_from_facts(loaded):
    config = loaded(BARE % "", facts=Known(max_output_tokens=10**7))
    assert config.registry.deployments["acme/m1"].max_output_tokens is None


def test_without_policy_file_the_defaults_hold(loaded):
    config = loaded()
    assert config.policy == Policy().replace(version=config.policy.version)


def test_an_empty_policy_and_empty_sections_are_the_defaults_too(loaded):
    assert loaded(policy="").policy == loaded(policy="retry:\nbreaker: {}\n").policy == loaded().policy


def test_policy_values_reach_their_places(loaded):
    text = """
policies: {night: {cost: 10}, cost: {cost: 9}}
default_policy: night
retry: {max_attempts: 2}
parallel: {trigger_tasks: [planning], judges: [acme/m1], trigger_mode: voting}
stream: {keepalive_s: 15}
stream_recovery: buffer
long_context_tokens: 9000
"""
    config = loaded(policy=text)
    policy = config.policy
    assert policy.weights("night").cost == 10.0
    assert policy.weights("cost").quality == 1.0
    assert set(policy.policies) == {"balanced", "quality", "cost", "speed", "night"}
    assert policy.retry.max_attempts == 2
    assert policy.retry.fallbacks == Policy().retry.fallbacks
    assert policy.parallel.trigger_tasks == (TaskType.PLANNING,)
    assert policy.parallel.judges == ("acme/m1",)
    assert policy.stream_keepalive_s == 15.0
    assert policy.stream_recovery is StreamRecovery.BUFFER
    assert config.registry.resolve("auto:night").policy == "night"
    assert policy.version != loaded(policy="").policy.version


def test_an_overlay_is_added_in_front(loaded):
    overlay = {
        "providers": {"demo": {"wire": "openai", "base_url": "http://127.0.0.1:1"}},
        "deployments": [
            {
                "id": "demo/x",
                "provider": "demo",
                "model": "x",
                "context_window": 9,
                "price_usd_per_mtok": {"input": 0, "output": 0},
            }
        ],
        "task_preferences": {"planning": {"preferred": ["demo/x"]}},
    }
    models = f"""\
providers: {{acme: {{wire: openai}}}}
deployments: [{ROW % ("m1", "m1")}]
task_preferences: {{planning: {{preferred: [acme/m1]}}}}
"""
    registry = loaded(models, overlay=overlay).registry
    assert list(registry.deployments) == ["demo/x", "acme/m1"]
    assert registry.preferences["planning"] == {"demo/x": 1.0, "acme/m1": 0.5}
    assert list(registry.providers) == ["acme", "demo"]


def test_warnings_name_keys_in_the_file_and_keys_sent_in_the_clear(loaded):
    models = f"""\
providers:
  acme: {{wire: openai, api_key: sk-in-the-file, base_url: 'http://far.example:80/v1'}}
  near: {{wire: openai, api_key: '${{K}}', base_url: 'http://127.0.0.1:1/v1'}}
deployments: [{ROW % ("m1", "m1")}]
"""
    warnings = loaded(models, env={"K": "sk-of-a-neighbour"}).report.warnings
    assert len(warnings) == 2
    assert warnings[0].endswith("models.yaml:2: a key is written in the file; use ${VAR} or ${file:PATH}")
    assert warnings[1] == "the key providers:acme travels unencrypted to far.example; use https"


def test_files_read_are_reported_for_watching(loaded, tmp_path):
    (tmp_path / "secret").write_text("sk-from-a-file\n")
    models = (
        f"providers: {{acme: {{wire: openai, api_key: '${{file:secret}}'}}}}\ndeployments: [{ROW % ('m1', 'm1')}]\n"
    )
    config = loaded(models)
    assert config.report.files == (tmp_path / "models.yaml", tmp_path / "policy.yaml", tmp_path / "secret")
    assert config.secrets["providers:acme"].reveal() == "sk-from-a-file"


def test_the_version_follows_registry_and_policy_and_not_the_value_of_a_key(loaded):
    first = loaded(env={"ACME_KEY": "sk-first-key"}).version
    assert first == loaded(env={"ACME_KEY": "sk-second-key"}).version
    assert first != loaded(env={}).version
    assert first != loaded(policy="retry: {fallbacks: 1}", env={"ACME_KEY": "sk-first-key"}).version


def test_a_wire_without_an_address_of_its_own_needs_a_base(complaints, loaded):
    addresses = {"openai": "https://api.example/v1", "azure": None}
    one = "providers: {acme: {wire: %s}}\ndeployments: [" + ROW % ("m1", "m1") + "]\n"
    loaded(one % "openai", addresses=addresses)
    loaded(one % "elsewhere", addresses=addresses)
    loaded((one % "azure").replace("id: acme/m1", "id: acme/m1, base_url: 'https://x'"), addresses=addresses)
    loaded(one.replace("%s}", "azure, base_url: 'https://x'}"), addresses=addresses)
    assert complaints(one % "azure", addresses=addresses) == [
        "models.yaml:1: providers.acme.base_url: is missing: wire 'azure' has no address of its own"
    ]


def test_a_wire_nobody_knows_is_refused(complaints):
    assert complaints("providers: {acme: {wire: opnai}}\n", wires={"openai", "azure"}) == [
        "models.yaml:1: providers.acme.wire: no wire is named 'opnai'; did you mean 'openai'?"
    ]


def test_what_only_the_policys_own_constructors_see_is_refused_at_its_section(complaints, monkeypatch):
    def refuse(self: object) -> None:
        message = "quorum must not exceed width"
        raise ConfigError(message)

    monkeypatch.setattr(ParallelPolicy, "__post_init__", refuse)
    found = complaints(policy="retry: {}\nparallel: {width: 3}\n")
    assert found == ["policy.yaml:2: parallel: quorum must not exceed width"]


def test_the_examples_of_the_documentation_load(loaded, tmp_path):
    page = (Path(__file__).parents[4] / "docs" / "configuration.md").read_text()
    blocks = re.findall(r"```yaml\n(.*?)```", page, re.DOTALL)
    assert len(blocks) == 3
    (tmp_path / "azure").write_text("azure-key-for-the-example")
    registries = []
    for block in blocks:
        config = loaded(block.replace("/run/secrets/azure", str(tmp_path / "azure")), env={"ACME_KEY": "acme-key-1"})
        assert config.report.warnings == ()
        assert all(each.callable for each in config.registry.deployments.values())
        registries.append(config.registry)
    _, hosts, rising = registries
    assert rising.deployments["acme/m1"].price.long == (LongPrice(200_000, 2.5, 15.0),)
    weights = {each.id: each.weight for each in hosts.resolve("shared").candidates}
    assert weights == {"azure-eu/gpt-4.1#a": 3.0, "azure-eu/gpt-4.1#b": 1.0}


def test_a_spend_ceiling_stands_beside_the_weights(loaded):
    policy = loaded(policy="policies: {night: {cost: 2, usd_per_hour: 1.5}, quality: {usd_per_day: 20}}").policy
    assert policy.ceilings == {"night": SpendCeiling(usd_per_hour=1.5), "quality": SpendCeiling(usd_per_day=20.0)}
    assert policy.policies["night"].cost == 2.0
    assert policy.policies["quality"] == Policy().policies["quality"]
    assert policy.version != loaded(policy="policies: {night: {cost: 2}}").policy.version


def test_a_built_in_policy_that_is_given_weights_and_a_ceiling_is_replaced(loaded):
    policy = loaded(policy="policies: {quality: {cost: 0.5, usd_per_day: 20}, cost: {usd_per_hour: null}}").policy
    assert policy.policies["quality"] == Weights(cost=0.5)
    assert list(policy.ceilings) == ["quality"]


def test_a_ceiling_that_no_weight_could_hold_is_refused(complaints):
    (found,) = complaints(policy="policies: {free: {cost: 0, usd_per_day: 20}}")
    assert "policies.free" in found
    assert "held by the cost weight" in found
