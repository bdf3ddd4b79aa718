"""The configuration that ships: complete, current, priced as others price it, deciding differently by task."""

from __future__ import annotations

import datetime as dt
import re
import subprocess
import sys
from pathlib import Path
from random import Random

import pytest
import yaml
from genai_prices.data_snapshot import get_snapshot

from gateway.config.loader import LoadedConfig, load
from gateway.forward.catalog import facts
from router_core.deployment import Capability, Deployment
from router_core.policy import Policy
from router_core.request import RoutingRequest
from router_core.router import decide
from router_core.snapshot import Snapshot
from router_core.task import TaskType

ROOT = Path(__file__).resolve().parents[2]
CONFIG = ROOT / "config"
TASKS = [task for task in TaskType if task is not TaskType.GENERAL]
KEYS = {
    name: f"sk-made-up-for-tests-{name.lower()}"
    for name in (
        *("OPENAI_API_KEY", "ANTHROPIC_API_KEY", "GEMINI_API_KEY", "MISTRAL_API_KEY", "COHERE_API_KEY"),
        *("GROQ_API_KEY", "TOGETHER_API_KEY", "DEEPSEEK_API_KEY", "XAI_API_KEY", "DASHSCOPE_API_KEY"),
    )
}


@pytest.fixture(scope="module")
def config() -> LoadedConfig:
    return load(CONFIG, KEYS)


def deployments() -> list[Deployment]:
    return list(load(CONFIG, {}).registry.deployments.values())


def test_the_models_file_is_what_its_script_writes():
    done = subprocess.run(
        [sys.executable, "-m", "scripts.write_models", "--check"], cwd=ROOT, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_it_needs_no_facts_and_no_keys_to_load():
    config = load(CONFIG, {})
    assert config.report.warnings == ()
    assert config.report.filled == {}
    assert set(config.report.no_key) == set(config.registry.deployments)
    assert not any(each.callable for each in config.registry.deployments.values())


def test_keys_that_are_there_make_their_deployments_live(config):
    assert config.report.no_key == {}
    only = load(CONFIG, {"MISTRAL_API_KEY": KEYS["MISTRAL_API_KEY"]})
    live = {each.provider for each in only.registry.deployments.values() if each.callable}
    assert live == {"mistral"}


def test_six_vendors_and_more_have_eighteen_models_and_more(config):
    found = config.registry.deployments.values()
    assert len({each.model for each in found}) >= 18
    for provider in ("openai", "anthropic", "google", "mistral", "cohere"):
        assert len(config.registry.of_provider(provider)) >= 3
    assert len([each for each in found if "meta" in each.tags]) >= 2


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: each.id)
def test_every_deployment_is_described_in_full(deployment, config):
    today = dt.date.fromisoformat(deployment.price.checked)
    assert deployment.price.source
    assert deployment.price.output >= deployment.price.input > 0
    if deployment.price.cached_input is not None:
        assert deployment.price.cached_input < deployment.price.input
    assert deployment.context_window >= 100_000
    assert {*TASKS, "default"} == set(deployment.quality)
    assert {prior.weight for prior in deployment.quality.values()} == {20.0}
    assert len({prior.mean for prior in deployment.quality.values()}) >= 4
    assert deployment.latency_prior_s
    assert deployment.tags
    wire = config.registry.providers[deployment.provider].wire
    known = facts(deployment.upstream_model, wire)
    assert known is not None
    assert known.deprecated_on is None or dt.date.fromisoformat(known.deprecated_on) > today
    steps = [(step.above, step.input, step.output) for step in deployment.price.long]
    assert steps == [(step.above, step.input_usd, step.output_usd) for step in known.long_context]
    fallbacks = [config.registry.deployments[each] for each in deployment.fallbacks]
    assert len(fallbacks) >= 2
    assert any(each.provider != deployment.provider for each in fallbacks)


def test_estimates_are_marked_as_such():
    rows = yaml.safe_load((CONFIG / "models.yaml").read_text())["deployments"]
    assert all({"quality", "latency_prior_s"} <= set(row["estimated"]) for row in rows)


