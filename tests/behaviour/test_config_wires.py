"""A provider on a wire nobody knows, or without the address its wire needs, is refused at the start and at a reload."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.problems import ConfigInvalid
from gateway.config.settings import Settings
from gateway.config.watch import ConfigHolder
from gateway.configured import load_config
from gateway.forward.known_wires import ADDRESSES, KnownWires
from gateway.forward.wires import WIRES

ROW = "{id: acme/m1, provider: acme, model: m1, context_window: 100, price_usd_per_mtok: {input: 1, output: 2}}"
REFUSED = {
    "opnai": "providers.acme.wire: no wire is named 'opnai'; did you mean 'openai'?",
    "ANTHROPIC": "providers.acme.wire: no wire is named 'ANTHROPIC'",
    "../openai": "providers.acme.wire: no wire is named '../openai'",
    "databricks": "providers.acme.base_url: is missing: wire 'databricks' has no address of its own",
}


def written(folder: Path, wire: str) -> Settings:
    (folder / "models.yaml").write_text(f"providers: {{acme: {{wire: '{wire}'}}}}\ndeployments: [{ROW}]\n")
    return Settings(config_dir=folder)


@pytest.mark.parametrize("wire", REFUSED)
def test_at_the_start(tmp_path: Path, wire: str):
    with pytest.raises(ConfigInvalid) as found:
        load_config(written(tmp_path, wire))
    assert f"models.yaml:1: {REFUSED[wire]}" in str(found.value)


@pytest.mark.parametrize("wire", REFUSED)
def test_at_a_reload_which_keeps_the_old_configuration(tmp_path: Path, wire: str):
    settings = written(tmp_path, "openai")
    holder = ConfigHolder(load_config(settings), lambda: load_config(settings))
    before = holder.current
    written(tmp_path, wire)
    report = holder.reload()
    assert not report.ok
    assert REFUSED[wire] in str(report)
    assert holder.current is before


@pytest.mark.parametrize("wire", ["openai", "anthropic", "bedrock", "watsonx", "vertex_ai", "replicate"])
def test_a_wire_of_the_table_or_of_litellm_is_taken(wire: str):
    assert wire in KnownWires()


def test_all_names_are_there_to_choose_from():
    known = KnownWires()
    assert set(WIRES) <= set(known)
    assert len(known) == len(set(known)) > len(WIRES)
    assert ADDRESSES["azure"] is None
    assert ADDRESSES["openai"] == WIRES["openai"].base_url
