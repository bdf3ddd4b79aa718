from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from gateway.http.errors import ApiError
from gateway.keys import Principal
from router_core.deployment import Capability
from router_core.request import StreamRecovery
from router_core.task import TaskType
from tests.fakes.contexts import CALLER, context, services
from tests.unit.router_core.builders import NOW, registry, without_exploration

IMAGE = {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}


def refused(*, principal: Principal = CALLER, parts: Any = None, **body: Any) -> ApiError:
    with pytest.raises(ApiError) as found:
        context(parts or services(), principal=principal, **body)
    return found.value


def test_a_request_is_read_classified_and_decided():
    ctx = context(services(), messages=[{"role": "user", "content": "Write a Python function that sorts a list"}])
    assert ctx.routing.profile.task is TaskType.CODE_GENERATION
    assert ctx.routing.input_tokens > 5
    assert ctx.decision.chosen in {"acme/m1", "beta/m2"}
    assert ctx.decision_id.startswith("dec_")
    assert ctx.at == NOW


def test_a_task_that_is_given_is_not_guessed():
    ctx = context(services(), router={"task": "security_audit"})
    assert ctx.routing.profile.task is TaskType.SECURITY_AUDIT
    assert ctx.routing.profile.evidence == ("given by the request",)


def test_what_a_request_needs_is_seen():
    parts = services(registry({"id": "acme/m1", "capabilities": ["tools", "vision", "streaming"]}, "beta/m2"))
    ctx = context(
        parts,
        messages=[{"role": "user", "content": [{"type": "text", "text": "what is it"}, IMAGE]}],
        tools=[{"type": "function", "function": {"name": "f"}}],
    )
    assert {Capability.TOOLS, Capability.VISION} <= ctx.routing.needs
    assert ctx.decision.chosen == "acme/m1"
    assert ctx.routing.profile.task is TaskType.MULTIMODAL


def test_a_key_s_models_and_tags_count():
    key = Principal("k", allowed_models=frozenset({"beta/m2"}), tags=("team:a",))
    ctx = context(services(), principal=key, router={"tags": ["night", "team:a"]})
    assert ctx.decision.chosen == "beta/m2"
    assert ctx.tags == ("team:a", "night")


def test_a_key_s_tasks_count():
    key = Principal("k", allowed_tasks=frozenset({"documentation"}))
    error = refused(principal=key, router={"task": "testing"})
    assert (error.status, error.code) == (403, "task_not_allowed")
    assert context(services(), principal=key, router={"task": "documentation"}).decision.chosen


def test_a_model_that_does_not_exist_is_a_404():
    error = refused(model="acme/m9")
    assert (error.status, error.code, error.param) == (404, "model_not_found", "model")


def test_a_policy_that_does_not_exist_is_named():
    error = refused(router={"policy": "bold"})
    assert (error.status, error.param) == (400, "router.policy")
    assert "balanced" in error.message


@pytest.mark.parametrize("hint", ["only", "exclude", "fallbacks"])
def test_a_typo_in_a_hard_hint_neither_opens_nor_closes_a_door(hint):
    error = refused(router={hint: ["acme/m1", "acmee"]})
    assert (error.status, error.code, error.param) == (400, "invalid_hint", f"router.{hint}")
    assert "acmee" in error.message


def test_providers_models_and_deployments_may_be_named_but_a_provider_is_no_fallback():
    for name in ("acme", "acme/m1", "m1"):
        assert context(services(), router={"only": [name]}).decision.chosen == "acme/m1"
    assert refused(router={"fallbacks": ["beta"]}).code == "invalid_hint"
    ctx = context(services(), model="acme/m1", router={"fallbacks": ["beta/m2"]})
    assert ctx.decision.fallbacks == ("beta/m2",)


def test_the_deadline_is_the_policy_s_unless_the_request_wants_less():
    parts = services()
    total = parts.config.current.policy.timeouts.total_s
    assert (context(parts).deadline, context(parts).own_deadline) == (NOW + total, False)
    short = context(parts, router={"max_latency_ms": 1500})
    assert (short.deadline, short.own_deadline) == (pytest.approx(NOW + 1.5), True)
    long = context(parts, router={"max_latency_ms": total * 5000})
    assert (long.deadline, long.own_deadline) == (NOW + total, False)


def test_recovery_is_the_request_s_else_the_route_s_else_the_policy_s():
    routes = {
        "safe": {"order": "listed", "deployments": ["acme/m1"], "stream_recovery": "buffer"},
        "plain": {"order": "listed", "deployments": ["acme/m1"]},
    }
    policy = replace(without_exploration(), stream_recovery=StreamRecovery.CONTINUE)
    parts = services(registry("acme/m1", routes=routes), policy)
    assert context(parts, model="safe").recovery is StreamRecovery.BUFFER
    assert context(parts, model="plain").recovery is StreamRecovery.CONTINUE
    assert context(parts, model="safe", router={"stream_recovery": "error"}).recovery is StreamRecovery.ERROR


def test_a_session_is_remembered_for_its_key_alone():
    parts = services()
    parts.sessions.used(CALLER.key_id, "s1", "acme", "acme/m1", 900, NOW, keep=5)
    mine = context(parts, principal=CALLER, router={"session": "s1"}).routing
    assert (mine.recent_providers, mine.warm_tokens) == (("acme",), {"acme/m1": 900})
    theirs = context(parts, router={"session": "s1"}).routing
    assert (theirs.recent_providers, theirs.warm_tokens) == ((), {})


def test_ids_are_fresh_and_say_when():
    parts = services()
    first, second = context(parts), context(parts)
    assert first.decision_id != second.decision_id
    assert parts.ids.made_at(first.decision_id) == float(int(NOW))
