"""Short ways to the values of the routing domain, each legal as it stands; a test names only what it is about."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from router_core.decision import Facts, Known, ScoredCandidate, Terms
from router_core.deployment import Deployment
from router_core.features import Features, extract, read_prompt
from router_core.outcome import Failure, FailureKind
from router_core.policy import ExplorationPolicy, Policy
from router_core.price import Price
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest
from router_core.snapshot import Snapshot, fold
from router_core.task import TaskProfile, TaskType
from tests.fakes.outcomes import attempt

NOW = 1_790_000_000.0
"""A wall-clock second in 2026 at which the tests decide."""

HOUR = 3600.0


class Draws:
    """The randomness of a decision, known beforehand."""

    def __init__(self, first: float = 0.999, second: float = 0.0) -> None:
        self._left = [first, second]

    def random(self) -> float:
        return self._left.pop(0)


def deployment(identity: str = "acme/m1", **changes: Any) -> Deployment:
    """One dollar per million tokens in, two out, a window of 100,000."""
    provider, _, model = identity.partition("#")[0].partition("/")
    values: dict[str, Any] = {"context_window": 100_000, "price": Price(1.0, 2.0), **changes}
    return Deployment(identity, provider, model, **values)


def registry(*entries: Mapping[str, Any] | str, **sections: Any) -> Registry:
    """A registry of deployments as the operator writes them; a plain name stands for one without anything special."""
    rows = [dict(entry) if isinstance(entry, Mapping) else {"id": entry} for entry in entries]
    for row in rows:
        provider, _, model = row["id"].partition("#")[0].partition("/")
        row |= {"provider": provider, "model": model}
        row.setdefault("context_window", 100_000)
        row.setdefault("price_usd_per_mtok", {"input": 1, "output": 2})
    providers = {row["provider"]: {"wire": "openai", "vendor": f"{row['provider']} inc"} for row in rows}
    return Registry.from_mapping({"providers": providers, "deployments": rows, **sections})


def known(identity: str = "acme/m1", **changes: Any) -> Known:
    """What is known of a deployment that nobody has called yet."""
    values: dict[str, Any] = {
        "deployment": identity,
        "provider": identity.partition("/")[0],
        "vendor": f"{identity.partition('/')[0]} inc",
        "quality": 0.5,
        "quality_sd": 0.15,
        "quality_n": 0.0,
        "learned": 0.5,
        "preference": 0.0,
        "performance": 0.5,
        "adjustment": 1.0,
        "input_ratio": 1.0,
        "mean_output": 400.0,
        "observations": 0.0,
        "success_rate": 1.0,
        "latency_s": 0.0,
        "latency_p95_s": 0.0,
        "first_p95_s": 0.0,
        "age_h": 1e6,
        "recent_n": 0.0,
        "recent_success": 1.0,
        "recent_latency_s": 0.0,
        "base_latency_s": 0.0,
        "recent_cost_usd": 0.0,
        "base_cost_usd": 0.0,
        **changes,
    }
    return Known(**values)


def facts(identity: str = "acme/m1", **changes: Any) -> Facts:
    """What one request makes of a deployment; fields of ``Known`` may be named too."""
    inner = {name: changes.pop(name) for name in list(changes) if name in Known.__slots__ and name != "quality"}
    values: dict[str, Any] = {
        "provider": identity.partition("/")[0],
        "known": known(identity, **inner),
        "quality": 0.5,
        "input_tokens": 500,
        "output_tokens": 400,
        "cached_tokens": 0,
        "expected_cost_usd": 0.001,
        "worst_cost_usd": 0.01,
        "breaker": "closed",
        "ready_in_s": 0.0,
        "ramp": 1.0,
        **changes,
    }
    return Facts(identity, **values)


def candidate(
    identity: str = "acme/m1", score: float = 50.0, terms: Terms | None = None, **more: Any
) -> ScoredCandidate:
    """A candidate with a given score; its terms are zero unless the test is about them."""
    return ScoredCandidate(identity, terms or Terms(*(0.0,) * 7), 1.0, score, facts(identity, **more))


def request(model: str = "auto", *, task: TaskType = TaskType.ANALYSIS, **changes: Any) -> RoutingRequest:
    """A request; fields of ``Hints`` may be named directly."""
    hints = {name: changes.pop(name) for name in list(changes) if name in Hints.__slots__}
    profile = changes.pop("profile", TaskProfile(task))
    values: dict[str, Any] = {"input_tokens": 500, **changes}
    return RoutingRequest(profile, Hints(**hints), model, **values)


def features(text: str) -> Features:
    """What is measured of a prompt, without any embedder."""
    return extract(read_prompt({"messages": [{"role": "user", "content": text}]}), None)


def without_exploration(**sections: Any) -> Policy:
    """The default policy that always takes the best one, with some sections changed."""
    return Policy(exploration=ExplorationPolicy(share=0.0, probe_share=0.0)).replace(**sections)


def failure(kind: FailureKind, **changes: Any) -> Failure:
    return Failure(kind, "it failed", **changes)


def after(snapshot: Snapshot, *outcomes: Any, policy: Policy | None = None, **options: Any) -> Snapshot:
    """Fold outcomes, one after the other."""
    for outcome in outcomes:
        snapshot = fold(snapshot, outcome, policy or Policy(), **options)
    return snapshot


def answers(identity: str, count: int, *, at: float, every: float = 1.0, **changes: Any) -> list[Any]:
    """Outcomes of a steady stretch of calls."""
    return [attempt(identity, at=at + every * number, **changes) for number in range(count)]
