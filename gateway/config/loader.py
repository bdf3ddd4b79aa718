"""Reads, checks and compiles ``models.yaml`` and ``policy.yaml``. Everything that is wrong is said at once.

What comes out is immutable. Keys stay in a map of their own; the registry knows only their names.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from pathlib import Path as FilePath
from typing import Any, Final

from gateway.config.document import Document
from gateway.config.explain import problems as shape_problems
from gateway.config.filling import FactsOf, fill
from gateway.config.interpolate import Key
from gateway.config.models_file import ModelsFile
from gateway.config.opened import Opened, entries, open_file, rows
from gateway.config.policy_file import PolicyFile
from gateway.config.problems import ConfigInvalid, Located
from gateway.secrets import Secret
from router_core.deployment import KeyState
from router_core.errors import ConfigError
from router_core.manifest import dead_references, expansions
from router_core.mapping import build, convert, fingerprint, spell, suggest
from router_core.policy import Policy, SpendCeiling, Weights
from router_core.registry import Registry

MODELS: Final = "models.yaml"
POLICY: Final = "policy.yaml"
_CEILINGS: Final = frozenset({"usd_per_hour", "usd_per_day"})


@dataclass(frozen=True, slots=True)
class ConfigReport:
    """What an operator should know of a configuration that is right.

    ``files`` were read and are watched. ``no_key`` are deployments whose key is absent, with the secret's name.
    ``filled`` says which keys of a deployment came from known facts. ``warnings`` are sentences.
    """

    files: tuple[FilePath, ...] = ()
    no_key: Mapping[str, str] = field(default_factory=dict)
    filled: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoadedConfig:
    """One configuration, compiled; ``secrets`` maps a deployment's ``key_ref`` to its value."""

    registry: Registry
    policy: Policy
    secrets: Mapping[str, Secret]
    report: ConfigReport

    @property
    def version(self) -> str:
        """Changes whenever the registry or the policy does (not with a key's value)."""
        return f"{self.registry.version}-{self.policy.version}"


def load(
    directory: FilePath,
    env: Mapping[str, str],
    facts: FactsOf | None = None,
    *,
    overlay: Mapping[str, Any] | None = None,
    wires: Collection[str] | None = None,
    addresses: Mapping[str, str | None] | None = None,
) -> LoadedConfig:
    """Load a directory; raises ConfigInvalid listing everything that is wrong with file, line and key.

    ``facts`` fills what deployments leave out. ``overlay`` (in the shape of ``Registry.from_mapping``) is added:
    built-in demo deployments come this way. ``wires`` are the known wires (None: any is taken); ``addresses`` maps a
    wire to its vendor's address, None for one that needs a ``base_url``. A missing ``policy.yaml`` means the defaults.
    """
    found: list[Located] = []
    models = open_file(directory / MODELS, env, found)
    policy = open_file(directory / POLICY, env, found, optional=True)
    if models is None or policy is None:
        raise ConfigInvalid(found)
    _check(models, policy)
    _check_wires(models, wires, addresses or {})
    filled = fill(models, facts)
    if found := models.document.problems + policy.document.problems:
        raise ConfigInvalid(found)
    compiled = _compile_policy(policy)
    mapping, secrets, warnings = _with_keys(models)
    registry = _registry(models, _merge(mapping, overlay or {}), compiled)
    names = {
        row["id"]: row.get("key_ref") or mapping["providers"][row["provider"]].get("key_ref")
        for row in mapping["deployments"]
    }
    no_key = {name: str(ref) for name, ref in names.items() if not registry.deployments[name].callable}
    files = (directory / MODELS, directory / POLICY, *sorted(models.values.files | policy.values.files))
    return LoadedConfig(registry, compiled, secrets, ConfigReport(files, no_key, filled, tuple(warnings)))


def _check(models: Opened, policy: Opened) -> None:
    """Note what is wrong in either file, and between them."""
    models.complain(shape_problems(ModelsFile, models.values.data))
    policy.complain(shape_problems(PolicyFile, policy.values.data))
    models.complain(dead_references(models.data))
    policies = list({**Policy().policies, **entries(policy.data.get("policies"))})
    default = policy.data.get("default_policy")
    if isinstance(default, str) and default not in policies:
        policy.document.complain(("default_policy",), f"no policy is named {default!r}{suggest(default, policies)}")
    for name, route in entries(models.data.get("routes")).items():
        wanted = entries(route).get("policy")
        if isinstance(wanted, str) and wanted not in policies:
            models.document.complain(
                ("routes", name, "policy"), f"no policy is named {wanted!r}{suggest(wanted, policies)}"
            )
    known = expansions((str(row.get("id")), str(row.get("provider")), str(row.get("model"))) for _, row in rows(models))
    for section, key in (("parallel", "judges"), ("shadow", "deployments")):
        names = entries(policy.data.get(section)).get(key)
        for index, name in enumerate(names if isinstance(names, list) else ()):
            if name not in known:
                message = f"no deployment is named {name!r}{suggest(str(name), known)}"
                policy.document.complain((section, key, index), message)


