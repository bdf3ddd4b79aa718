"""What an operator writes, as values: providers, deployments, routes and task preferences from one plain mapping.

The mapping has the shape of ``models.yaml``, without its ``${VAR}``: a secret is named (``key_ref``), never carried.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Any, Final

from router_core.deployment import Capability, Deployment, KeyState, Provider, QualityPrior
from router_core.mapping import Path, Problem, build, convert, fingerprint, refuse, suggest
from router_core.price import Price
from router_core.request import StreamRecovery
from router_core.task import TaskType

BUDGET_RANK: Final = 0.3
"""Below the last preferred one (0.5): a budget deployment wins against equals, never against a preferred one."""
SECTIONS: Final = ("providers", "deployments", "routes", "task_preferences", "judges")


class Order(StrEnum):
    """How a list of deployments is tried: best score first, as written, or drawn by weight."""

    SCORED = "scored"
    LISTED = "listed"
    WEIGHTED = "weighted"


@dataclass(frozen=True, slots=True)
class Route:
    """A name a client may ask for, and the deployments behind it.

    ``policy`` and ``stream_recovery`` replace the defaults for its requests (hints still win). ``weights`` (any
    numbers >= 0, only their ratio counts) replace the deployments' own for ``order: weighted``.
    """

    id: str
    deployments: tuple[str, ...]
    order: Order = Order.SCORED
    policy: str | None = None
    stream_recovery: StreamRecovery | None = None
    weights: Mapping[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Preference:
    """Deployments that suit a task: ``preferred`` best first, ``budget`` good enough when money matters."""

    preferred: tuple[str, ...] = ()
    budget: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Manifest:
    """All that was written, every reference spelled out as deployment ids."""

    providers: Mapping[str, Provider]
    deployments: Mapping[str, Deployment]
    routes: Mapping[str, Route]
    preferences: Mapping[str, Mapping[str, float]]
    judges: tuple[str, ...]


# What every deployment of a wire can do, whatever the model. "Whole" wires are OpenAI's own; hosts leave parts out.
_BASE: Final = frozenset({Capability.STREAMING, Capability.JSON_OBJECT, Capability.ANY_PARAMETER})
_WHOLE: Final = _BASE | {Capability.N, Capability.LOGPROBS}
_FOREIGN: Final = frozenset({Capability.STREAMING})
_WIRES: Final[Mapping[str, frozenset[Capability]]] = {
    "openai": _WHOLE,
    "custom_openai": _WHOLE,
    "openai_like": _WHOLE,
    "azure": _WHOLE,
    "hosted_vllm": _WHOLE,
    "lm_studio": _BASE,
    "llamafile": _BASE,
    "together_ai": _WHOLE,
    "fireworks_ai": _WHOLE,
    "xai": _BASE | {Capability.N},
    "mistral": _BASE | {Capability.N},
    "codestral": _BASE | {Capability.N},
    "deepseek": _BASE | {Capability.LOGPROBS},
    "anthropic": _FOREIGN,
    "bedrock": _FOREIGN,
    "gemini": _FOREIGN | {Capability.JSON_OBJECT},
    "vertex_ai": _FOREIGN | {Capability.JSON_OBJECT},
    "cohere": _FOREIGN | {Capability.JSON_OBJECT},
    "cohere_chat": _FOREIGN | {Capability.JSON_OBJECT},
    "ollama_chat": _FOREIGN | {Capability.JSON_OBJECT},
    "watsonx": _FOREIGN,
    "replicate": _FOREIGN,
}


def wire_capabilities(wire: str) -> frozenset[Capability]:
    """Return what a wire brings to each of its deployments; streaming and JSON mode where nothing more is known."""
    return _WIRES.get(wire, _BASE)


def read(data: Mapping[str, Any]) -> Manifest:
    """Compile a mapping; raises ConfigError naming the path of a wrong key, or every dead reference at once."""
    for key in data:
        if key not in SECTIONS:
            raise refuse((str(key),), f"unknown key{suggest(str(key), SECTIONS)}")
    providers = {name: _provider(name, entry) for name, entry in _section(data, "providers").items()}
    rows = data.get("deployments") or []
    if not isinstance(rows, list | tuple):
        raise refuse(("deployments",), "must be a list of deployments")
    found = [_deployment(entry, providers, ("deployments", index)) for index, entry in enumerate(rows)]
    if problems := list(dead_references(data)):
        raise refuse((), "\n".join(str(problem) for problem in problems))
    names = expansions((deployment.id, deployment.provider, deployment.model) for deployment in found)
    return Manifest(
        providers,
        {each.id: replace(each, fallbacks=_expand(each.fallbacks, names, but=each.id)) for each in found},
        {name: _route(name, entry, names) for name, entry in _section(data, "routes").items()},
        {task: _preference(entry, names, task) for task, entry in _section(data, "task_preferences").items()},
        _expand(convert(tuple[str, ...], data.get("judges") or (), ("judges",)), names),
    )


def expansions(rows: Iterable[tuple[str, str, str]]) -> dict[str, tuple[str, ...]]:
    """Map every id, and ``provider/model`` for itself and its ``#names``, to deployment ids.

    Rows are (id, provider, model).
    """
    found: dict[str, list[str]] = {}
    for identity, provider, model in rows:
        for name in dict.fromkeys((identity, f"{provider}/{model}", identity.partition("#")[0])):
            found.setdefault(name, []).append(identity)
    return {name: tuple(ids) for name, ids in found.items()}


def dead_references(data: Mapping[str, Any]) -> Iterator[Problem]:
    """Yield every name that leads nowhere and every id given twice. Malformed parts are passed over, not reported."""
    rows = [row for row in _items(data.get("deployments")) if isinstance(row[1], Mapping)]
    providers = list(_entries(data.get("providers")))
    known = expansions((str(row.get("id")), str(row.get("provider")), str(row.get("model"))) for _, row in rows)
    seen: dict[object, int] = {}
    for index, row in rows:
        where: Path = ("deployments", index)
        if (first := seen.setdefault(row.get("id"), index)) != index:
            yield Problem((*where, "id"), f"{row.get('id')!r} is already the id of deployments[{first}]")
        if "provider" in row and row["provider"] not in providers:
            wrong = str(row["provider"])
            yield Problem((*where, "provider"), f"no provider is named {wrong!r}{suggest(wrong, providers)}")
        yield from _unknown(row.get("fallbacks"), known, (*where, "fallbacks"))
        if row.get("id") in dict(_items(row.get("fallbacks"))).values():
            yield Problem((*where, "fallbacks"), "a deployment cannot be its own fallback")
    for name, route in _entries(data.get("routes")).items():
        if isinstance(route, Mapping):
            yield from _unknown(route.get("deployments"), known, ("routes", name, "deployments"))
            yield from _unknown(list(_entries(route.get("weights"))), known, ("routes", name, "weights"))
    for task, lists in _entries(data.get("task_preferences")).items():
        if task not in set(TaskType):
            yield Problem(("task_preferences", task), f"no task is named {task!r}{suggest(task, list(TaskType))}")
        for part, names in _entries(lists).items():
            yield from _unknown(names, known, ("task_preferences", task, part))
    yield from _unknown(data.get("judges"), known, ("judges",))


def _unknown(names: object, known: Mapping[str, object], path: Path) -> Iterator[Problem]:
    for index, name in _items(names):
        if isinstance(name, str) and name not in known:
            yield Problem((*path, index), f"no deployment is named {name!r}{suggest(name, known)}")


def _items(value: object) -> Iterator[tuple[int, Any]]:
    """Number the items of a list; nothing for what is no list."""
    yield from enumerate(value) if isinstance(value, list | tuple) else ()


def _entries(value: object) -> Mapping[str, Any]:
    return {str(key): item for key, item in value.items()} if isinstance(value, Mapping) else {}


def _section(data: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """Return a section; one that is left out or empty has no entries."""
    return _entries(_mapping(data.get(name) or {}, (name,)))


def _mapping(value: object, path: Path) -> Mapping[str, Any]:
    if not isinstance(value, Mapping):
        raise refuse(path, "must be a mapping")
    return value


def _provider(name: str, entry: object) -> Provider:
    path: Path = ("providers", name)
    data = dict(_mapping(entry, path))
    _name_key(data, name)
    return build(Provider, {**data, "id": name}, path)


def _name_key(data: dict[str, Any], owner: str) -> None:
    """Replace ``api_key`` by the name of the secret: ``${NAME}`` gives NAME, anything else the owner's own name."""
    key = data.pop("api_key", None)
    if isinstance(key, str) and "key_ref" not in data:
        named = key.startswith("${") and key.endswith("}")
        data["key_ref"] = key[2:-1].partition(":-")[0] if named else owner
    if data.get("key_ref"):
        data.setdefault("key_state", KeyState.PRESENT)


