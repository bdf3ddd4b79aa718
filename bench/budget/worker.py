"""One worker process: many clients that spend from one budget until it says 402. Started by ``run``.

What a call really costs is written to a file the moment the "provider" is called, so that the truth outlives a kill.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import sys
import time
from typing import Any

from gateway.budgets import Budgets, Refusal
from gateway.keys import Principal
from gateway.state import open_store
from router_core.budget import Budget, Window
from router_core.policy import BudgetPolicy


async def client(budgets: Budgets, key: Principal, terms: dict[str, float], truth: int, seen: dict[str, int]) -> None:
    rng = random.Random()
    while True:
        held = await budgets.reserve(key, terms["worst"])
        if isinstance(held, Refusal):
            seen[held.code] = seen.get(held.code, 0) + 1
            if held.status == 402:
                return
            await asyncio.sleep(0.05 + 0.1 * rng.random())
            continue
        os.write(truth, b"x")
        await asyncio.sleep(terms["call_s"] * rng.uniform(0.5, 1.5))
        budgets.settle(held, terms["actual"])
        seen["calls"] = seen.get("calls", 0) + 1


async def everybody(terms: dict[str, Any]) -> None:
    """Wait until all workers are there: a worker is no faster than it starts."""
    ready = os.open(terms["ready"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    os.write(ready, b"x")
    while os.fstat(ready).st_size < terms["workers"]:  # noqa: ASYNC110 - the others are processes
        await asyncio.sleep(0.01)


async def main() -> None:
    terms = json.loads(sys.argv[1])
    store = open_store(terms["store"])
    await store.open()
    policy = BudgetPolicy(lease_s=terms["lease_s"], wait_max_s=1.0)
    budgets = Budgets(store, lambda: policy)
    budgets.start()
    await everybody(terms)
    truth = os.open(terms["truth"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    key = Principal("bench", budgets=(Budget(Window.TOTAL, terms["budget"]),))
    seen: dict[str, int] = {}
    begun = time.monotonic()
    await asyncio.gather(*(client(budgets, key, terms, truth, seen) for _ in range(int(terms["clients"]))))
    await budgets.stop()
    await store.close()
    print(json.dumps({**seen, "waited": budgets.counters["waited"], "seconds": round(time.monotonic() - begun, 2)}))


if __name__ == "__main__":
    asyncio.run(main())
