"""``moe-gateway backtest``: what would a policy have cost, and how good would it have been?"""

from __future__ import annotations

import argparse
import asyncio
import gzip
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import orjson

from gateway.backtest.corpus import Corpus, CorpusError, build, read_rows
from gateway.store_errors import StoreError


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "backtest",
        help="replay recorded outcomes, or the gateway's own log under another policy",
        description="Fit on recorded outcomes (JSON lines: prompt_id, prompt, model, score, input_tokens, "
        "output_tokens, cost_usd, optional n_tools) and replay others: the cost-quality curve against single models "
        "and simple routers. "
        "With --log, estimate from logged decisions what another policy.yaml would have earned.",
    )
    parser.add_argument("--train", nargs="+", type=Path, metavar="FILE", help="recordings to fit on")
    parser.add_argument("--test", nargs="+", type=Path, metavar="FILE", help="recordings to replay")
    parser.add_argument("--corpus", nargs="+", type=Path, metavar="FILE", help="recordings to split by fold")
    parser.add_argument("--test-fold", type=int, choices=range(5), help="fold to replay (default: each in turn)")
    parser.add_argument("--labels", type=int, metavar="N", help="use the scores of N training prompts (default: all)")
    parser.add_argument("--seed", type=int, default=0, help="draws labels, shuffles and resamples (default 0)")
    parser.add_argument("--only", default="", metavar="PREFIX", help="only prompts whose source label starts with it")
    parser.add_argument("--choices", type=Path, metavar="OUT", help="write {prompt_id, weight, model} lines")
    parser.add_argument("--online", action="store_true", help="learn while replaying, only chosen answers are scored")
    parser.add_argument("--shuffles", type=int, default=20, help="orders tried by --online (default 20)")
    parser.add_argument("--warm", type=int, default=300, help="prompts scored on every model first (default 300)")
    parser.add_argument("--cost-weight", type=float, default=20.0, metavar="W", help="quality per USD of --online")
    parser.add_argument("--log", type=Path, metavar="FILE", help="decision records with rewards, JSON lines")
    parser.add_argument("--store", metavar="URL", help="the same from a gateway's own store: its decisions and votes")
    parser.add_argument("--policy", type=Path, metavar="FILE", help="policy.yaml to compare with the logged one")
    parser.add_argument(
        "--config", dest="config_dir", type=Path, metavar="DIR", help="folder of models.yaml, for --log"
    )
    parser.add_argument("--json", action="store_true", help="print all figures as JSON")


