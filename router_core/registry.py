"""The immutable set of everything that can be called, with every name a client may ask for looked up beforehand.

One dictionary look-up resolves a name; a reload makes a new registry and swaps the reference.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, Final, NamedTuple

from router_core.deployment import Capability, Deployment, Provider
from router_core.errors import UnknownModel
from router_core.manifest import Manifest, Order, Route, read
from router_core.mapping import fingerprint, refuse, suggest
from router_core.request import StreamRecovery

AUTO: Final = "auto"
POLICIES: Final = ("balanced", "quality", "cost", "speed")
_ECHO: Final = 128


@dataclass(frozen=True, slots=True)
class Resolved:
    """What a requested name stands for.

    ``candidates`` in the registry's order, for a route in the route's, with the route's weights put in. ``policy`` is
    the name's own (None: the default). ``pinned``: the client named one deployment (or its ``#names``), so others are
    reached through ``fallbacks`` only. ``route`` and ``stream_recovery`` are set for a route. ``pool`` are the
    candidates by id, ``window`` is the smallest context window among them, ``memo`` belongs to ``ask_static``.
    """

    candidates: tuple[Deployment, ...]
    order: Order = Order.SCORED
    policy: str | None = None
    pinned: bool = False
    route: str | None = None
    stream_recovery: StreamRecovery | None = None
    pool: Mapping[str, Deployment] = field(init=False, repr=False, compare=False)
    window: int = field(init=False, repr=False, compare=False)
    memo: dict[tuple[Any, ...], Any] = field(init=False, repr=False, compare=False, default_factory=dict)

    def __post_init__(self) -> None:
        """Look the candidates up once."""
        object.__setattr__(self, "pool", {deployment.id: deployment for deployment in self.candidates})
        object.__setattr__(self, "window", min([each.context_window for each in self.candidates], default=0))


class ModelEntry(NamedTuple):
    """One row of the list of models: its kind is alias, route, model or deployment."""

    id: str
    kind: str
    owned_by: str
    deployments: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Registry:
    """Providers, deployments (in the order written), routes and task preferences, cross-checked and indexed.

    ``preferences`` maps task -> deployment id -> [0, 1]; ``judges`` are asked for verdicts, first one first.
    ``version`` changes whenever the content does. Made by ``from_mapping``.
    """

    providers: Mapping[str, Provider]
    deployments: Mapping[str, Deployment]
    routes: Mapping[str, Route] = field(default_factory=dict)
    preferences: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    judges: tuple[str, ...] = ()
    version: str = ""
    _names: Mapping[str, Resolved] = field(default_factory=dict, repr=False)
    _models: tuple[ModelEntry, ...] = field(default=(), repr=False)

    @classmethod
    def from_mapping(cls, data: Mapping[str, Any], policies: Iterable[str] = POLICIES) -> Registry:
        """Compile a mapping of the shape of ``models.yaml``.

        ``policies`` are the names behind ``auto:<policy>`` and a route's ``policy``. A secret is named by ``key_ref``
        (or ``api_key: "${NAME}"``) and never kept. Raises ConfigError naming the path of a wrong key.
        """
        manifest = read(data)
        known = tuple(policies)
        _check_routes(manifest, known)
        names = _index(manifest, known)
        return cls(
            MappingProxyType(manifest.providers),
            MappingProxyType(manifest.deployments),
            MappingProxyType(manifest.routes),
            manifest.preferences,
            manifest.judges,
            fingerprint((manifest, known)),
            names,
            _list_models(manifest, names),
        )

    def resolve(self, model: str) -> Resolved:
        """Return what a requested name stands for; raises UnknownModel.

        A route wins over a model of the same name, a deployment's id over both.
        """
        found = self._names.get(model)
        if found is None:
            shown = model if len(model) <= _ECHO else f"{model[:_ECHO]}…"
            message = f"The model {shown!r} does not exist."
            raise UnknownModel(message, param="model")
        return found

    def knows(self, name: str) -> bool:
        """Return whether ``resolve`` would find a name."""
        return name in self._names

    def preference(self, task: str, deployment_id: str) -> float:
        """Return how much the operator's lists favour a deployment for a task, in [0, 1].

        The first preferred one has 1, the last 0.5, those between on the line between them; one that is only on the
        budget list 0.3: it should win against equals, never against the least of the preferred. Others have 0.
        """
        ranks = self.preferences.get(task)
        return 0.0 if ranks is None else ranks.get(deployment_id, 0.0)

    def models(self) -> tuple[ModelEntry, ...]:
        """Return every name a client may ask for: aliases, routes, models, deployments."""
        return self._models

    def of_provider(self, provider: str) -> tuple[Deployment, ...]:
        """Return a provider's deployments in the order written; none for a provider nobody knows."""
        return tuple(each for each in self.deployments.values() if each.provider == provider)

    def able(self, *needs: Capability) -> tuple[Deployment, ...]:
        """Return the deployments that have every one of these capabilities."""
        return tuple(each for each in self.deployments.values() if each.capabilities.issuperset(needs))


