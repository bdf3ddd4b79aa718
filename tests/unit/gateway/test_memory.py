"""The collector around a start."""

from __future__ import annotations

import gc
import subprocess
import sys

import pytest

from gateway.memory import collector_rests


@pytest.fixture(autouse=True)
def _as_before():
    collecting = gc.isenabled()
    yield
    (gc.enable if collecting else gc.disable)()


def test_the_collector_rests_and_then_goes_on():
    gc.enable()
    with collector_rests():
        assert not gc.isenabled()
        with collector_rests():
            pass
        assert not gc.isenabled()
    assert gc.isenabled()


def test_the_collector_goes_on_after_a_start_that_failed():
    gc.enable()
    with pytest.raises(ZeroDivisionError), collector_rests():
        assert 1 / 0
    assert gc.isenabled()


def test_a_collector_that_was_off_stays_off():
    gc.disable()
    with collector_rests():
        pass
    assert not gc.isenabled()


def test_what_is_there_when_a_process_settles_is_not_looked_at_again():
    code = (
        "import gc; from gateway.memory import settle; before = len(gc.get_objects()); settle(); "
        "print(before > 1000, gc.get_freeze_count() > 0.9 * before, len(gc.get_objects()) < 0.1 * before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert done.stdout.split() == ["True", "True", "True"]
