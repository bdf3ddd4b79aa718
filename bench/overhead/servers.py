"""The servers that are compared, each started on loopback and pinned to one core: ours, nginx, LiteLLM Proxy, Portkey.

Rivals live in environments of their own under ``var/rivals``, from the locks in ``rivals/``; ``install`` makes them.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from bench.overhead.setup import KEY, models
from tests.fakes.gateway import ROOT, GatewayProcess
from tests.fakes.ports import free_port

LOCKS = Path(__file__).parent / "rivals"
HOME = ROOT / "var" / "rivals"
START_S = 90.0


@dataclass(frozen=True, slots=True)
class Server:
    """A server under load. ``urls`` and ``models`` are by wire; ``pid`` is the root of its processes, 0: not ours."""

    name: str
    pid: int
    urls: Mapping[str, str]
    models: Mapping[str, str]
    headers: Mapping[str, str] = field(default_factory=dict)
    start_s: float = 0.0

    def processes(self) -> list[psutil.Process]:
        """Return the process and its children."""
        if not self.pid:
            return []
        root = psutil.Process(self.pid)
        return [root, *root.children(recursive=True)]

    def cpu_s(self) -> float:
        """Return user and system seconds of all its processes."""
        return float(sum(sum(each.cpu_times()[:2]) for each in self.processes()))

    def memory_mib(self) -> float:
        """Return what its processes hold for themselves, in MiB."""
        return float(sum(each.memory_full_info().uss for each in self.processes())) / 2**20


def install() -> None:
    """Make the rivals' environments from their locks; what is there already stays."""
    HOME.mkdir(parents=True, exist_ok=True)
    python = HOME / "litellm" / "bin" / "python"
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", HOME / "litellm"], check=True)
        lock = LOCKS / "requirements.lock"
        subprocess.run([python, "-m", "pip", "install", "-q", "--require-hashes", "-r", lock], check=True)
    portkey = HOME / "portkey"
    if not (portkey / "node_modules").exists():
        portkey.mkdir(exist_ok=True)
        for name in ("package.json", "package-lock.json"):
            shutil.copy(LOCKS / name, portkey / name)
        subprocess.run(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=portkey, check=True)


def pin(pid: int, core: int) -> None:
    """Bind a process, with all its threads and children, to one core."""
    for process in (psutil.Process(pid), *psutil.Process(pid).children(recursive=True)):
        for thread in process.threads():
            os.sched_setaffinity(thread.id, {core})


@contextmanager
def running(
    command: list[str], folder: Path, ready: str, core: int, environment: Mapping[str, str] | None = None
) -> Iterator[tuple[int, float]]:
    """Run a command on one core until the context ends; yields its pid and the seconds until it answered."""
    log = folder / f"{Path(command[0]).name}.log"
    began = time.monotonic()
    inherited = {name: value for name, value in os.environ.items() if not name.endswith("_API_KEY")}
    with log.open("wb") as out:
        process = subprocess.Popen(
            ["taskset", "-c", str(core), *command],
            cwd=folder,
            env={**inherited, **(environment or {})},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
        )
    try:
        while not _answers(ready):
            if process.poll() is not None or time.monotonic() - began > START_S:
                message = f"{command[0]} did not start; it wrote:\n{log.read_text(errors='replace')[-2000:]}"
                raise RuntimeError(message)
            time.sleep(0.05)
        yield process.pid, time.monotonic() - began
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2):  # noqa: S310 - loopback
            return True
    except urllib.error.HTTPError:
        return True
    except OSError:
        return False


@contextmanager
def gateway(bases: Mapping[str, str], folder: Path, core: int) -> Iterator[Server]:
    """Ours, with everything on: key check, classification, scoring, folding, records, SQLite."""
    began = time.monotonic()
    process = GatewayProcess(
        folder / "gateway",
        models(dict(bases)),
        {"exploration": {"share": 0, "probe_share": 0}},
        store=f"sqlite:///{folder}/state.db",
        environment={"MOE_API_KEYS": KEY, "OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"},
    )
    with process as live:
        took = time.monotonic() - began
        pin(live.pid, core)
        url = f"{live.base_url}/chat/completions"
        yield Server("moe-gateway", live.pid, dict.fromkeys(bases, url), {w: f"{w}-route" for w in bases}, {}, took)


