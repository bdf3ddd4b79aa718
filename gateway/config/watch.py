"""Reloading: a changed file or a SIGHUP loads everything anew and swaps one reference; a broken file changes nothing.

State is not touched: learned numbers are kept by deployment id. Whoever needs the new configuration asks the holder.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.config.loader import LoadedConfig
from gateway.config.problems import ConfigInvalid, Located

Stamp = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ReloadReport:
    """What a reload did. ``ok`` False: the old configuration stays, ``problems`` say why.

    ``changed`` is False when the files say the same as before. ``added`` and ``removed`` are deployment ids.
    """

    ok: bool
    changed: bool
    version: str
    problems: tuple[Located, ...] = ()
    warnings: tuple[str, ...] = ()
    added: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()

    def __str__(self) -> str:
        """Say it in a line, or in one line per problem."""
        if not self.ok:
            return "configuration not reloaded, the old one stays:\n" + "\n".join(str(each) for each in self.problems)
        return f"configuration {self.version} {'loaded' if self.changed else 'is unchanged'}"


class ConfigHolder:
    """Holds the configuration in use. ``current`` is one reference: read it once per request."""

    def __init__(self, current: LoadedConfig, load: Callable[[], LoadedConfig]) -> None:
        """Start with ``current``; ``load`` reads the files again and raises ConfigInvalid."""
        self._current = current
        self._load = load
        self._listeners: list[Callable[[LoadedConfig, ReloadReport], None]] = []
        self.last_report = ReloadReport(ok=True, changed=False, version=current.version)
        self.failures = 0
        """How many reloads were refused since the start."""

    @property
    def current(self) -> LoadedConfig:
        """The configuration in use."""
        return self._current

    def on_reload(self, listener: Callable[[LoadedConfig, ReloadReport], None]) -> None:
        """Call ``listener(current, report)`` after every reload, also a refused one, on the thread that reloads."""
        self._listeners.append(listener)

    def reload(self) -> ReloadReport:
        """Load anew and swap, or keep what is there and say why. Reads files: call it off the event loop."""
        return self.accept(self.attempt())

    def attempt(self) -> LoadedConfig | tuple[Located, ...]:
        """Read the files without touching what is in use: a configuration, or the problems."""
        try:
            return self._load()
        except ConfigInvalid as exc:
            return exc.problems

    def accept(self, found: LoadedConfig | tuple[Located, ...]) -> ReloadReport:
        """Swap in what ``attempt`` found and tell the listeners."""
        old = self._current
        if isinstance(found, LoadedConfig):
            before, after = old.registry.deployments, found.registry.deployments
            report = ReloadReport(
                ok=True,
                changed=found.version != old.version or found.secrets != old.secrets,
                version=found.version,
                warnings=found.report.warnings,
                added=tuple(each for each in after if each not in before),
                removed=tuple(each for each in before if each not in after),
            )
            self._current = found
        else:
            report = ReloadReport(ok=False, changed=False, version=old.version, problems=found)
            self.failures += 1
        self.last_report = report
        for listener in self._listeners:
            listener(self._current, report)
        return report


class ConfigWatcher:
    """Looks at the files once a second and reloads when one changed; ``wake`` does so at once."""

    def __init__(self, holder: ConfigHolder, interval_s: float = 1.0) -> None:
        """Watch the files that ``holder``'s configuration was read from, every ``interval_s`` seconds."""
        self.holder = holder
        self.interval_s = interval_s
        self._wanted = asyncio.Event()
        self._turn = asyncio.Lock()
        self._seen = self._stamps()

    def wake(self) -> None:
        """Reload now, changed or not: the handler of SIGHUP. Call it on the event loop's thread."""
        self._wanted.set()

    def install_sighup(self) -> None:
        """Reload on SIGHUP; call it on the running loop of the main thread."""
        asyncio.get_running_loop().add_signal_handler(signal.SIGHUP, self.wake)

    async def run(self) -> None:
        """Watch until cancelled. Files are read on a thread; the swap happens on the loop."""
        while True:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._wanted.wait(), self.interval_s)
            asked = self._wanted.is_set()
            self._wanted.clear()
            await self.check(force=asked)

    async def check(self, *, force: bool = False) -> ReloadReport | None:
        """Reload when a file changed since the last look, or when forced; None when there was nothing to do.

        One at a time: of two that read at once, the one that read first could be taken last.
        """
        async with self._turn:
            return await self._check(force=force)

    async def _check(self, *, force: bool) -> ReloadReport | None:
        stamps = await asyncio.to_thread(self._stamps)
        if stamps == self._seen and not force:
            return None
        self._seen = stamps
        found = await asyncio.to_thread(self.holder.attempt)
        report = self.holder.accept(found)
        if report.ok:
            # Newly named files are watched from now on; for the others the look from before loading counts.
            self._seen = {path: stamps.get(path, now) for path, now in (await asyncio.to_thread(self._stamps)).items()}
        return report

    def _stamps(self) -> dict[Path, Stamp]:
        return {path: _stamp(path) for path in self.holder.current.report.files}


def _stamp(path: Path) -> Stamp:
    """Return what changes when a file is written or replaced; zeros while it is not there."""
    try:
        status = path.stat()
    except OSError:
        return (0, 0, 0)
    return (status.st_mtime_ns, status.st_size, status.st_ino)
