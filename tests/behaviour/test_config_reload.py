"""While requests go on, a new configuration is taken whole or not at all."""

from __future__ import annotations

import threading
from pathlib import Path

from gateway.config.loader import LoadedConfig, load
from gateway.config.watch import ConfigHolder

ROW = "  - {id: acme/%s, provider: acme, model: m, context_window: 9, price_usd_per_mtok: {input: %d, output: %d}}"


def write(folder: Path, number: int) -> None:
    """Every deployment of version ``number`` costs ``number``, and there are that many of them."""
    rows = "\n".join(ROW % (f"m{index}", number, number) for index in range(number))
    (folder / "models.yaml").write_text(f"providers: {{acme: {{wire: openai}}}}\ndeployments:\n{rows}\n")


def test_a_reader_never_sees_a_mixture_and_a_broken_file_never_replaces_a_good_one(tmp_path):
    write(tmp_path, 1)
    holder = ConfigHolder(load(tmp_path, {}), lambda: load(tmp_path, {}))
    seen: list[LoadedConfig] = []
    stop = threading.Event()

    def read() -> None:
        while not stop.is_set():
            seen.append(holder.current)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for number in range(2, 8):
            write(tmp_path, number)
            assert holder.reload().ok
            good = holder.current
            (tmp_path / "models.yaml").write_text("deployments: [{id: acme/m0}]\n")
            assert not holder.reload().ok
            assert holder.current is good
    finally:
        stop.set()
        reader.join()
    for config in {id(each): each for each in seen}.values():
        prices = [each.price.input for each in config.registry.deployments.values()]
        assert prices == [float(len(prices))] * len(prices)
    assert holder.failures == 6


def test_what_was_resolved_before_a_reload_stays_usable_after_it(tmp_path):
    write(tmp_path, 2)
    holder = ConfigHolder(load(tmp_path, {}), lambda: load(tmp_path, {}))
    before = holder.current.registry
    write(tmp_path, 1)
    report = holder.reload()
    assert report.removed == ("acme/m1",)
    assert [each.id for each in before.resolve("auto").candidates] == ["acme/m0", "acme/m1"]
    assert [each.id for each in holder.current.registry.resolve("auto").candidates] == ["acme/m0"]
