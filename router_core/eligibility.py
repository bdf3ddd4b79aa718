"""Hard rules: may this deployment serve this request? Every refusal names its rule.

The rules are asked in a fixed order, the cheapest and the most final first; the first that refuses is the one named.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from operator import attrgetter

from router_core.decision import Attempt, Facts, Rejection, Rule, make
from router_core.deployment import Deployment
from router_core.known import Able
from router_core.pricing import affordable_output, worst_usd
from router_core.registry import Resolved
from router_core.request import RoutingRequest

LEAST_OUTPUT_TOKENS = 16
"""Below this many affordable output tokens an answer is not worth its call."""

_READY_IN_S, _INPUT_TOKENS = attrgetter("ready_in_s"), attrgetter("input_tokens")

_ANY_PRICE = (None, None)
_REMEMBERED = 64
"""Kinds of requests remembered for each name a client may ask for."""


def ask_static(
    resolved: Resolved, pool: Mapping[str, Deployment], request: RoutingRequest
) -> tuple[Able, tuple[Rejection, ...]]:
    """Ask everybody in ``pool`` the rules that need only the registry: who is able to serve, and the refusals.

    Most requests have no lists, prices or fallbacks of their own: what is answered then depends on the needs and the
    key alone, and is kept with the name that was asked for.
    """
    hints, kind = request.hints, (request.needs, request.allowed_models)
    prices = (hints.max_price_prompt, hints.max_price_completion)
    usual = pool is resolved.pool and not hints.only and not hints.exclude and prices == _ANY_PRICE
    found: tuple[Able, tuple[Rejection, ...]] | None = resolved.memo.get(kind) if usual else None
    if found is None:
        verdicts = [(deployment, refuse_static(deployment, request)) for deployment in pool.values()]
        able = Able([deployment for deployment, refusal in verdicts if refusal is None])
        found = (able, tuple([refusal for _, refusal in verdicts if refusal is not None]))
        if usual:
            if len(resolved.memo) >= _REMEMBERED:
                resolved.memo.clear()
            resolved.memo[kind] = found
    return found


def refuse_static(deployment: Deployment, request: RoutingRequest) -> Rejection | None:
    """Ask the rules that need only the registry: enabled, key, lists, capabilities."""
    if not deployment.enabled:
        return Rejection(deployment.id, Rule.DISABLED, "switched off by the operator")
    if not deployment.callable:
        return Rejection(deployment.id, Rule.NO_KEY, "no key for its provider")
    names = deployment.names
    hints = request.hints
    if request.allowed_models is not None and names.isdisjoint(request.allowed_models):
        return Rejection(deployment.id, Rule.NOT_ALLOWED, "the key may not use it")
    if hints.exclude and not names.isdisjoint(hints.exclude):
        return Rejection(deployment.id, Rule.EXCLUDED, "excluded by the request")
    if hints.only and names.isdisjoint(hints.only):
        return Rejection(deployment.id, Rule.NOT_LISTED, "not in the request's only list")
    if not request.needs <= deployment.capabilities:
        missing = ", ".join(sorted(str(need) for need in request.needs - deployment.capabilities))
        return Rejection(deployment.id, Rule.CAPABILITY, f"lacks {missing}")
    price, most_in, most_out = deployment.price, hints.max_price_prompt, hints.max_price_completion
    if (most_in is not None and price.input > most_in) or (most_out is not None and price.output > most_out):
        return Rejection(deployment.id, Rule.PRICE, f"costs {price.input:g}/{price.output:g} USD per million tokens")
    return None


def nobody_refused(known: Sequence[Facts], request: RoutingRequest, window: int) -> bool:
    """Whether ``refuse_by_facts`` lets everybody pass, seen at once for nearly all requests; False when it may not.

    ``window`` is the smallest context window of those who are asked.
    """
    hints = request.hints
    return (
        hints.min_quality is None
        and hints.max_latency_ms is None
        and hints.max_cost_usd is None
        and not any(map(_READY_IN_S, known))
        and max(map(_INPUT_TOKENS, known), default=0) + (request.max_output_tokens or 0) <= window
    )


def refuse_by_facts(deployment: Deployment, facts: Facts, request: RoutingRequest) -> Rejection | None:
    """Ask the rules that need what was learned: window, quality, latency, cost, breaker."""
    wanted = request.max_output_tokens or 0
    if facts.input_tokens + wanted > deployment.context_window:
        detail = f"needs about {facts.input_tokens + wanted} tokens of a window of {deployment.context_window}"
        return Rejection(deployment.id, Rule.CONTEXT_WINDOW, detail, facts=facts)
    hints = request.hints
    if hints.min_quality is not None and facts.quality < hints.min_quality:
        detail = f"expected quality {facts.quality:.3f} is below {hints.min_quality:g}"
        return Rejection(deployment.id, Rule.QUALITY, detail, facts=facts)
    if hints.max_latency_ms is not None:
        slowest_ms = 1000.0 * (facts.known.first_p95_s if request.stream else facts.known.latency_p95_s)
        if slowest_ms > hints.max_latency_ms:
            detail = f"p95 of {slowest_ms:.0f} ms is above {hints.max_latency_ms:g} ms"
            return Rejection(deployment.id, Rule.LATENCY, detail, facts=facts)
    if hints.max_cost_usd is not None and not _affordable(deployment, facts, request, hints.max_cost_usd):
        detail = f"expected cost {facts.expected_cost_usd:.6f} USD does not fit into {hints.max_cost_usd:g} USD"
        return Rejection(deployment.id, Rule.COST, detail, facts=facts)
    if facts.ready_in_s > 0.0:
        rule = Rule.RATE_LIMIT if facts.breaker == "ejected" else Rule.BREAKER
        detail = f"{facts.breaker} for another {facts.ready_in_s:.0f} s"
        return Rejection(deployment.id, rule, detail, facts.ready_in_s, facts)
    return None


def _affordable(deployment: Deployment, facts: Facts, request: RoutingRequest, budget_usd: float) -> bool:
    if facts.worst_cost_usd <= budget_usd:
        return True
    if facts.expected_cost_usd > budget_usd:
        return False
    least = min(LEAST_OUTPUT_TOKENS, request.max_output_tokens or LEAST_OUTPUT_TOKENS)
    return affordable_output(deployment, facts.input_tokens, budget_usd, request.n) >= least


def attempt_for(deployment: Deployment, facts: Facts, request: RoutingRequest, budget_usd: float | None) -> Attempt:
    """Return the call to make: with its output limit lowered to what the budget buys where an answer could cost more.

    Without a budget the worst case reckons with ``policy.default_max_output_tokens`` for a client without a limit of
    its own; under one, with everything the deployment can write. A limit below 1 means that the budget buys nothing.
    """
    if budget_usd is None:
        return make(Attempt, (deployment.id, None, facts.expected_cost_usd, facts.worst_cost_usd))
    longest = longest_output(deployment, facts, request)
    affordable = affordable_output(deployment, facts.input_tokens, budget_usd, request.n)
    if affordable >= longest:
        worst = worst_usd(deployment, facts.input_tokens, longest, request.n)
        return Attempt(deployment.id, None, facts.expected_cost_usd, min(worst, budget_usd))
    return Attempt(deployment.id, affordable, facts.expected_cost_usd, budget_usd)


def longest_output(deployment: Deployment, facts: Facts, request: RoutingRequest) -> int:
    """Return the most tokens one choice can have: the client's limit, the deployment's, or what the window leaves."""
    window = max(1, deployment.context_window - facts.input_tokens)
    return min(request.max_output_tokens or window, deployment.max_output_tokens or window, window)
