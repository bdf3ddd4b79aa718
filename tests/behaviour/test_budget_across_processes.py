"""Several processes, one budget: it is spent to the end, and never beyond."""

from __future__ import annotations

import sys
import uuid
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "tests" / "contract"))

from redis_server import running

from bench.budget.run import spend

pytestmark = pytest.mark.slow


@pytest.mark.parametrize("kill", [False, True], ids=["all-live", "one-killed"])
def test_processes_that_share_a_file_spend_one_budget_and_no_more(tmp_path: Path, kill: bool):
    result = spend(f"sqlite:///{tmp_path}/state.db", tmp_path, kill=kill)
    assert result.spent <= result.budget
    assert result.usable >= 0.95


@pytest.mark.redis
@pytest.mark.parametrize("kill", [False, True], ids=["all-live", "one-killed"])
def test_processes_that_share_redis_spend_one_budget_and_no_more(tmp_path: Path, kill: bool):
    with running() as server:
        result = spend(f"{server.url}?prefix={uuid.uuid4().hex}", tmp_path, kill=kill)
    assert result.spent <= result.budget
    assert result.usable >= 0.95
