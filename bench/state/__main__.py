"""``python -m bench.state``: milliseconds of an exchange and a lease, and the event loop's lag while Redis is away.

The lag is how late a 1 ms timer fires beside the running exchange: what a request would feel of an outage.
"""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from statistics import median, quantiles

from gateway.state import Exchanger, open_store
from router_core.budget import LeaseRequest
from router_core.ports import Batch, StateStore
from tests.fakes.ports import free_port

_SERIES = {f"acme/m{n}|general": {f"f{k}": 1.0 for k in range(12)} for n in range(20)}


async def timed(work: Callable[[int], Awaitable[object]], times: int) -> str:
    spans = []
    for number in range(times):
        begun = time.perf_counter()
        await work(number)
        spans.append((time.perf_counter() - begun) * 1000.0)
    return f"median {median(spans):6.2f} ms, p99 {quantiles(spans, n=100)[98]:6.2f} ms"


async def cost(name: str, store: StateStore) -> None:
    await store.open()
    cursor = ""

    async def exchange(number: int) -> None:
        nonlocal cursor
        await store.push(Batch(f"w:{number + 1}", _SERIES))
        cursor = (await store.pull(cursor)).cursor

    async def lease(number: int) -> None:
        await store.lease(LeaseRequest("key:k|total", "w", number + 1, 10**15, need=1, want=1))

    print(f"{name:8} exchange of 20 series x 12 fields: {await timed(exchange, 300)}; lease: {await timed(lease, 300)}")
    await store.close()


async def lag(seconds: float) -> str:
    late = []
    until = time.perf_counter() + seconds
    while (begun := time.perf_counter()) < until:
        await asyncio.sleep(0.001)
        late.append((time.perf_counter() - begun - 0.001) * 1000.0)
    cuts = quantiles(late, n=1000)
    return f"median {median(late):5.2f} ms, p99 {cuts[989]:5.2f} ms, worst {max(late):5.1f} ms"


async def outage(url: str, redis: subprocess.Popen[bytes], seconds: float) -> None:
    store = open_store(url)
    await store.open()
    exchanger = Exchanger(store, collect=lambda: [Batch("", _SERIES)], apply=())
    exchanger.start()
    print(f"loop lag with Redis well:    {await lag(seconds)}")
    redis.send_signal(signal.SIGSTOP)
    print(f"loop lag with Redis hanging: {await lag(seconds)}")
    redis.send_signal(signal.SIGCONT)
    await asyncio.sleep(2.0)
    redis.kill()
    redis.wait()
    print(f"loop lag with Redis gone:    {await lag(seconds)}")
    await exchanger.stop()
    await store.close()


async def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        await cost("memory", open_store("memory://"))
        await cost("sqlite", open_store(f"sqlite:///{folder}/state.db"))
        binary = shutil.which("redis-server")
        if binary is None:
            print("redis    not measured: no redis-server here")
            return
        port = free_port()
        command = [binary, "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", str(Path(folder))]
        redis = await asyncio.to_thread(subprocess.Popen, command, stdout=subprocess.DEVNULL)
        try:
            await asyncio.sleep(0.5)
            await cost("redis", open_store(f"redis://127.0.0.1:{port}/0"))
            await outage(f"redis://127.0.0.1:{port}/0", redis, 10.0)
        finally:
            with contextlib.suppress(ProcessLookupError):
                redis.kill()
            redis.wait()


if __name__ == "__main__":
    asyncio.run(main())