def run(args: argparse.Namespace) -> int:
    """Print the figures; exit code 2 for wrong usage, 1 for unusable recordings."""
    if args.log is not None or args.store is not None:
        return _run_log(args)
    if bool(args.corpus) == bool(args.train and args.test):
        print("give --corpus FILE, or --train FILE with --test FILE, or --log FILE, or --store URL", file=sys.stderr)
        return 2
    try:
        splits = _splits(args)
        if args.online:
            from gateway.backtest.online import replay_online

            figures = replay_online(
                splits[0],
                shuffles=args.shuffles,
                warm=args.warm,
                per_usd=args.cost_weight,
                seed=args.seed,
                progress=_progress,
            )
            _print(figures, args.json, online_text)
            return 0
        from gateway.backtest.report import evaluate

        report = evaluate(splits, labels=args.labels, seed=args.seed)
    except (CorpusError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    if args.choices is not None:
        _write_choices(report, args.choices)
    _print(report.figures, args.json, as_text)
    return 0


def _splits(args: argparse.Namespace) -> list[tuple[Corpus, Corpus]]:
    if not args.corpus:
        train = build(read_rows(args.train), args.only, _progress)
        return [(train, build(read_rows(args.test), args.only, _progress, models=train.models))]
    corpus = build(read_rows(args.corpus), args.only, _progress)
    folds = corpus.folds
    held = [args.test_fold] if args.test_fold is not None else sorted(set(folds.tolist()))
    splits = [(corpus.take(folds != fold), corpus.take(folds == fold)) for fold in held]
    if any(not train.ids or not test.ids for train, test in splits):
        msg = "a fold is empty: these recordings cannot be split this way"
        raise CorpusError(msg)
    return splits


def _run_log(args: argparse.Namespace) -> int:
    from gateway.backtest.log import LogError, compare_records, read_log, read_policy

    if args.policy is None:
        print("--log and --store need --policy FILE", file=sys.stderr)
        return 2
    try:
        policy = read_policy(args.policy, args.config_dir)
        records = read_log(args.log) if args.log is not None else iter(asyncio.run(_stored(args.store)))
        figures = compare_records(records, policy, seed=args.seed)
    except (LogError, StoreError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1
    _print(figures, args.json, _log_text)
    return 0


async def _stored(url: str) -> list[dict[str, Any]]:
    from gateway.state import open_store
    from gateway.traffic import judged_decisions

    store = open_store(url)
    await store.open()
    try:
        return await judged_decisions(store)
    finally:
        await store.close()


def _write_choices(report: Any, path: Path) -> None:
    with gzip.open(path, "wb") if path.suffix == ".gz" else path.open("wb") as file:
        for weight, picks in zip(report.weights.tolist(), report.choices, strict=True):
            for prompt_id, pick in zip(report.prompt_ids, picks.tolist(), strict=True):
                line = {"prompt_id": prompt_id, "weight": weight, "model": report.models[pick]}
                file.write(orjson.dumps(line) + b"\n")


def _print(figures: dict[str, Any], as_json: bool, text: Any) -> None:  # noqa: FBT001
    if as_json:
        print(orjson.dumps(figures, option=orjson.OPT_INDENT_2 | orjson.OPT_SERIALIZE_NUMPY).decode())
    else:
        print(text(figures))


def as_text(figures: dict[str, Any]) -> str:
    """Return the static figures as a table; costs are multiples of the best single model's."""
    single = figures["best_single"]
    lines = [
        f"{figures['prompts']} prompts, labels: {figures['labels']}",
        f"best single: {single['model']}, quality {single['quality']:.4f}, {single['cost_usd']:.6f} USD a request",
        f"random: quality {figures['random']['quality']:.4f} at {figures['random']['cost']:.2f}x",
        "",
        f"{'method':<14}{'max':>8}{'100 %':>8}{'98 %':>8}{'95 %':>8}{'q@0.1x':>9}{'q@0.3x':>9}{'area':>8}",
    ]
    keys = ("max_quality", "cost_at_100", "cost_at_98", "cost_at_95", "quality_at_0.1x", "quality_at_0.3x", "area")
    widths = (8, 8, 8, 8, 9, 9, 8)
    for name, found in sorted(figures["methods"].items(), key=lambda item: -item[1]["area"]):
        cells = [_cell(found[key], width) for key, width in zip(keys, widths, strict=True)]
        lines.append(f"{name:<14}" + "".join(cells))
    spread = figures["methods"]["router"].get("interval_95", {})
    for share in ("100", "98", "95"):
        low, high = spread.get(f"cost_at_{share}", (None, None))
        lines.append(f"router, cost at {share} %: 95 % interval {_cell(low, 0)} to {_cell(high, 0)}")
    within = figures["methods"]["router"]["within_usd"]
    lines += [f"router within {usd} USD per request: {_cell(quality, 0)}" for usd, quality in within.items()]
    for name, found in figures.get("apgr", {}).items():
        if isinstance(found, dict) and "mean" in found:
            lines.append(f"APGR {name}: pooled {_cell(found['pooled'], 0)}, mean of folds {_cell(found['mean'], 0)}")
    return "\n".join(lines)


def _cell(value: float | None, width: int) -> str:
    return f"{'-' if value is None or np.isnan(value) else f'{value:.4f}':>{width}}"


def online_text(figures: dict[str, Any]) -> str:
    """Return the online figures as a table."""
    lines = [
        f"{figures['prompts']} prompts, {figures['shuffles']} shuffles, utility = quality - {figures['per_usd']} x USD"
    ]
    lines += [f"{'reference':<26}{'utility':>9}"]
    lines += [f"{name:<26}{value:>9.4f}" for name, value in figures["references"].items()]
    lines += ["", f"{'variant':<26}{'utility':>9}{'quality':>9}{'1000 x USD':>12}"]
    for name, found in figures["variants"].items():
        lines.append(
            f"{name:<26}{found['utility']:>9.4f}{found['quality']:>9.4f}{1000 * found['cost_usd']:>12.4f}"
            f"  {', '.join(f'{k} {v:.3f}' for k, v in found.get('notes', {}).items())}"
        )
    return "\n".join(lines)


def _log_text(figures: dict[str, Any]) -> str:
    lines = [
        f"{figures['decisions']} decisions, {figures['judged']} with a reward, agreement {figures['agreement']:.3f}"
    ]
    for name, found in figures["estimates"].items():
        low, high = found["interval_95"]
        lines.append(f"{name:<24}{found['value']:>9.4f}   95 % {_cell(low, 8)} to {_cell(high, 8)}")
    return "\n".join(lines + figures.get("warnings", []))


def _progress(done: int, total: int) -> None:
    if sys.stderr.isatty():
        print(f"\r{done}/{total}", end="" if done + 500 < total else "\n", file=sys.stderr, flush=True)


def main(argv: Sequence[str] | None = None) -> int:
    """Run the command alone: ``python -m gateway.cli.backtest``."""
    top = argparse.ArgumentParser()
    add_parser(top.add_subparsers(required=True))
    return run(top.parse_args(["backtest", *(argv if argv is not None else sys.argv[1:])]))


if __name__ == "__main__":
    raise SystemExit(main())
