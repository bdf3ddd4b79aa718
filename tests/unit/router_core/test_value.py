from __future__ import annotations

import copy
import pickle
from dataclasses import dataclass, field, fields, replace
from typing import Any

import pytest

from router_core.value import value_class


@value_class()
class Point:
    x: int
    y: float = 0.0
    seen: Any = field(default=None, compare=False)
    tags: dict[str, int] = field(default_factory=dict, hash=False)

    def __post_init__(self) -> None:
        if self.x < 0:
            msg = "x must not be negative"
            raise ValueError(msg)


@dataclass(frozen=True, slots=True)
class Frozen:
    x: int
    y: float = 0.0
    seen: Any = field(default=None, compare=False)
    tags: dict[str, int] = field(default_factory=dict, hash=False)


@value_class(eq=False)
class Held:
    x: int


def test_it_is_compared_and_hashed_by_its_fields_like_a_frozen_dataclass():
    assert Point(1, 2.0) == Point(1, 2.0, seen="anything")
    assert Point(1, 2.0) != Point(1, 3.0)
    assert Point(1, 2.0) != Frozen(1, 2.0)
    assert hash(Point(1, 2.0)) == hash(Point(1, 2.0, seen="anything")) == hash(Frozen(1, 2.0))
    assert {Point(1), Point(1), Point(2)} == {Point(1), Point(2)}


def test_without_comparison_each_is_equal_to_itself_alone():
    one, other = Held(1), Held(1)
    assert one == one  # noqa: PLR0124 - that is the point
    assert one != other
    assert len({one, other}) == 2


def test_it_prints_and_lists_its_fields_like_a_frozen_dataclass():
    assert repr(Point(1)) == repr(Frozen(1)).replace("Frozen", "Point")
    assert [spec.name for spec in fields(Point)] == ["x", "y", "seen", "tags"]
    assert Point(1).tags is not Point(1).tags


def test_a_changed_copy_is_checked_like_a_new_one():
    assert replace(Point(1), y=2.0) == Point(1, 2.0)
    with pytest.raises(ValueError, match="x must not be negative"):
        replace(Point(1), x=-1)


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_it_survives_pickling(protocol: int):
    point = Point(1, 2.0, tags={"a": 1})
    assert pickle.loads(pickle.dumps(point, protocol)) == point


def test_it_can_be_copied():
    point = Point(1, 2.0, tags={"a": 1})
    assert copy.copy(point) == point == copy.deepcopy(point)
    assert copy.copy(point).tags is point.tags


def test_it_has_room_for_its_fields_only():
    assert not hasattr(Point(1), "__dict__")
    with pytest.raises(AttributeError):
        Point(1).z = 3
