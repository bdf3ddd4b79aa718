from __future__ import annotations

import asyncio
import os
import signal
import threading
from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.config.watch import ConfigHolder, ConfigWatcher, ReloadReport

pytestmark = pytest.mark.anyio

ROW = "- {id: acme/%s, provider: acme, model: x, context_window: 9, price_usd_per_mtok: {input: 1, output: 2}}"


def models(*names: str) -> str:
    rows = "\n".join(f"  {ROW % name}" for name in names)
    return f"providers: {{acme: {{wire: openai, api_key: '${{file:key}}'}}}}\ndeployments:\n{rows}\n"


class Folder:
    def __init__(self, path: Path) -> None:
        self.path = path
        self.clock = 1_000_000_000
        self.write("key", "sk-first-value")
        self.write("models.yaml", models("a"))
        self.holder = ConfigHolder(load(path, {}), lambda: load(path, {}))
        self.heard: list[ReloadReport] = []
        self.holder.on_reload(lambda _, report: self.heard.append(report))

    def write(self, name: str, text: str) -> None:
        """Write in one step, with a time of its own: two writes within one tick of the file system's clock differ too."""
        fresh = self.path / f".{name}.new"
        fresh.write_text(text)
        self.clock += 1
        os.utime(fresh, (self.clock, self.clock))
        fresh.replace(self.path / name)

    @property
    def ids(self) -> list[str]:
        return list(self.holder.current.registry.deployments)


@pytest.fixture
def folder(tmp_path) -> Folder:
    return Folder(tmp_path)


def test_a_reload_swaps_and_says_what_changed(folder):
    before = folder.holder.current
    folder.write("models.yaml", models("b", "c"))
    report = folder.holder.reload()
    assert (report.ok, report.changed, report.added, report.removed) == (True, True, ("acme/b", "acme/c"), ("acme/a",))
    assert folder.ids == ["acme/b", "acme/c"]
    assert list(before.registry.deployments) == ["acme/a"]
    assert folder.heard == [report]
    assert str(report) == f"configuration {report.version} loaded"


def test_a_reload_of_the_same_says_so(folder):
    report = folder.holder.reload()
    assert (report.ok, report.changed) == (True, False)
    assert str(report).endswith("is unchanged")


def test_a_broken_file_keeps_the_old_and_says_why(folder):
    before = folder.holder.current
    folder.write("models.yaml", "providers: {acme: {}}\n")
    report = folder.holder.reload()
    assert folder.holder.current is before
    assert (report.ok, report.changed, folder.holder.failures) == (False, False, 1)
    assert "models.yaml:1: providers.acme.wire: is missing" in str(report)
    assert folder.holder.last_report is report
    folder.write("models.yaml", models("b"))
    assert folder.holder.reload().ok
    assert folder.ids == ["acme/b"]
    assert folder.holder.failures == 1


def test_a_new_value_of_a_key_is_a_change_although_the_version_stays(folder):
    version = folder.holder.current.version
    folder.write("key", "sk-second-value")
    report = folder.holder.reload()
    assert (report.changed, report.version) == (True, version)
    assert next(iter(folder.holder.current.secrets.values())).reveal() == "sk-second-value"


async def test_the_watcher_reloads_what_changed_and_only_then(folder):
    watcher = ConfigWatcher(folder.holder)
    assert await watcher.check() is None
    folder.write("models.yaml", models("b"))
    report = await watcher.check()
    assert report is not None
    assert report.added == ("acme/b",)
    assert await watcher.check() is None


async def test_the_watcher_sees_a_new_policy_file_a_key_file_and_a_file_that_went(folder):
    watcher = ConfigWatcher(folder.holder)
    folder.write("policy.yaml", "retry: {fallbacks: 1}\n")
    assert (await watcher.check()).changed
    assert folder.holder.current.policy.retry.fallbacks == 1
    folder.write("key", "sk-third-value")
    assert (await watcher.check()).changed
    (folder.path / "models.yaml").unlink()
    assert not (await watcher.check()).ok
    assert await watcher.check() is None
    assert folder.ids == ["acme/a"]


async def test_a_file_named_by_the_new_configuration_is_watched_from_then_on(folder):
    watcher = ConfigWatcher(folder.holder)
    folder.write("other", "sk-of-the-other")
    folder.write("models.yaml", models("a").replace("file:key", "file:other"))
    assert (await watcher.check()).ok
    assert await watcher.check() is None
    folder.write("other", "sk-of-the-other-2")
    assert (await watcher.check()).changed
    folder.write("key", "sk-not-used-any-more")
    assert await watcher.check() is None


async def test_what_was_read_first_is_not_taken_last(folder):
    watcher = ConfigWatcher(folder.holder)
    read, go_on = threading.Event(), threading.Event()
    really = folder.holder._load

    def load_slowly():
        found = really()
        read.set()
        go_on.wait(60)
        return found

    folder.holder._load = load_slowly
    folder.write("models.yaml", models("b"))
    first = asyncio.create_task(watcher.check())
    await asyncio.to_thread(read.wait, 60)
    folder.holder._load = really
    folder.write("models.yaml", models("c"))
    second = asyncio.create_task(watcher.check(force=True))
    await asyncio.sleep(0.05)
    go_on.set()
    await first
    assert (await second).ok
    assert folder.ids == ["acme/c"]


async def heard(folder: Folder, count: int) -> None:
    async with asyncio.timeout(60):
        while len(folder.heard) < count:  # noqa: ASYNC110 - a listener on another object; the wait is bounded
            await asyncio.sleep(0.005)


async def test_the_running_watcher_reloads_by_itself_survives_a_broken_file_and_hears_sighup(folder):
    watcher = ConfigWatcher(folder.holder, interval_s=0.01)
    watcher.install_sighup()
    task = asyncio.create_task(watcher.run())
    try:
        folder.write("models.yaml", models("b"))
        await heard(folder, 1)
        folder.write("models.yaml", "a: [")
        await heard(folder, 2)
        assert not folder.heard[-1].ok
        assert folder.ids == ["acme/b"]
        os.kill(os.getpid(), signal.SIGHUP)
        await heard(folder, 3)
        folder.write("models.yaml", models("c"))
        await heard(folder, 4)
        assert folder.ids == ["acme/c"]
    finally:
        task.cancel()
        asyncio.get_running_loop().remove_signal_handler(signal.SIGHUP)
    with pytest.raises(asyncio.CancelledError):
        await task
