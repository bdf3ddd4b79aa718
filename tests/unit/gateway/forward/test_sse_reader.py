"""Events out of bytes, however they are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.forward.sse_reader import EventTooLarge, Item, SseReader


def read(*pieces: bytes, limit: int = 1 << 20) -> list[Item]:
    reader = SseReader(limit)
    out = [item for piece in pieces for item in reader.feed(piece)]
    return out + reader.finish()


@pytest.mark.parametrize(
    ("stream", "items"),
    [
        (b"data: a\n\ndata: b\n\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\n\r\ndata: b\r\n\r\n", [(b"", b"a"), (b"", b"b")]),
        (b"data: a\r\rdata: b\r\r", [(b"", b"a"), (b"", b"b")]),
        (b"data:a\n\n", [(b"", b"a")]),
        (b"data:  a\n\n", [(b"", b" a")]),
        (b"\xef\xbb\xbfdata: a\n\n", [(b"", b"a")]),
        (b"event: error\ndata: a\n\n", [(b"error", b"a")]),
        (b"data: a\nevent: x\nid: 7\nretry: 5\n\n", [(b"x", b"a")]),
        (b"data: a\ndata: b\n\n", [(b"", b"a\nb")]),
        (b"data\n\n", [(b"", b"")]),
        (b": keep-alive\n\n", [(b"", None)]),
        (b"id: 1\n\n", [(b"", None)]),
        (b"\n\n\n\ndata: a\n\n\n\n", [(b"", b"a")]),
        (b"data: a", [(b"", b"a")]),
        (b"data: a\n", [(b"", b"a")]),
        (b"<html>\n</html>\n", [(b"", None)]),
        (b"", []),
        (b"\n\n", []),
    ],
)
def test_what_is_an_event(stream: bytes, items: list[Item]) -> None:
    assert read(stream) == items
    assert read(*(stream[i : i + 1] for i in range(len(stream)))) == items


def test_a_carriage_return_may_be_cut_off_its_line_feed() -> None:
    assert read(b"data: a\r", b"\n\r", b"\ndata: b\r\n\r\n") == [(b"", b"a"), (b"", b"b")]


_LINE = st.sampled_from([b"data: {}", b"data: x", b": c", b"event: e", b"id: 1", b"data", b"junk", b""])
_END = st.sampled_from([b"\n", b"\r\n", b"\r"])


@given(st.lists(st.tuples(_LINE, _END), max_size=30), st.lists(st.integers(1, 12), max_size=40))
def test_where_the_network_cuts_makes_no_difference(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    stream = b"".join(line + end for line, end in lines)
    pieces, start = [], 0
    for cut in cuts:
        pieces.append(stream[start : start + cut])
        start += cut
    pieces.append(stream[start:])
    assert read(*filter(None, pieces)) == read(stream)


@given(st.binary(max_size=400), st.integers(1, 50))
def test_any_bytes_can_be_read_in_any_pieces(stream: bytes, size: int) -> None:
    pieces = [stream[i : i + size] for i in range(0, len(stream), size)]
    assert read(*pieces) == read(stream)


@given(st.lists(st.tuples(_LINE, st.sampled_from([b"\n", b"\n\n"])), max_size=12))
def test_streams_of_the_usual_form_are_read_like_all_others(lines: list[tuple[bytes, bytes]]) -> None:
    stream = b"".join(line + end for line, end in lines)
    expected: list[Item] = []
    for block in stream.split(b"\n\n"):
        if block.strip(b"\n"):
            fields = [line.partition(b":") for line in block.split(b"\n")]
            said = [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]
            names = [value.removeprefix(b" ") for name, _, value in fields if name == b"event"]
            expected.append((names[-1] if names else b"", b"\n".join(said)) if said else (b"", None))
    assert read(stream) == expected


def test_an_event_may_not_grow_without_end() -> None:
    reader = SseReader(100)
    assert reader.feed(b"data: " + b"x" * 90) == []
    with pytest.raises(EventTooLarge):
        reader.feed(b"x" * 20)
    with pytest.raises(EventTooLarge):
        SseReader(100).feed(b"data: a\n\ndata: " + b"x" * 200 + b"\n\ndata: b\n\n")
    assert SseReader(100).feed(b"data: x\n\n" * 50) == [(b"", b"x")] * 50


def test_a_huge_event_in_small_pieces_is_read_in_linear_time() -> None:
    piece = b"x" * 1000
    reader = SseReader(1 << 25)
    assert [item for _ in range(8000) for item in reader.feed(piece)] == []
    assert len(reader.feed(b"\n\n")) == 1