@contextmanager
def nginx(bases: Mapping[str, str], folder: Path, core: int) -> Iterator[Server]:
    """Run nginx as a bare reverse proxy: the limit, since it reads and decides nothing."""
    port = free_port()
    upstream = bases["openai"].removesuffix("/v1").removeprefix("http://")
    (folder / "nginx.conf").write_text(f"""
worker_processes 1; daemon off; pid {folder}/nginx.pid; error_log {folder}/nginx.err;
events {{ worker_connections 4096; }}
http {{
  access_log off; client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy;
  fastcgi_temp_path {folder}/f; uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
  keepalive_requests 1000000;
  upstream provider {{ server {upstream}; keepalive 128; keepalive_requests 1000000; }}
  server {{ listen 127.0.0.1:{port};
    location / {{ proxy_pass http://provider; proxy_http_version 1.1; proxy_set_header Connection "";
      proxy_buffering off; }} }}
}}
""")
    command = [shutil.which("nginx") or "/usr/sbin/nginx", "-c", str(folder / "nginx.conf"), "-p", str(folder)]
    with running(command, folder, f"http://127.0.0.1:{port}/", core) as (pid, took):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Server("nginx reverse proxy", pid, {"openai": url}, {"openai": "bench-model"}, {}, took)


@contextmanager
def litellm_proxy(bases: Mapping[str, str], folder: Path, core: int) -> Iterator[Server]:
    """Run LiteLLM Proxy as its documentation says for production: no database, no debug, one worker."""
    port = free_port()
    rows = [
        {
            "model_name": f"bench-{wire}",
            "litellm_params": {"model": f"{wire}/bench-model", "api_base": base, "api_key": "bench-upstream-key"},
        }
        for wire, base in bases.items()
    ]
    settings = {"model_list": rows, "general_settings": {"master_key": "sk-bench"}}
    (folder / "litellm.yaml").write_text(json.dumps(settings))
    command = [str(HOME / "litellm" / "bin" / "litellm"), "--config", str(folder / "litellm.yaml")]
    command += ["--host", "127.0.0.1", "--port", str(port), "--num_workers", "1"]
    environment = {"LITELLM_LOCAL_MODEL_COST_MAP": "True", "LITELLM_MODE": "PRODUCTION", "LITELLM_LOG": "ERROR"}
    ready = f"http://127.0.0.1:{port}/health/liveliness"
    with running(command, folder, ready, core, environment) as (pid, took):
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        headers = {"authorization": "Bearer sk-bench"}
        names = {wire: f"bench-{wire}" for wire in bases}
        yield Server("LiteLLM Proxy", pid, dict.fromkeys(bases, url), names, headers, took)


@contextmanager
def portkey(bases: Mapping[str, str], folder: Path, core: int) -> Iterator[Server]:
    """Run Portkey's open-source gateway; the request's headers say where to."""
    port = free_port()
    start = HOME / "portkey" / "node_modules" / "@portkey-ai" / "gateway" / "build" / "start-server.js"
    host = bases["openai"].removeprefix("http://").partition("/")[0]
    command = [shutil.which("node") or "node", str(start), f"--port={port}", "--headless"]
    environment = {"TRUSTED_CUSTOM_HOSTS": f"127.0.0.1,localhost,{host}", "NODE_ENV": "production"}
    with running(command, folder, f"http://127.0.0.1:{port}/", core, environment) as (pid, took):
        headers = {
            "x-portkey-provider": "openai",
            "x-portkey-custom-host": bases["openai"],
            "authorization": "Bearer k",
        }
        url = f"http://127.0.0.1:{port}/v1/chat/completions"
        yield Server("Portkey", pid, {"openai": url}, {"openai": "bench-model"}, headers, took)


SERVERS: dict[str, Callable[[Mapping[str, str], Path, int], AbstractContextManager[Server]]] = {
    "gateway": gateway,
    "nginx": nginx,
    "litellm": litellm_proxy,
    "portkey": portkey,
}