def _deployment(entry: object, providers: Mapping[str, Provider], path: Path) -> Deployment:
    data = dict(_mapping(entry, path))
    for name in ("id", "provider", "model"):
        if not isinstance(data.get(name), str) or not data[name]:
            raise refuse((*path, name), "is missing" if name not in data else "must be a name")
    provider = providers.get(data["provider"])
    if provider is None:
        raise refuse(
            (*path, "provider"), f"no provider is named {data['provider']!r}{suggest(data['provider'], providers)}"
        )
    _name_key(data, data["id"])
    own_state = data.pop("key_state", None)
    state = provider.key_state if own_state is None else convert(KeyState, own_state, (*path, "key_state"))
    data["callable"] = state is not KeyState.ABSENT
    data.setdefault("key_ref", provider.key_ref)
    data["price"] = _price(data, path)
    data["capabilities"] = _capabilities(data, provider, path)
    data["quality"] = {
        task: _quality(task, value, (*path, "quality", task))
        for task, value in _mapping(data.get("quality", {}), (*path, "quality")).items()
    }
    data.pop("estimated", None)  # says which numbers are estimates: for people
    return build(Deployment, data, path)


def _price(data: dict[str, Any], path: Path) -> Price:
    where = (*path, "price_usd_per_mtok")
    numbers = dict(_mapping(data.pop("price_usd_per_mtok", None) or {}, where))
    if "price_usd_per_request" in data:
        numbers["request_usd"] = data.pop("price_usd_per_request")
    price = build(Price, numbers, where)
    source, checked = str(data.pop("price_source", "")), str(data.pop("price_checked", ""))
    return replace(price, source=source, checked=checked, version=fingerprint(price, 8))


