"""From a checked request to a decision: read the prompt, classify it, ask the core. No call is made here."""

from __future__ import annotations

from gateway.context import RequestContext
from gateway.enrol import enrol
from gateway.http.errors import ApiError, invalid
from gateway.http.wire import ChatRequest
from gateway.keys import Principal
from gateway.services import Services
from gateway.stages import Steps
from router_core.classifier import classify
from router_core.errors import RequestError, UnknownModel
from router_core.features import extract
from router_core.needs import needs_of
from router_core.policy import Policy
from router_core.prompt import read_prompt
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest, StreamRecovery
from router_core.router import decide
from router_core.task import TaskProfile


def prepare(
    services: Services,
    chat: ChatRequest,
    hints: Hints,
    principal: Principal,
    request_id: str,
    started: float,
) -> Steps[RequestContext]:
    """Return the request with its decision; raises ApiError for names that do not exist or may not be used."""
    config = services.config.current
    registry, policy = config.registry, config.policy
    at = services.steady()
    routing = yield from _routing(services, chat, hints, principal, policy, at)
    yield
    _check_names(hints, registry)
    if principal.allowed_tasks is not None and str(routing.profile.task) not in principal.allowed_tasks:
        raise ApiError(403, f"this key may not be used for {routing.profile.task}", "task_not_allowed")
    asked, assigned = routing, None
    if services.experiments is not None and services.experiments.any_running:
        routing, assigned = enrol(services.experiments, chat, asked, registry, principal, at)
    try:
        decision = decide(routing, services.learner.view, registry, policy, at, services.rng)
        if assigned is not None and decision.chosen is None:  # nobody's request fails because of an experiment
            routing = asked
            decision = decide(routing, services.learner.view, registry, policy, at, services.rng)
    except UnknownModel as exc:
        message = f"{exc.message} GET /v1/models lists those that do; auto chooses among all."
        raise ApiError(404, message, "model_not_found", "model", should_retry=False) from exc
    except RequestError as exc:
        raise invalid(exc.message, f"router.{exc.param}" if exc.param else None, "invalid_hint") from exc
    own = hints.max_latency_ms is not None
    limit_s = policy.timeouts.total_s if hints.max_latency_ms is None else hints.max_latency_ms / 1000.0
    return RequestContext(
        request_id=request_id,
        decision_id=services.ids.new(services.clock.time()),
        principal=principal,
        chat=chat,
        hints=hints,
        routing=routing,
        decision=decision,
        registry=registry,
        policy=policy,
        started=started,
        at=at,
        deadline=started + min(limit_s, policy.timeouts.total_s),
        own_deadline=own and limit_s < policy.timeouts.total_s,
        recovery=_recovery(hints, registry, chat, policy),
        tags=tuple(dict.fromkeys((*principal.tags, *hints.tags))),
        experiment=assigned,
        shadowed=services.shadow is not None and services.shadow.wants(policy, principal, decision.mode, routing.n),
    )


def _routing(
    services: Services,
    chat: ChatRequest,
    hints: Hints,
    principal: Principal,
    policy: Policy,
    now: float,
) -> Steps[RoutingRequest]:
    prompt = read_prompt(chat.body)
    yield
    features = extract(prompt, services.embedder)
    yield
    if hints.task is not None:
        profile = TaskProfile(hints.task, evidence=("given by the request",))
    else:
        profile = classify(prompt, features, services.classifier, long_context_tokens=policy.long_context_tokens)
    session = services.sessions.get(principal.key_id, hints.session, now)
    return RoutingRequest(
        profile=profile,
        hints=hints,
        model=chat.model,
        input_tokens=features.input_tokens,
        max_output_tokens=chat.max_output_tokens,
        needs=needs_of(chat.body),
        stream=chat.stream,
        n=chat.n,
        features=features,
        allowed_models=principal.allowed_models,
        recent_providers=session.providers,
        warm_tokens=services.sessions.warm(session, now),
        cost_factors=services.pacing.factors(now) if services.pacing is not None else {},
    )


def _check_names(hints: Hints, registry: Registry) -> None:
    """Refuse names in hard hints that the registry does not have: a typo must not open or close a door silently."""
    for field in ("only", "exclude", "fallbacks"):
        for name in getattr(hints, field) or ():
            if name in registry.providers:
                if field != "fallbacks":
                    continue
            elif registry.knows(name):
                continue
            msg = f"router hint {field} names {name!r}, which is no provider, model or deployment here"
            raise invalid(msg, f"router.{field}", "invalid_hint")


def _recovery(hints: Hints, registry: Registry, chat: ChatRequest, policy: Policy) -> StreamRecovery:
    if hints.stream_recovery is not None:
        return hints.stream_recovery
    route = registry.routes.get(chat.model)
    own = route.stream_recovery if route is not None else None
    return own or policy.stream_recovery
