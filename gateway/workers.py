"""``serve --workers N``: one process per worker on one address, started again when it dies, ended together.

Every worker listens on a socket of its own (``SO_REUSEPORT``), so the kernel spreads connections evenly and a worker
that dies takes only its own along. A worker listens when it is ready, not before. This process carries no request: it
holds the address, starts the demo providers once, and watches.
"""

from __future__ import annotations

import logging
import os
import secrets
import select
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_log = logging.getLogger("gateway.workers")
WORKER: Final = "GATEWAY_WORKER"
"""Set in a worker to how many were started before it; the very first one prints the banner."""
BOOT: Final = "GATEWAY_BOOT"
_QUICK_S: Final = 5.0
"""A worker that dies younger than this is started again only after a pause that doubles."""
_PAUSE_S: Final = 0.2
_LONGEST_PAUSE_S: Final = 10.0
_GIVE_UP: Final = 10
"""Quick deaths in a row, of all workers together, after which something is wrong that starting again cannot mend."""
_MARGIN_S: Final = 8.0
_BAD_CONFIG: Final = 2


def bind(host: str, port: int, *, shared: bool = False) -> socket.socket:
    """Return a bound socket that does not listen yet; ``shared``: others may bind the same. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    try:
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind((host, port))
        bound.setblocking(False)  # noqa: FBT003 - the socket's own signature
    except OSError:
        bound.close()
        raise
    return bound


def end_with_parent() -> None:
    """Ask this worker to stop when its parent is gone; call it in the running loop's thread, once."""
    import asyncio  # noqa: PLC0415 - the parent needs no loop

    loop = asyncio.get_running_loop()

    def closed() -> None:
        loop.remove_reader(0)
        os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(0, closed)


@dataclass(slots=True)
class _Worker:
    number: int
    process: subprocess.Popen[bytes]
    started: float = field(default_factory=time.monotonic)


class Workers:
    """Starts, watches and ends the workers. ``command`` is one worker's, ``environment`` what all of them get."""

    def __init__(self, command: list[str], environment: Mapping[str, str], count: int, drain_s: float) -> None:
        """Start nothing yet. ``drain_s`` is how long a worker may take to finish what is open."""
        self._command = command
        self._environment = {**environment, BOOT: f"{int(time.time())}.{secrets.token_hex(4)}"}
        self._count = count
        self._drain_s = drain_s
        self._workers: list[_Worker] = []
        self._due: dict[int, float] = {}
        self._quick = 0
        self._born = 0
        self._stopping = False
        self._code = 0

    def run(self) -> int:
        """Keep the workers running until SIGTERM or SIGINT; returns the exit code."""
        wake, woken = socket.socketpair()
        wake.setblocking(False)  # noqa: FBT003 - the socket's own signature
        woken.setblocking(False)  # noqa: FBT003
        before_fd = signal.set_wakeup_fd(wake.fileno(), warn_on_full_buffer=False)
        handlers: dict[int, Callable[..., None]] = {
            signal.SIGTERM: self._stop,
            signal.SIGINT: self._stop,
            signal.SIGHUP: self._hand_on,
            signal.SIGCHLD: lambda *_: None,
        }
        before = {number: signal.signal(number, handler) for number, handler in handlers.items()}
        try:
            for number in range(self._count):
                self._start(number)
            while self._workers or (self._due and not self._stopping):
                select.select([woken], [], [], self._patience())
                _empty(woken)
                self._reap()
                self._revive()
            return self._code
        finally:
            self._end()
            for number, handler in before.items():
                signal.signal(number, handler)
            signal.set_wakeup_fd(before_fd)
            wake.close()
            woken.close()

    def _start(self, number: int) -> None:
        environment = {**self._environment, WORKER: str(self._born)}
        self._born += 1
        # A session of its own: Ctrl-C reaches this process alone, which then ends the workers in order. The pipe on
        # standard input tells a worker that this process is gone, however it went.
        process = subprocess.Popen(  # noqa: S603 - our own module
            self._command, env=environment, stdin=subprocess.PIPE, start_new_session=True
        )
        self._workers.append(_Worker(number, process))

    def _reap(self) -> None:
        for worker in [each for each in self._workers if each.process.poll() is not None]:
            self._workers.remove(worker)
            if worker.process.stdin is not None:
                worker.process.stdin.close()
            if not self._stopping:
                self._lost(worker)

    def _lost(self, worker: _Worker) -> None:
        code = worker.process.returncode
        if code == _BAD_CONFIG:
            self._code = code
            self._stop()
            return
        quick = time.monotonic() - worker.started < _QUICK_S
        self._quick = self._quick + 1 if quick else 0
        _log.warning("worker %d (pid %d) ended with %d", worker.number, worker.process.pid, code)
        if self._quick >= _GIVE_UP:
            _log.error("the workers keep dying; giving up")
            self._code = 1
            self._stop()
            return
        pause = min(_LONGEST_PAUSE_S, _PAUSE_S * 2.0**self._quick) if quick else 0.0
        self._due[worker.number] = time.monotonic() + pause

    def _revive(self) -> None:
        now = time.monotonic()
        for number in [each for each, at in self._due.items() if at <= now and not self._stopping]:
            del self._due[number]
            self._start(number)

    def _patience(self) -> float:
        due = min(self._due.values(), default=time.monotonic() + 1.0)
        return min(1.0, max(0.0, due - time.monotonic()))

    def _stop(self, *_: Any) -> None:
        if self._stopping:
            for worker in self._workers:
                worker.process.kill()
            return
        self._stopping = True
        self._signal(signal.SIGTERM)
        signal.signal(signal.SIGALRM, self._insist)
        signal.setitimer(signal.ITIMER_REAL, self._drain_s + _MARGIN_S)

    def _insist(self, *_: Any) -> None:
        for worker in self._workers:
            worker.process.kill()

    def _hand_on(self, *_: Any) -> None:
        self._signal(signal.SIGHUP)

    def _signal(self, number: int) -> None:
        for worker in self._workers:
            if worker.process.poll() is None:
                worker.process.send_signal(number)

    def _end(self) -> None:
        """Leave nobody behind, whatever happened here."""
        signal.setitimer(signal.ITIMER_REAL, 0.0)
        for worker in self._workers:
            worker.process.kill()
            worker.process.wait()


def _empty(woken: socket.socket) -> None:
    try:
        while woken.recv(512):
            pass
    except BlockingIOError:
        pass
