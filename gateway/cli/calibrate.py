"""``moe-gateway calibrate``: measure every deployment on your prompts before anything goes live."""

from __future__ import annotations

import argparse
import asyncio
import os
import sys
from collections.abc import Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import orjson

from gateway.calibrate import CalibrationError, Log, Run, Task, read_prompts
from gateway.calibrate import run as run_calibration
from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.state import open_store
from gateway.store_errors import StoreError
from gateway.traffic import sampled_prompts

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

TIMEOUT_S = 300.0


def add_parser(commands: Any) -> None:
    """Add the command."""
    parser = commands.add_parser(
        "calibrate",
        help="measure every deployment on your prompts, within a budget",
        description="Ask every deployment the prompts of a file, score the answers (expected answer, blind judge, or "
        "form), fit the quality model and write a calibration file and a report. Nothing goes live by it: point the "
        "server at the file when the report convinces you.",
    )
    prompts = parser.add_mutually_exclusive_group(required=True)
    prompts.add_argument("--prompts", type=Path, metavar="FILE", help="JSON lines, or .txt with one a line")
    prompts.add_argument(
        "--sample",
        type=int,
        metavar="N",
        help="N prompts of the gateway's own traffic (capture.enabled in policy.yaml)",
    )
    parser.add_argument("--store", metavar="URL", help="the gateway's store, for --sample (default: MOE_STORE_URL)")
    parser.add_argument("--budget-usd", type=float, required=True, help="hard bound on calls and judges together")
    parser.add_argument("--config", dest="config_dir", type=Path, metavar="DIR", help="folder of the two files")
    parser.add_argument("--url", help="a running gateway (default: one is started in this process)")
    parser.add_argument("--deployments", nargs="+", metavar="ID", help="only these (default: all that are callable)")
    parser.add_argument("--judge", metavar="ID", help="deployment that grades; best one that is not measured itself")
    parser.add_argument("--out", type=Path, default=Path("calibration.json"), help="file to write (calibration.json)")
    parser.add_argument("--resume", action="store_true", help="go on with the answers of a run that was stopped")


def run(args: argparse.Namespace) -> int:
    """Run; exit code 0 when a calibration was written, 1 when there was too little to fit, 2 for wrong usage."""
    if args.sample is not None and args.sample < 1:
        print("--sample must be at least 1", file=sys.stderr)
        return 2
    if not 0.0 < args.budget_usd < float("inf"):
        print("--budget-usd must be a positive number", file=sys.stderr)
        return 2
    try:
        tasks = read_prompts(args.prompts) if args.prompts is not None else asyncio.run(_sample(args))
        return asyncio.run(_run(args, tasks))
    except (CalibrationError, ConfigInvalid, StoreError, OSError) as exc:
        print(exc, file=sys.stderr)
        return 1


async def _sample(args: argparse.Namespace) -> list[Task]:
    """Draw prompts from the store; the draw is kept beside the answers, so that ``--resume`` goes on with the same."""
    kept = args.out.with_suffix(".prompts.jsonl")
    if args.resume and kept.exists():
        return read_prompts(kept)
    store = open_store(args.store or Settings.from_env(os.environ, {}).store_url)
    await store.open()
    try:
        tasks = await sampled_prompts(store, args.sample)
    finally:
        await store.close()
    kept.write_bytes(b"".join(orjson.dumps({"id": task.id, "request": task.body}) + b"\n" for task in tasks))
    kept.chmod(0o600)
    return tasks


async def _run(args: argparse.Namespace, tasks: Sequence[Task]) -> int:
    from gateway.calibration import save
    from gateway.calibration_report import conclude, markdown, svg

    async with _gateway(args) as (client, known):
        names = list(args.deployments or known)
        if len(names) < 2:
            print("a calibration compares at least two deployments", file=sys.stderr)
            return 2
        if args.judge in names:
            print(f"note: {args.judge} judges its own answers too", file=sys.stderr)
        key = os.environ.get("MOE_API_KEY") or os.environ.get("MOE_API_KEYS", "").split(",")[0]
        headers = {"authorization": f"Bearer {key.strip()}"} if key.strip() else {}
        log = Log(args.out.with_suffix(".answers.jsonl"), resume=args.resume)
        work = Run(client, names, args.budget_usd, log, args.judge, headers, _progress)
        await run_calibration(work, tasks)
    if work.stopped:
        print(work.stopped, file=sys.stderr)
    found = conclude(tasks, log.answers, names, log.spent_usd)
    save(found.calibration, args.out)
    picture, report = args.out.with_suffix(".svg"), args.out.with_suffix(".md")
    picture.write_text(svg(found), encoding="utf-8")
    report.write_text(markdown(found, picture.name), encoding="utf-8")
    print(markdown(found, picture.name))
    print(f"written: {args.out}, {report}, {picture}")
    return 0


@asynccontextmanager
async def _gateway(args: argparse.Namespace) -> AsyncIterator[tuple[httpx.AsyncClient, list[str]]]:
    """Yield a client of a gateway and the deployments it can call: a running one, or one of this process."""
    if args.url is not None:
        async with httpx.AsyncClient(base_url=args.url, timeout=TIMEOUT_S) as client:
            yield client, await _listed(client)
        return
    from gateway.app import build, load_with_demo, start, stop
    from gateway.http.asgi import GatewayApp

    given = {"config_dir": args.config_dir, "store_url": "memory://"}
    settings = Settings.from_env(os.environ, {name: value for name, value in given.items() if value is not None})
    holder, fleet = await load_with_demo(settings)
    services = build(settings, holder, fleet)
    await start(services)
    try:
        transport = httpx.ASGITransport(app=GatewayApp(services))
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1", timeout=TIMEOUT_S) as client:
            registry = holder.current.registry
            yield client, [each.id for each in registry.deployments.values() if each.live]
    finally:
        await stop(services)


async def _listed(client: httpx.AsyncClient) -> list[str]:
    key = os.environ.get("MOE_API_KEY", "")
    response = await client.get("/v1/models", headers={"authorization": f"Bearer {key}"} if key else {})
    if response.status_code != 200:
        msg = f"the gateway answered {response.status_code} when asked for its models"
        raise CalibrationError(msg)
    return [str(each["id"]) for each in response.json()["data"] if each.get("kind") == "deployment"]


def _progress(done: int, total: int, usd: float) -> None:
    filled = 30 * done // max(1, total)
    end = "\n" if done == total or not sys.stderr.isatty() else ""
    start = "\r" if sys.stderr.isatty() else ""
    print(
        f"{start}[{'#' * filled}{'.' * (30 - filled)}] {done}/{total}  {usd:.4f} USD",
        end=end,
        file=sys.stderr,
        flush=True,
    )
