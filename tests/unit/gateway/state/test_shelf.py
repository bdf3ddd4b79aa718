from __future__ import annotations

from gateway.state.shelf import Shelf


def test_the_first_go_first_when_there_are_too_many():
    shelf = Shelf(3, 1000)
    for name in "abcd":
        shelf.put(name, b"x", None)
    shelf.put("b", b"y", None)  # the newest now
    shelf.put("e", b"x", None)
    assert shelf.list(9, "", 0.0) == [("e", b"x"), ("d", b"x"), ("b", b"y")]


def test_or_when_they_are_too_large_together_but_one_is_always_held():
    shelf = Shelf(100, 10)
    for name in "abc":
        shelf.put(name, b"12345", None)
    assert [name for name, _ in shelf.list(9, "", 0.0)] == ["c", "b"]
    shelf.put("c", b"1234567", None)
    assert [name for name, _ in shelf.list(9, "", 0.0)] == ["c"]
    shelf.put("d", b"x" * 11, None)
    assert [name for name, _ in shelf.list(9, "", 0.0)] == ["d"]
    shelf.drop("d")
    for name in "ef":
        shelf.put(name, b"12345", None)
    assert len(shelf.list(9, "", 0.0)) == 2


def test_what_has_expired_is_not_there_and_then_forgotten():
    shelf = Shelf(100, 10)
    shelf.put("a", b"12345", 5.0)
    shelf.put("b", b"12345", None)
    assert (shelf.get("a", 4.9), shelf.get("a", 5.0), shelf.get("none", 0.0)) == (b"12345", None, None)
    assert shelf.list(1, "", 5.0) == [("b", b"12345")]
    assert shelf.list(9, "b", 4.0) == [("a", b"12345")]
    assert len(shelf) == 2
    shelf.prune(5.0)
    assert len(shelf) == 1
    shelf.put("c", b"12345", None)
    assert [name for name, _ in shelf.list(9, "", 0.0)] == ["c", "b"]