def _check_wires(models: Opened, wires: Collection[str] | None, addresses: Mapping[str, str | None]) -> None:
    """Note providers on a wire nobody knows, and those that leave out an address their wire has not."""
    placed = {str(row.get("provider")) for _, row in rows(models) if row.get("base_url")}
    for name, provider in entries(models.data.get("providers")).items():
        wire, path = entries(provider).get("wire"), ("providers", name)
        if not isinstance(wire, str):
            continue
        if wires is not None and wire not in wires:
            models.document.complain((*path, "wire"), f"no wire is named {wire!r}{suggest(wire, sorted(wires))}")
        elif addresses.get(wire, wire) is None and not provider.get("base_url") and name not in placed:
            models.document.complain((*path, "base_url"), f"is missing: wire {wire!r} has no address of its own")


def _with_keys(models: Opened) -> tuple[dict[str, Any], dict[str, Secret], list[str]]:
    """Return the file in the core's shape, secrets by name, and warnings."""
    mapping = ModelsFile.model_validate(models.data).model_dump(exclude_unset=True)
    mapping.setdefault("providers", {})
    mapping.setdefault("deployments", [])
    secrets: dict[str, Secret] = {}
    warnings: list[str] = []
    for path, key in models.values.keys.items():
        section, which = path
        owner = mapping[str(section)][which]
        owner["key_ref"] = key.ref
        owner["key_state"] = KeyState.PRESENT if key.value else KeyState.ABSENT
        if key.value:
            secrets[key.ref] = Secret(key.value)
        if key.literal and key.value:
            line = models.document.lines.get((*path, "api_key"), 0)
            warnings.append(
                f"{models.document.file}:{line}: a key is written in the file; use ${{VAR}} or ${{file:PATH}}"
            )
        _warn_plain(owner, key, warnings)
    return mapping, secrets, warnings


def _warn_plain(owner: Mapping[str, Any], key: Key, warnings: list[str]) -> None:
    """Warn of a key that travels unencrypted to another machine."""
    url = str(owner.get("base_url") or "")
    host = (
        url.removeprefix("http://").partition("/")[0].rpartition(":")[0]
        or url.removeprefix("http://").partition("/")[0]
    )
    if key.value and url.startswith("http://") and host not in {"localhost", "127.0.0.1", "[::1]"}:
        warnings.append(f"the key {key.ref} travels unencrypted to {host}; use https")


def _merge(mapping: Mapping[str, Any], overlay: Mapping[str, Any]) -> dict[str, Any]:
    """Add an overlay: its providers and routes win, its deployments come first, its preferences are put in front."""
    merged = dict(mapping)
    for section in ("providers", "routes"):
        merged[section] = {**entries(mapping.get(section)), **entries(overlay.get(section))}
    for section in ("deployments", "judges"):
        merged[section] = [*overlay.get(section, ()), *mapping.get(section, ())]
    preferences = {str(task): dict(lists) for task, lists in entries(mapping.get("task_preferences")).items()}
    for task, lists in entries(overlay.get("task_preferences")).items():
        mine = preferences.setdefault(task, {})
        for name, listed in lists.items():
            mine[name] = [*listed, *mine.get(name, ())]
    merged["task_preferences"] = preferences
    return merged


def _registry(models: Opened, mapping: Mapping[str, Any], policy: Policy) -> Registry:
    try:
        return Registry.from_mapping(mapping, policy.policies)
    except ConfigError as exc:
        raise ConfigInvalid(_placed(models.document, line) for line in str(exc).splitlines()) from exc


def _placed(document: Document, complaint: str) -> Located:
    """Give a complaint of the core, ``key: message``, the line of its key."""
    lines = {spell(path): line for path, line in document.lines.items()}
    key, _, message = complaint.partition(": ")
    return (
        Located(document.file, lines[key], key, message) if key in lines else Located(document.file, 0, "", complaint)
    )


def _compile_policy(opened: Opened) -> Policy:
    """Make the policy; its own constructors may still refuse a combination."""
    values = PolicyFile.model_validate(opened.data).model_dump(exclude_unset=True)
    if "stream" in values:
        values["stream_keepalive_s"] = values.pop("stream").get("keepalive_s")
    try:
        if "policies" in values:
            values |= _policies(values["policies"])
        policy = build(Policy, values)
    except ConfigError as exc:
        raise ConfigInvalid([_placed(opened.document, str(exc))]) from exc
    return policy.replace(version=fingerprint(policy.replace(version="")))


def _policies(sections: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """Part weights from spend ceilings; a built-in policy that is only given a ceiling keeps its weights."""
    known = Policy().policies
    ceilings = {name: {key: own[key] for key in _CEILINGS if key in own} for name, own in sections.items()}
    ceilings = {name: own for name, own in ceilings.items() if any(own.values())}
    weights = {
        name: {key: value for key, value in own.items() if key not in _CEILINGS}
        for name, own in sections.items()
        if not (name in known and name in ceilings and own.keys() <= _CEILINGS)
    }
    return {
        "policies": {**known, **convert(Mapping[str, Weights], weights, ("policies",))},
        "ceilings": convert(Mapping[str, SpendCeiling], ceilings, ("policies",)),
    }
