"""``moe-gateway explain "<prompt>"``: who would answer this, and why? Calls nobody."""

from __future__ import annotations

import argparse
import os
import random
import sys
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import orjson

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.configured import load_config
from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.decision import Decision
from router_core.errors import RequestError
from router_core.features import extract
from router_core.prompt import read_prompt
from router_core.record import to_record
from router_core.registry import Registry
from router_core.request import Hints, RoutingRequest
from router_core.router import decide
from router_core.snapshot import Snapshot


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "explain",
        help="show the decision for a prompt",
        description="Classify a prompt and show the whole decision without calling anybody. Deployments without a key "
        "are considered too, unless --live is given.",
    )
    parser.add_argument("prompt", help="the prompt, or - for standard input")
    parser.add_argument("--config", dest="config_dir", type=Path, metavar="DIR", help="folder of the two files")
    parser.add_argument("--policy", help="balanced, quality, cost, speed, or one of policy.yaml")
    parser.add_argument("--model", default="auto", help="alias, route, model or deployment (default auto)")
    parser.add_argument("--max-cost-usd", type=float, help="hard cost limit of the request")
    parser.add_argument("--live", action="store_true", help="only deployments whose key is present")
    parser.add_argument("--json", action="store_true", help="print the decision record as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the decision; exit code 1 when nobody could answer, 2 for a wrong configuration or hint."""
    text = sys.stdin.read() if args.prompt == "-" else args.prompt
    try:
        settings = Settings.from_env(os.environ, {"config_dir": args.config_dir})
        config = load_config(settings)
        registry = config.registry if args.live else with_keys(config.registry)
        request = ask(text, args, config.policy.long_context_tokens)
        policy = config.policy.replace(exploration=replace(config.policy.exploration, share=0.0, probe_share=0.0))
        decision = decide(request, Snapshot.empty(), registry, policy, time.time(), random.Random(0))  # noqa: S311
    except (ConfigInvalid, RequestError) as exc:
        print(exc, file=sys.stderr)
        return 2
    if args.json:
        print(orjson.dumps(to_record(request, decision), option=orjson.OPT_INDENT_2, default=str).decode())
    else:
        print(as_text(decision))
    return 0 if decision.chosen is not None else 1


def ask(text: str, args: argparse.Namespace, long_context_tokens: int) -> RoutingRequest:
    """Return the request a prompt makes."""
    prompt = read_prompt({"messages": [{"role": "user", "content": text}]})
    features = extract(prompt, load_embedder())
    profile = classify(prompt, features, load_classifier(), long_context_tokens=long_context_tokens)
    hints = Hints(policy=args.policy, max_cost_usd=args.max_cost_usd)
    return RoutingRequest(profile, hints, args.model, features.input_tokens, features=features)


def with_keys(registry: Registry) -> Registry:
    """Return the registry as it would be with every key present."""
    deployments = {name: replace(each, callable=True) for name, each in registry.deployments.items()}
    names = {
        name: replace(found, candidates=tuple(replace(each, callable=True) for each in found.candidates))
        for name, found in registry._names.items()  # noqa: SLF001 - a view for explaining, never served from
    }
    return replace(registry, deployments=deployments, _names=names)


def as_text(decision: Decision, most: int = 8) -> str:
    """Return the decision for people: task, sentence, a table of candidates, refusals."""
    profile = decision.profile
    second = f", then {profile.runner_up}" if profile.runner_up else ""
    lines = [f"task       {profile.task} ({profile.confidence:.2f}{second})"]
    lines += [f"           {reason}" for reason in profile.evidence[:4]]
    lines += [f"policy     {decision.policy}", f"why        {decision.rationale}", ""]
    head = ("deployment", "score", "qual", "cost", "perf", "learn", "pref", "div", "vend", "adj", "exp. USD")
    lines.append(f"{head[0]:34}" + "".join(f"{name:>8}" for name in head[1:-1]) + f"{head[-1]:>10}")
    for item in decision.ranking[:most]:
        cells = "".join(f"{value:8.1f}" for value in (item.shown_score, *item.terms))
        lines.append(f"{item.deployment:34}{cells}{item.adjustment:8.2f}{item.facts.expected_cost_usd:10.6f}")
    if len(decision.ranking) > most:
        lines.append(f"… and {len(decision.ranking) - most} more")
    lines += [f"refused    {item.deployment}: {item.rule}, {item.detail}" for item in decision.rejections[:most]]
    return "\n".join(lines)