def _capabilities(data: dict[str, Any], provider: Provider, path: Path) -> frozenset[Capability]:
    """Return what was listed, plus what the wire and the model's kind bring, minus what it ``lacks``."""
    hint = frozenset[Capability]
    listed: frozenset[Capability] = convert(hint, data.pop("capabilities", ()), (*path, "capabilities"))
    lacks: frozenset[Capability] = convert(hint, data.pop("lacks", ()), (*path, "lacks"))
    if both := sorted(listed & lacks):
        raise refuse((*path, "lacks"), f"{both[0].value!r} is also listed in capabilities")
    found = listed | wire_capabilities(provider.wire)
    if provider.drop_params:  # what the wire cannot say is dropped and named, so it may be asked
        found |= {Capability.ANY_PARAMETER}
    if Capability.TOOLS in listed:
        found |= {Capability.PARALLEL_TOOLS}
    if data.get("reasoning") is True:
        found |= {Capability.REASONING}
    return found - lacks


def _quality(task: str, value: object, path: Path) -> QualityPrior:
    if task not in {"default", *TaskType}:
        raise refuse(path, f"no task is named {task!r}{suggest(task, ['default', *TaskType])}")
    if isinstance(value, int | float) and not isinstance(value, bool):
        value = {"mean": value}
    return build(QualityPrior, value, path)


def _route(name: str, entry: object, names: Mapping[str, tuple[str, ...]]) -> Route:
    path: Path = ("routes", name)
    route = build(Route, {**_mapping(entry, path), "id": name}, path)
    if not route.deployments:
        raise refuse((*path, "deployments"), "must list at least one deployment")
    if any(not 0.0 <= weight < float("inf") for weight in route.weights.values()):
        raise refuse((*path, "weights"), "must be finite numbers >= 0")
    weights = {each: weight for named, weight in route.weights.items() for each in names[named]}
    return replace(route, deployments=_expand(route.deployments, names), weights=weights)


def _preference(entry: object, names: Mapping[str, tuple[str, ...]], task: str) -> dict[str, float]:
    """Turn a task's two lists into ranks in [0, 1]; every ``#name`` of a listed ``provider/model`` has its rank."""
    written = build(Preference, entry, ("task_preferences", task))
    last = max(1, len(written.preferred) - 1)
    ranks = {each: BUDGET_RANK for named in written.budget for each in names[named]}
    for place, named in reversed(list(enumerate(written.preferred))):
        ranks.update(dict.fromkeys(names[named], 1.0 - 0.5 * place / last))
    return ranks


def _expand(named: Iterable[str], names: Mapping[str, tuple[str, ...]], but: str = "") -> tuple[str, ...]:
    return tuple(dict.fromkeys(each for name in named for each in names[name] if each != but))
