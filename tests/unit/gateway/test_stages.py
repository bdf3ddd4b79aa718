"""Work in stages: together or alone the results are the same; nobody's failure or leaving is another's."""

from __future__ import annotations

import asyncio
import contextlib

import pytest

from gateway import stages
from gateway.stages import Stages, Steps, alone, together

pytestmark = pytest.mark.anyio


def work(name: str, seen: list[str], count: int = 3, fault: Exception | None = None) -> Steps[str]:
    """Go through ``count`` stages; with a ``fault`` raise it in the second."""
    try:
        for number in range(1, count + 1):
            if fault is not None and number == 2:
                raise fault
            seen.append(f"{name}{number}")
            if number < count:
                yield
    except GeneratorExit:
        seen.append(f"{name} closed")
        raise
    return name.upper()


def test_alone_goes_through_all_stages_and_returns_the_result():
    seen: list[str] = []
    assert alone(work("a", seen)) == "A"
    assert seen == ["a1", "a2", "a3"]


def test_alone_raises_what_the_work_raises():
    seen: list[str] = []
    with pytest.raises(LookupError, match="odd"):
        alone(work("a", seen, fault=LookupError("odd")))
    assert seen == ["a1"]


def test_together_all_pass_a_stage_before_any_passes_the_next():
    seen: list[str] = []

    together([work("a", seen, 2), work("b", seen, 3), work("c", seen, 1)])
    assert seen == ["a1", "b1", "c1", "a2", "b2", "b3"]
    together(())


async def test_those_who_ask_in_one_turn_go_together():
    seen: list[str] = []
    made = Stages()
    results = await asyncio.gather(*(made.run(work(name, seen, 2)) for name in "abc"))
    assert results == ["A", "B", "C"]
    assert seen == ["a1", "b1", "c1", "a2", "b2", "c2"]
    assert await made.run(work("d", seen, 1)) == "D"


async def test_of_more_than_a_batch_the_rest_has_the_next_turn(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(stages, "_AT_ONCE", 2)
    seen: list[str] = []
    made = Stages()
    assert await asyncio.gather(*(made.run(work(name, seen, 2)) for name in "abcde")) == list("ABCDE")
    assert seen == ["a1", "b1", "a2", "b2", "c1", "d1", "c2", "d2", "e1", "e2"]


async def test_who_fails_fails_alone():
    seen: list[str] = []
    made = Stages()
    bad = made.run(work("b", seen, fault=LookupError("odd")))
    first, second, third = await asyncio.gather(
        made.run(work("a", seen)), bad, made.run(work("c", seen)), return_exceptions=True
    )
    assert (first, third) == ("A", "C")
    assert isinstance(second, LookupError)
    assert seen == ["a1", "b1", "c1", "a2", "c2", "a3", "c3"]


async def test_for_who_has_left_nothing_more_is_done():
    seen: list[str] = []
    made = Stages()
    left = asyncio.create_task(made.run(work("a", seen)))
    stays = asyncio.create_task(made.run(work("b", seen)))
    await asyncio.sleep(0)  # both have asked; the work is done in the next turn
    left.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await left
    assert await stays == "B"
    assert left.cancelled()
    assert seen == ["b1", "b2", "b3"]


async def test_who_leaves_between_two_stages_is_let_go_of():
    seen: list[str] = []
    made = Stages()
    leaving: list[asyncio.Task[str]] = []

    def dismiss() -> Steps[str]:
        yield
        leaving[0].cancel()
        return "DISMISSED"

    leaving.append(asyncio.create_task(made.run(work("a", seen))))
    other = asyncio.create_task(made.run(dismiss()))
    late = asyncio.create_task(made.run(work("b", seen, 1)))
    assert await other == "DISMISSED"
    assert await late == "B"
    with pytest.raises(asyncio.CancelledError):
        await leaving[0]
    assert seen == ["a1", "b1", "a2", "a closed"]
