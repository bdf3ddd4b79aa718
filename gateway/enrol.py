"""Does this request take part in an experiment, and as what?

Who takes part may not depend on the arm, or the arms would be different crowds: a request that one arm could not serve
(a capability, a list, the key) stays out altogether.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from gateway.experiments import Experiments
from gateway.http.wire import ChatRequest
from gateway.keys import Principal
from router_core.eligibility import refuse_static
from router_core.experiment import Assignment, Experiment, assign
from router_core.registry import Registry
from router_core.request import Mode, RoutingRequest

_ALIAS: Final = "auto"


def enrol(
    experiments: Experiments,
    chat: ChatRequest,
    routing: RoutingRequest,
    registry: Registry,
    principal: Principal,
    now: float,
) -> tuple[RoutingRequest, Assignment | None]:
    """Return the request as its arm asks for it, and the arm; the request as it is, and None, when it takes no part.

    Tags are the key's own, which a client cannot choose. An arm that is a deployment becomes the request's model, one
    that is a policy its policy.
    """
    if routing.hints.mode not in {None, Mode.SINGLE} or not registry.knows(chat.model):
        return routing, None
    alias = chat.model.partition(":")[0] == _ALIAS
    if not alias and chat.model not in registry.routes:
        return routing, None
    route = None if alias else chat.model
    for experiment in experiments.candidates(str(routing.profile.task), principal.tags, route, now):
        if _fits(experiment, routing, registry):
            assigned = Assignment(experiment.id, assign(experiment, unit_of(chat, routing, principal)))
            return _as_arm(routing, assigned), assigned
    return routing, None


def unit_of(chat: ChatRequest, routing: RoutingRequest, principal: Principal) -> str:
    """Return what sticks to one arm: the session, else the body's ``user``, else the key; all of them the key's own."""
    if routing.hints.session is not None:
        return f"{principal.key_id}|session|{routing.hints.session}"
    user = chat.body.get("user")
    return f"{principal.key_id}|user|{user}" if isinstance(user, str) and user else principal.key_id


def _fits(experiment: Experiment, routing: RoutingRequest, registry: Registry) -> bool:
    """Say whether every arm could be given: no policy was asked for where arms are policies, all deployments may."""
    for arm in experiment.arms:
        if arm.policy is not None and (
            routing.hints.policy is not None or registry.resolve(routing.model).policy is not None
        ):
            return False
        if arm.deployment is not None:
            deployment = registry.deployments.get(arm.deployment)
            if deployment is None or refuse_static(deployment, routing) is not None:
                return False
    return True


def _as_arm(routing: RoutingRequest, assigned: Assignment) -> RoutingRequest:
    arm = assigned.arm
    if arm.deployment is not None:
        return replace(routing, model=arm.deployment)
    return replace(routing, hints=replace(routing.hints, policy=arm.policy))
