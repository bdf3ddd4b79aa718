"""Fixtures every test may use."""

from __future__ import annotations

import os

import pytest

# Before any test imports it: litellm must not fetch its price list, and must not turn on its debugging aids.
os.environ.setdefault("LITELLM_LOCAL_MODEL_COST_MAP", "True")
os.environ.setdefault("LITELLM_MODE", "PRODUCTION")
os.environ.setdefault("LITELLM_LOCAL_ANTHROPIC_BETA_HEADERS", "True")


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    """Async tests run on asyncio, the loop the gateway runs on."""
    return "asyncio"