def _check_routes(manifest: Manifest, policies: tuple[str, ...]) -> None:
    for name, route in manifest.routes.items():
        if name in {AUTO, *manifest.deployments} or name.startswith(f"{AUTO}:"):
            raise refuse(("routes", name), "the name is taken by an alias or a deployment")
        if route.policy is not None and route.policy not in policies:
            raise refuse(
                ("routes", name, "policy"), f"no policy is named {route.policy!r}{suggest(route.policy, policies)}"
            )


def _index(manifest: Manifest, policies: tuple[str, ...]) -> dict[str, Resolved]:
    """Resolve every name once; what is written later in this function wins."""
    everything = tuple(manifest.deployments.values())
    found: dict[str, Resolved] = {}
    for model, candidates in _grouped((each.model, each) for each in everything).items():
        found[model] = Resolved(candidates)
    for route in manifest.routes.values():
        found[route.id] = _of_route(route, manifest.deployments)
    pins = ((name, each) for each in everything for name in _pins(each))
    for name, candidates in _grouped(pins).items():
        found[name] = Resolved(candidates, pinned=True)
    found[AUTO] = Resolved(everything)
    found.update({f"{AUTO}:{policy}": Resolved(everything, policy=policy) for policy in policies})
    return found


def _pins(deployment: Deployment) -> tuple[str, ...]:
    """Return the names that pin a deployment: its id, its id without ``#name``, and ``provider/model``."""
    names = (deployment.id, deployment.id.partition("#")[0], f"{deployment.provider}/{deployment.model}")
    return tuple(dict.fromkeys(names))


def _grouped(pairs: Iterable[tuple[str, Deployment]]) -> dict[str, tuple[Deployment, ...]]:
    found: dict[str, list[Deployment]] = {}
    for name, deployment in pairs:
        found.setdefault(name, []).append(deployment)
    return {name: tuple(group) for name, group in found.items()}


def _of_route(route: Route, deployments: Mapping[str, Deployment]) -> Resolved:
    candidates = tuple(
        replace(deployments[each], weight=route.weights.get(each, deployments[each].weight))
        for each in route.deployments
    )
    return Resolved(candidates, route.order, route.policy, route=route.id, stream_recovery=route.stream_recovery)


def _list_models(manifest: Manifest, names: Mapping[str, Resolved]) -> tuple[ModelEntry, ...]:
    def ids(name: str) -> tuple[str, ...]:
        return tuple(each.id for each in names[name].candidates)

    rows = [ModelEntry(name, "alias", "router", ids(name)) for name in names if name.partition(":")[0] == AUTO]
    rows += [ModelEntry(name, "route", "router", ids(name)) for name in manifest.routes]
    seen = {row.id for row in rows}
    for each in manifest.deployments.values():
        vendor = manifest.providers[each.provider].vendor or each.provider
        if each.model not in seen and not names[each.model].pinned:
            seen.add(each.model)
            rows.append(ModelEntry(each.model, "model", vendor, ids(each.model)))
    rows += [
        ModelEntry(each.id, "deployment", manifest.providers[each.provider].vendor or each.provider, (each.id,))
        for each in manifest.deployments.values()
    ]
    return tuple(rows)