def test_every_task_has_preferred_and_budget_deployments(config):
    for task in TASKS:
        ranks = config.registry.preferences[task]
        assert len([rank for rank in ranks.values() if rank >= 0.5]) >= 3
        assert 0.3 in ranks.values()
    for name in config.registry.preferences[TaskType.MULTIMODAL]:
        assert Capability.VISION in config.registry.deployments[name].capabilities


# Their name of the provider; Alibaba's own API is not in their data.
THEIRS = {
    "google": "google",
    "xai": "x-ai",
    **{name: name for name in ("openai", "anthropic", "mistral", "cohere", "together", "groq", "deepseek")},
}
NOT_THERE = {"qwen/qwen3.8-max", "qwen/qwen3.8-flash"}
# Mistral lists 0.68 and 2.09, they round to 0.70 and 2.10; everything else agrees to the cent.
TOLERANCE = {"mistral/mistral-large-4": 0.03}
# DeepSeek halves its prices outside its office hours; ours are the full ones, so the question is asked within them.
WHEN = dt.datetime(2026, 11, 23, 8, tzinfo=dt.UTC)


@pytest.mark.parametrize("deployment", deployments(), ids=lambda each: each.id)
def test_prices_agree_with_an_independent_list(deployment):
    if deployment.id in NOT_THERE:
        assert deployment.provider not in THEIRS
        return
    _, model = get_snapshot().find_provider_model(deployment.upstream_model, None, THEIRS[deployment.provider], None)
    theirs = model.get_prices(WHEN)
    for kind, other in (
        ("input", theirs.input_mtok),
        ("output", theirs.output_mtok),
        ("cached_input", theirs.cache_read_mtok),
        ("cache_write", theirs.cache_write_mtok),
    ):
        steps = [(step.above, getattr(step, kind)) for step in deployment.price.long]
        theirs_by_size = [(tier.start, tier.price) for tier in getattr(other, "tiers", ())]
        assert other is None or len(steps) == len(theirs_by_size)
        prices = [(0, getattr(deployment.price, kind)), *steps]
        others = [(0, getattr(other, "base", other)), *theirs_by_size]
        for (above, ours), (start, usd) in zip(prices, others, strict=other is not None):
            assert abs(above - start) <= 1
            if ours is not None and usd is not None:
                assert ours == pytest.approx(float(usd), rel=TOLERANCE.get(deployment.id, 1e-6))


def test_the_policy_file_writes_out_every_default_with_a_comment(config):
    assert config.policy == Policy().replace(version=config.policy.version)
    text = (CONFIG / "policy.yaml").read_text()
    data = yaml.safe_load(text)
    core = Policy()
    for section, values in data.items():
        if isinstance(values, dict) and section not in {"policies", "stream"}:
            assert set(values) == set(type(getattr(core, section)).__dataclass_fields__), section
    for line in text.splitlines():
        if re.match(r"^ *\w+: [^{]*$", line) and not line.startswith("#"):
            assert "# " in line, line


def chosen(config: LoadedConfig, task: str, policy: str = "balanced", **more) -> str | None:
    request = RoutingRequest.of(task=task, policy=policy, **more)
    rng = Random(0)
    still = config.policy.replace(exploration=type(config.policy.exploration)(share=0.0, probe_share=0.0))
    return decide(request, Snapshot.empty(), config.registry, still, now=0.0, rng=rng).chosen


def test_different_tasks_and_policies_go_to_different_deployments(config):
    assert len({chosen(config, task) for task in TASKS}) >= 3
    assert len({chosen(config, "reasoning", policy) for policy in ("quality", "cost", "speed")}) >= 2
    cheap, best = (
        config.registry.deployments[chosen(config, "security_audit", policy)] for policy in ("cost", "quality")
    )
    assert cheap.price.output < best.price.output
    assert cheap.prior("security_audit").mean < best.prior("security_audit").mean


def test_hard_needs_are_kept(config):
    assert Capability.VISION in config.registry.deployments[chosen(config, "multimodal", needs={"vision"})].capabilities
    assert config.registry.deployments[chosen(config, "long_context", input_tokens=600_000)].context_window > 600_000
    assert config.registry.deployments[chosen(config, "reasoning", min_quality=0.9)].prior("reasoning").mean >= 0.9
