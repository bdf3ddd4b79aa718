from __future__ import annotations

import random

import pytest

from router_core.change import ALARM, BLOCK, WARM, Change, Usual
from router_core.drift import NONE, strength


def stream(seed: int, count: int, usual: float, later: float, change_at: int, *, bias: float = 0.0) -> tuple[int, int]:
    """Feed votes of 0 and 1 with expectations around ``usual``; returns (values after the change until alarm, sign)."""
    rng = random.Random(seed)
    found = Change()
    for index in range(count):
        expected = min(0.98, max(0.02, rng.gauss(usual, 0.15)))
        moved = later - usual if index >= change_at else 0.0
        right = rng.random() < min(1.0, max(0.0, expected + bias + moved))
        found = found.plus(float(right), expected)
        if found.alarm:
            return index - change_at, found.alarm
    return count, 0


@pytest.mark.parametrize(("usual", "later", "sign"), [(0.75, 0.35, -1), (0.9, 0.55, -1), (0.3, 0.8, 1)])
def test_a_change_is_found_within_some_dozen_values(usual, later, sign):
    found = [stream(seed, 1600, usual, later, 600) for seed in range(11)]
    assert [each[1] for each in found] == [sign] * 11
    assert sorted(each[0] for each in found)[5] < 80


@pytest.mark.parametrize("usual", [0.3, 0.6, 0.9])
def test_nothing_is_found_where_nothing_changed(usual):
    assert [stream(seed, 8000, usual, usual, 0)[1] for seed in range(4)] == [0, 0, 0, 0]


def test_critics_who_always_complain_are_no_change():
    assert stream(1, 8000, 0.8, 0.8, 0, bias=-0.3)[1] == 0
    after, sign = stream(1, 3000, 0.8, 0.4, 1500, bias=-0.3)
    assert (after < 300, sign) == (True, -1)


def test_graded_values_count_as_shares_of_a_hit():
    rng, found = random.Random(0), Change()
    for _ in range(2000):
        found = found.plus(min(1.0, max(0.0, rng.gauss(0.7, 0.1))), 0.7)
    assert found.alarm == 0
    steps = 0
    while not found.alarm and steps < 500:
        found = found.plus(min(1.0, max(0.0, rng.gauss(0.4, 0.1))), 0.7)
        steps += 1
    assert found.alarm == -1
    assert max(strength(found.up), strength(found.down)) >= ALARM


def test_nothing_is_judged_before_it_is_known_what_is_usual():
    found = Change()
    for _ in range(WARM):
        found = found.plus(0.0, 1.0)
    assert found.up == found.down == NONE
    assert found.usual.n == WARM


def test_what_is_usual_is_renewed_in_blocks_and_forgets():
    usual = Usual()
    for _ in range(20 * BLOCK):
        usual = usual.plus(-0.2)
    assert BLOCK < usual.n <= 2 * BLOCK
    low, high = usual.bounds()
    assert low < -0.2 < high
    for _ in range(10 * BLOCK):
        usual = usual.plus(0.3)
    assert usual.bounds()[0] > 0.0
