"""What is known of a deployment for a task: registry prior and evidence joined, the same for every prompt.

Computed at most once per minute and state (``DeploymentState.memo``): a decision over twenty deployments then costs a
few microseconds each. Times are taken at the start of the minute, so the memo never changes a result.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import repeat
from typing import Any, Final, NamedTuple

from router_core import decay
from router_core.decision import Known, make
from router_core.deployment import Deployment
from router_core.gain import half_window
from router_core.policy import Policy, ScoringPolicy
from router_core.price import PerToken
from router_core.quality import posterior, renewed
from router_core.quality_model import rasch_slope
from router_core.registry import Registry
from router_core.series import ALL_TASKS, EMPTY_RECENT, EMPTY_SERIES, Summary
from router_core.snapshot import EMPTY_STATE, DeploymentState

UNSEEN_AGE_H: Final = 1e6
"""Hours since the last observation of a deployment that was never observed."""

MINUTE_S: Final = 60.0
_MEMO_LIMIT: Final = 1024


class Standing(NamedTuple):
    """One deployment, its state, and what a decision's inner loop asks of the two, side by side.

    ``slope`` is what a unit of difficulty costs in quality. ``plain``: its price does not rise with the prompt, and its
    circuit is calm. The rest is as in ``Known`` and ``Deployment``.
    """

    deployment: Deployment
    state: DeploymentState
    name: str
    provider: str
    known: Known
    quality: float
    slope: float
    input_ratio: float
    mean_output: float
    most_output: int | None
    plain: bool
    rates: PerToken
    dearest: float


def _standing(deployment: Deployment, state: DeploymentState, known: Known) -> Standing:
    return Standing(
        deployment,
        state,
        deployment.id,
        deployment.provider,
        known,
        known.quality,
        rasch_slope(known.quality),
        known.input_ratio,
        known.mean_output,
        deployment.max_output_tokens,
        state.calm and not deployment.long_rates,
        deployment.rates,
        deployment.dearest,
    )


_NOWHERE: Final[Any] = make(Standing, (None,) * len(Standing._fields))
"""How a deployment stood that was not asked about before."""


class _Seen(NamedTuple):
    """What ``Able`` has answered on some states, by task rows, and what it had answered on those before."""

    states: Any
    policy: Any
    registry: Any
    minute: int
    stands: dict[tuple[str, ...], list[Standing]]
    before: dict[tuple[str, ...], list[Standing]]


class Able:
    """The deployments that the registry alone does not keep from serving some kind of request, and how they stand.

    ``standing`` remembers its answers: between two outcomes all decisions on a task share one, and after an outcome
    nearly all deployments stand as they did.
    """

    __slots__ = ("_seen", "deployments")

    def __init__(self, deployments: Iterable[Deployment]) -> None:
        """Hold the deployments, of one registry, in its order."""
        self.deployments = tuple(deployments)
        self._seen = _Seen(None, None, None, 0, {}, {})

    def standing(
        self,
        states: Mapping[str, DeploymentState],
        rows: tuple[str, ...],
        registry: Registry,
        policy: Policy,
        minute: int,
    ) -> Sequence[Standing]:
        """Return how each deployment stands for the given task rows (the first is the task itself)."""
        seen = self._seen
        # Compared by identity: comparing states would cost more than asking again.
        if seen.policy is not policy or seen.registry is not registry or seen.minute != minute:
            seen = self._seen = _Seen(states, policy, registry, minute, {}, {})
        elif seen.states is not states:
            seen = self._seen = _Seen(states, policy, registry, minute, {}, seen.stands)
        found = seen.stands.get(rows)
        if found is None:
            found = []
            for deployment, stood in zip(self.deployments, seen.before.get(rows) or repeat(_NOWHERE), strict=False):
                state = states.get(deployment.id, EMPTY_STATE)
                if stood.state is state:
                    found.append(stood)
                    continue
                known = known_of(deployment, state, rows, registry, policy, minute)
                found.append(_standing(deployment, state, known))
            seen.stands[rows] = found
        return found


def known_of(
    deployment: Deployment,
    state: DeploymentState,
    rows: tuple[str, ...],
    registry: Registry,
    policy: Policy,
    minute: int,
) -> Known:
    """Return what is known of a deployment for the given task rows (the first is the task itself)."""
    memo, name = state.memo, deployment.id
    found = memo.get(name)
    # Compared by identity: another registry or policy may carry the same version.
    if found is None or found[0] is not policy or found[1] is not registry or found[2] != minute:
        if len(memo) >= _MEMO_LIMIT:
            memo.clear()
        found = memo[name] = (policy, registry, minute, {})
    by_rows = found[3]
    known = by_rows.get(rows)
    if known is None:
        known = by_rows[rows] = _join(deployment, state, rows, registry, policy, minute * MINUTE_S)
    return known


def _join(
    deployment: Deployment,
    state: DeploymentState,
    rows: tuple[str, ...],
    registry: Registry,
    policy: Policy,
    now: float,
) -> Known:
    unit = decay.weight(now, policy.learning.half_life_h * 3600.0)
    series = state.tasks.get(rows[0], EMPTY_SERIES)
    overall = state.tasks.get(ALL_TASKS, EMPTY_SERIES)
    summary = series.summary
    quality, deviation, evidence, learned = _quality(deployment, state, rows, policy, unit)
    recent_n, recent_ok, seconds, usd = state.recent.get(rows[0], EMPTY_RECENT).total(half_window(now, policy))
    recent_success = recent_ok / recent_n if recent_n else 1.0
    recent_latency = seconds / recent_ok if recent_ok else 0.0
    recent_cost = usd / recent_ok if recent_ok else 0.0
    observations = series.fields.get("n", 0.0) / unit
    age_h = max(0.0, now - series.last_at) / 3600.0 if series.last_at else UNSEEN_AGE_H
    provider = registry.providers.get(deployment.provider)
    scoring = policy.scoring
    return Known(
        deployment=deployment.id,
        provider=deployment.provider,
        vendor=(provider.vendor if provider is not None else "") or deployment.provider,
        quality=quality,
        quality_sd=deviation,
        quality_n=evidence,
        learned=learned,
        preference=max(registry.preference(row, deployment.id) for row in rows),
        performance=performance(observations, summary, age_h, scoring),
        adjustment=live_adjustment(recent_n, recent_success, recent_latency, recent_cost, summary, scoring),
        input_ratio=overall.input_ratio,
        mean_output=series.mean_output or overall.mean_output or float(scoring.default_output_tokens),
        observations=observations,
        success_rate=summary.success_rate,
        latency_s=summary.latency_p50_s or 0.0,
        latency_p95_s=summary.latency_p95_s or deployment.latency_prior_s or 0.0,
        first_p95_s=summary.first_p95_s or 0.0,
        age_h=age_h,
        recent_n=recent_n,
        recent_success=recent_success,
        recent_latency_s=recent_latency,
        base_latency_s=summary.mean_latency_s or 0.0,
        recent_cost_usd=recent_cost,
        base_cost_usd=summary.mean_cost_usd or 0.0,
    )


def _quality(
    deployment: Deployment, state: DeploymentState, rows: tuple[str, ...], policy: Policy, unit: float
) -> tuple[float, float, float, float]:
    """Return (expected quality, its deviation, rewards behind it, learned weight): means over the task rows."""
    votes, neutral = policy.learning.feedback_prior, policy.scoring.neutral
    quality = deviation = evidence = learned = 0.0
    for row in rows:
        fields = state.tasks.get(row, EMPTY_SERIES).fields if policy.learning.enabled else {}
        weight = fields.get("rw", 0.0) / unit
        prior = renewed(deployment.prior(row)) if state.renewed else deployment.prior(row)
        mean, sd = posterior(prior, weight, fields.get("rv", 0.0) / unit)
        quality += mean
        deviation += sd
        evidence += weight
        learned += (votes * neutral + fields.get("fv", 0.0) / unit) / (votes + fields.get("fw", 0.0) / unit)
    count = len(rows)
    return quality / count, deviation / count, evidence, learned / count


def performance(observations: float, summary: Summary, age_h: float, policy: ScoringPolicy) -> float:
    """Return conf x observed + (1 - conf) x neutral in [0, 1]; the neutral prior when nothing was seen.

    observed = success rate / (1 + median latency / latency_scale_s);
    conf = min(1, observations / confidence_requests) x 0.5 ** (age_h / confidence_half_life_h).
    """
    if observations <= 0.0:
        return policy.neutral
    confidence = min(1.0, observations / policy.confidence_requests)
    confidence *= float(0.5 ** (age_h / policy.confidence_half_life_h))
    observed = summary.success_rate / (1.0 + (summary.latency_p50_s or 0.0) / policy.latency_scale_s)
    return confidence * observed + (1.0 - confidence) * policy.neutral


def live_adjustment(
    recent_n: float,
    recent_success: float,
    recent_latency_s: float,
    recent_cost_usd: float,
    base: Summary,
    policy: ScoringPolicy,
) -> float:
    """Return a multiplier from the recent window against the deployment's *own* baseline, within the policy's bounds.

    It asks only "is this unusual for it?", so a deployment that is always slow pays for that once, in the performance
    term. 1.0 below ``live_min_requests``. Success weighs most: ratio of smoothed success rates; latency by its square
    root within [0.7, 1.3], cost by its fourth root within [0.9, 1.1].
    """
    if recent_n < policy.live_min_requests:
        return 1.0
    factor = (recent_success + 0.05) / (base.success_rate + 0.05)
    if recent_latency_s > 0.0 and base.mean_latency_s:
        factor *= min(1.3, max(0.7, (base.mean_latency_s / recent_latency_s) ** 0.5))
    if recent_cost_usd > 0.0 and base.mean_cost_usd:
        factor *= min(1.1, max(0.9, (base.mean_cost_usd / recent_cost_usd) ** 0.25))
    return float(min(policy.live_high, max(policy.live_low, factor)))
