"""A process that calls ``litellm.acompletion`` without any server: the yardstick.

Reads one JSON line per round on standard input ``{"wire", "base", "count", "open", "stream"}`` and answers with one:
CPU seconds of this process, and the wall time of each call.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from typing import Any

for _name, _value in (
    ("LITELLM_LOCAL_MODEL_COST_MAP", "True"),
    ("LITELLM_MODE", "PRODUCTION"),
    ("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True"),
):
    os.environ.setdefault(_name, _value)

import litellm  # noqa: E402 - the environment above must stand first

litellm.suppress_debug_info = True
MESSAGES = json.loads(os.environ["BENCH_MESSAGES"])


async def one(job: dict[str, Any]) -> float:
    """Make one call; returns its wall time in seconds."""
    begin = time.perf_counter()
    answer = await litellm.acompletion(
        model=f"{job['wire']}/bench-model",
        messages=MESSAGES,
        api_base=job["base"],
        api_key="bench",
        stream=job["stream"],
        max_retries=0,
        max_tokens=400,
    )
    if job["stream"]:
        async for _ in answer:
            pass
    return time.perf_counter() - begin


async def round_of(job: dict[str, Any]) -> dict[str, Any]:
    """Make ``count`` calls, ``open`` at a time."""
    left = iter(range(job["count"]))
    walls: list[float] = []

    async def worker() -> None:
        walls.extend([await one(job) for _ in left])

    before = time.process_time()
    await asyncio.gather(*(worker() for _ in range(job["open"])))
    return {"cpu_s": time.process_time() - before, "walls": walls}


async def main() -> None:
    """Serve rounds until standard input ends."""
    print("ready", flush=True)
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        print(json.dumps(await round_of(json.loads(line))), flush=True)


if __name__ == "__main__":
    asyncio.run(main())
