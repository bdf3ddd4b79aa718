from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path

import pytest

from gateway.config.loader import LoadedConfig, load
from gateway.config.problems import ConfigInvalid

MODELS = """\
providers:
  acme:
    wire: openai
    base_url: https://acme.example/v1
    api_key: ${ACME_KEY}
deployments:
  - id: acme/m1
    provider: acme
    model: m1
    context_window: 128000
    price_usd_per_mtok: {input: 1, output: 2}
"""


@pytest.fixture
def write(tmp_path: Path) -> Callable[..., Path]:
    """Write a configuration folder; ``models`` and ``policy`` are the files' texts."""

    def make(models: str = MODELS, policy: str | None = None) -> Path:
        (tmp_path / "models.yaml").write_text(models, encoding="utf-8")
        if policy is not None:
            (tmp_path / "policy.yaml").write_text(policy, encoding="utf-8")
        return tmp_path

    return make


@pytest.fixture
def loaded(write) -> Callable[..., LoadedConfig]:
    def make(
        models: str = MODELS, policy: str | None = None, env: Mapping[str, str] | None = None, **options
    ) -> LoadedConfig:
        return load(write(models, policy), {} if env is None else env, **options)

    return make


@pytest.fixture
def complaints(loaded) -> Callable[..., list[str]]:
    """What is wrong, one ``file:line: key: message`` each, with the folder taken off."""

    def make(models: str = MODELS, policy: str | None = None, **options) -> list[str]:
        with pytest.raises(ConfigInvalid) as caught:
            loaded(models, policy, **options)
        return [f"{Path(each.file).name}:{each.line}: {each.key}: {each.message}" for each in caught.value.problems]

    return make
