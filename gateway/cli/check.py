"""``moe-gateway check``: is the configuration right, and what would be live?"""

from __future__ import annotations

import argparse
import os
import sys
from pathlib import Path
from typing import Any

import orjson

from gateway.config.loader import LoadedConfig
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings, check_bind
from gateway.configured import load_config


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "check",
        help="validate the configuration",
        description="Validate models.yaml, policy.yaml and the environment; calls nobody. Exit code 2 when wrong.",
    )
    parser.add_argument("--config", dest="config_dir", type=Path, metavar="DIR", help="folder of the two files")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(args: argparse.Namespace) -> int:
    """Print what was read, or everything that is wrong with file, line and key."""
    try:
        settings = Settings.from_env(os.environ, {"config_dir": args.config_dir})
        check_bind(settings)
        config = load_config(settings)
    except ConfigInvalid as exc:
        if args.json:
            print(orjson.dumps({"ok": False, "problems": [str(each) for each in exc.problems]}).decode())
        else:
            print(exc, file=sys.stderr)
        return 2
    report = describe(config, settings)
    print(orjson.dumps(report, option=orjson.OPT_INDENT_2).decode() if args.json else as_text(report))
    return 0


def describe(config: LoadedConfig, settings: Settings) -> dict[str, Any]:
    """Return what the configuration says, without a secret."""
    registry = config.registry
    return {
        "ok": True,
        "version": config.version,
        "files": [str(path) for path in config.report.files if path.exists()],
        "providers": len(registry.providers),
        "deployments": len(registry.deployments),
        "live": [each.id for each in registry.deployments.values() if each.live],
        "no_key": dict(config.report.no_key),
        "routes": list(registry.routes),
        "policies": list(config.policy.policies),
        "filled": {name: list(keys) for name, keys in config.report.filled.items()},
        "warnings": [*config.report.warnings, *settings.warnings],
    }


def as_text(report: dict[str, Any]) -> str:
    """Return the report for people."""
    counts = f"{len(report['live'])} live, {len(report['no_key'])} without a key"
    lines = [
        f"configuration {report['version']} is right: {', '.join(report['files'])}",
        f"{report['providers']} providers, {report['deployments']} deployments: {counts}",
    ]
    if report["live"]:
        lines.append(f"live: {', '.join(report['live'])}")
    lines += [f"no key: {name} (set {variable})" for name, variable in report["no_key"].items()]
    if report["routes"]:
        lines.append(f"routes: {', '.join(report['routes'])}")
    lines += [f"from litellm's data: {name}: {', '.join(keys)}" for name, keys in report["filled"].items()]
    lines += [f"warning: {text}" for text in report["warnings"]]
    return "\n".join(lines)
