"""How the process begins and ends: refused starts, draining, and running out of file descriptors."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import signal
import socket
import subprocess
import sys
from pathlib import Path

import aiohttp
import psutil
import pytest

from tests.fakes.edge import CHAT, HELLO, POLICY, Edge, running_edge, until
from tests.fakes.gateway import ROOT

pytestmark = pytest.mark.anyio


def serve(tmp_path: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Start a gateway that must refuse to."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MOE_", "HOST", "PORT"))}
    return subprocess.run(
        [sys.executable, "-m", "gateway.cli", "serve"],
        cwd=ROOT,
        env={**inherited, "MOE_STORE_URL": "memory://", **environment},
        capture_output=True,
        text=True,
        timeout=180,
        check=False,
    )


def test_others_may_not_reach_it_without_keys(tmp_path: Path):
    ended = serve(tmp_path, HOST="0.0.0.0", PORT="0")
    assert ended.returncode == 2
    assert "MOE_API_KEYS" in ended.stderr
    assert "Traceback" not in ended.stderr
    assert ended.stdout == ""


def test_a_port_in_use_is_told_in_one_line(tmp_path: Path):
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        port = other.getsockname()[1]
        ended = serve(tmp_path, PORT=str(port))
    assert ended.returncode == 1
    (line,) = ended.stderr.strip().splitlines()
    assert str(port) in line
    assert ended.stdout == ""


DRAIN_S = 6.0


async def test_a_stop_lets_streams_finish_and_ends_what_does_not(tmp_path: Path):
    policy = {**POLICY, "admission": {"drain_s": DRAIN_S}}
    async with running_edge(tmp_path, policy=policy, count=3) as edge:
        names = {"short": "alpha", "endless": "beta", "waiting": "gamma"}
        edge.providers["alpha"].answer("one two three four five six", delay_s=0.15)
        edge.providers["beta"].answer("word " * 5000, delay_s=0.1)
        edge.providers["gamma"].fail("hang", times=None)
        async with asyncio.timeout(120), asyncio.TaskGroup() as group:
            asked = {
                name: group.create_task(
                    edge.chat(model=f"{provider}/small", stream=name != "waiting", router={"fallbacks": "none"})
                )
                for name, provider in names.items()
            }
            await until(lambda: len(edge.calls) == 3)
            await until(lambda: all(edge.providers[name].requests[0].first_byte_at for name in ("alpha", "beta")))
            idle = aiohttp.ClientSession()
            assert (await (await idle.get(f"{edge.gateway.origin}/readyz")).json())["status"] == "ok"
            process = edge.gateway._process
            assert process is not None
            process.send_signal(signal.SIGTERM)
            while await ready(idle, edge):  # noqa: ASYNC110 - nobody tells
                await asyncio.sleep(0.01)
            assert process.poll() is None, "it was ready until it was gone"
            await idle.close()
        code = await asyncio.to_thread(process.wait, 60)
        seen = {name: task.result() for name, task in asked.items()}

        assert code == 0
        assert seen["short"].body.rstrip().endswith(b"data: [DONE]")
        assert b"six" in seen["short"].body

        events = [line[6:] for line in seen["endless"].body.decode().splitlines() if line.startswith("data: ")]
        last = json.loads(events[-1])
        assert last["error"]["code"] == "draining"
        assert last["choices"][0]["finish_reason"] == "error"
        assert "[DONE]" not in events

        assert seen["waiting"].status == 503
        assert seen["waiting"].error["code"] == "draining"
        assert seen["waiting"].headers["retry-after"]

        for name in ("beta", "gamma"):
            (call,) = edge.providers[name].requests
            await until(lambda call=call: call.closed_at is not None)
            assert call.client_closed
        with socket.socket() as successor:  # the next process can have the port at once
            successor.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            successor.bind(("127.0.0.1", edge.port))
            successor.listen()
        assert "Traceback" not in edge.gateway.log.read_text()


async def ready(session: aiohttp.ClientSession, edge: Edge) -> bool:
    """Whether new work is welcome; what refuses connections welcomes none."""
    try:
        async with session.get(f"{edge.gateway.origin}/readyz") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_without_file_descriptors_it_refuses_some_and_recovers(edge: Edge):
    await edge.heal()
    await edge.assert_well()
    pid = edge.gateway.pid
    open_now = psutil.Process(pid).num_fds()
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (open_now + 10, before[1]))
    writers: list[asyncio.StreamWriter] = []
    try:
        for _ in range(60):
            _, writer = await asyncio.open_connection("127.0.0.1", edge.port)
            writers.append(writer)
            writer.write(b"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Length: 100\r\n\r\n{")
        await asyncio.sleep(0.3)
        assert edge.gateway._process is not None
        assert edge.gateway._process.poll() is None
    finally:
        for writer in writers:
            writer.close()
        await asyncio.gather(*(writer.wait_closed() for writer in writers), return_exceptions=True)
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)
    body = json.dumps({"model": "main", "messages": HELLO}).encode()
    async with asyncio.timeout(60):
        while True:
            try:
                seen = await edge.send(body, path=CHAT)
            except aiohttp.ClientError:
                await asyncio.sleep(0.05)
                continue
            if seen.status == 200:
                break
