"""Answers at random, whole, cut and spoiled, in pieces at random: what is read is what another parser (h11) reads.

Where h11 accepts an answer ours reads the same or refuses it. What was cut is never taken for whole.
"""

from __future__ import annotations

import asyncio
import gzip
from dataclasses import dataclass
from itertools import pairwise

import h11
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.strategies import DataObject, DrawFn, SearchStrategy

from gateway.forward.http1.connection import Connection
from gateway.forward.http1.errors import Http1Error
from gateway.forward.http1.response import Response

Read = tuple[int, bytes] | None
"""Status and body, or None for what is refused."""


class Socket(asyncio.Transport):
    """Takes whatever is written, and closes when told."""

    def __init__(self) -> None:
        super().__init__()
        self.closed = False

    def write(self, data: object) -> None:
        pass

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def get_write_buffer_size(self) -> int:
        return 0

    def pause_reading(self) -> None:
        raise AssertionError

    resume_reading = pause_reading


def ours(pieces: list[bytes]) -> tuple[Read, bool]:
    """Feed pieces and then the end of the connection, as a loop does; also say whether the connection was kept."""
    kept: list[Connection] = []
    sock = Socket()
    connection = Connection(asyncio.AbstractEventLoop(), (False, "a", 80), kept.append, lambda _: None)
    connection.connection_made(sock)
    response = connection.send(b"POST / HTTP/1.1\r\n\r\n")
    for piece in pieces:
        if not sock.closed:
            connection.data_received(piece)
    if not sock.closed:
        connection.eof_received()
    connection.connection_lost(None)
    reading = everything(response)
    try:
        reading.send(None)
    except StopIteration as done:
        return done.value, bool(kept)
    raise AssertionError(response)  # it would wait for ever


async def everything(response: Response) -> Read:
    body = []
    try:
        await response.begun()
        while part := await response.read_some():
            body.append(part)
    except Http1Error:
        return None
    return response.status, b"".join(body)


def theirs(data: bytes) -> Read:
    """Read the same with h11."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="POST", target="/", headers=[("Host", "a"), ("Content-Length", "0")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(data)
    connection.receive_data(b"")
    status, body = 0, []
    try:
        while True:
            event = connection.next_event()
            if isinstance(event, h11.Response):
                status = event.status_code
            elif isinstance(event, h11.Data):
                body.append(bytes(event.data))
            elif isinstance(event, h11.EndOfMessage):
                return status, b"".join(body)
            elif not isinstance(event, h11.InformationalResponse):
                return None
    except h11.RemoteProtocolError:
        return None


BODIES: SearchStrategy[bytes] = st.one_of(
    st.binary(max_size=60), st.builds(bytes.__mul__, st.binary(min_size=1, max_size=3), st.integers(0, 400))
)
LINES = (b"HTTP/1.1 200 OK", b"HTTP/1.1 200 ", b"HTTP/1.0 200 OK", b"HTTP/1.1 503 Not \xe9ven")
FRAMINGS = (
    b"Content-Length: %d",
    b"transfer-encoding:chunked",
    b"content-length : %d ",
    b"Transfer-Encoding : Chunked",
    b"",
)
BETWEEN = (b"", b"", b"HTTP/1.1 100 Continue\r\n\r\n", b"HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n")
SPOILS = (
    b"\r\n",
    b"\n",
    b" ",
    b":",
    b"\0",
    b"Content-Length: 3\r\n",
    b"Transfer-Encoding: chunked\r\n",
    b"HTTP/1.1 200 OK\r\n",
    b"0\r\n\r\n",
)
FIELDS = (
    *(b"X-A: b", b"x-empty:", b"X-Latin: \xe9", b"Connection: keep-alive", b"Keep-Alive: timeout=5"),
    *(b"Upgrade: h2c", b"X-Folded: a\r\n b", b"Server:x "),
)


@dataclass(frozen=True, slots=True)
class Made:
    """An answer and what it says. ``bounded`` says that its end can be told from what is in it."""

    data: bytes
    status: int
    body: bytes
    bounded: bool


@st.composite
def answers(draw: DrawFn, *, plain: bool = False) -> Made:
    """Make an answer as some server may write it."""
    body = coded = draw(BODIES)
    line, fields = draw(st.sampled_from(LINES)), draw(st.lists(st.sampled_from(FIELDS), max_size=4))
    if not plain and draw(st.booleans()):
        coded = gzip.compress(body, mtime=0)
        fields.append(b"Content-Encoding: gzip")
    framing = draw(st.sampled_from(FRAMINGS))
    if framing:
        fields.insert(draw(st.integers(0, len(fields))), framing % len(coded) if b"%" in framing else framing)
    if b"chunked" in framing.lower():
        coded = draw(chunked(coded))
    data = draw(st.sampled_from(BETWEEN)) + b"\r\n".join((line, *fields, b"", coded))
    return Made(data, int(line[9:12]), body, bool(framing))


@st.composite
def chunked(draw: DrawFn, body: bytes) -> bytes:
    parts = []
    while body:
        size = draw(st.integers(1, len(body)))
        parts.append(draw(st.sampled_from((b"%x", b"%X", b"00%x", b"%x;a=b"))) % size + b"\r\n" + body[:size] + b"\r\n")
        body = body[size:]
    return b"".join(parts) + b"0\r\n" + draw(st.sampled_from((b"", b"X-Trailer: t\r\n"))) + b"\r\n"


def cut(draw: DataObject, data: bytes) -> list[bytes]:
    """Cut into pieces, sometimes into single bytes."""
    marks = draw.draw(st.one_of(st.lists(st.integers(0, len(data)), max_size=6), st.just(range(len(data)))))
    cuts = sorted({0, len(data), *marks})
    return [data[start:end] for start, end in pairwise(cuts)]


@settings(max_examples=150)
@given(answers(), st.data())
def test_a_whole_answer_is_read_as_it_was_made(made: Made, draw: DataObject):
    read, kept = ours(cut(draw, made.data))
    assert read == (made.status, made.body)
    assert made.bounded or not kept
    if b"gzip" not in made.data and b" :" not in made.data:  # h11 puts up with less
        assert theirs(made.data) == read


@settings(max_examples=150)
@given(answers(), st.data())
def test_what_was_cut_is_never_taken_for_whole(made: Made, draw: DataObject):
    data = made.data[: draw.draw(st.integers(0, max(0, len(made.data) - 1)))]
    read, kept = ours(cut(draw, data))
    assert not kept
    if made.bounded:
        assert read is None
    elif b"gzip" in made.data:
        assert read is None or read[1] == b""  # of nothing nobody can say what it was
    else:
        assert read is None or made.body.startswith(read[1])


@settings(max_examples=300)
@given(answers(plain=True), st.data())
def test_what_was_spoiled_is_read_as_another_reads_it_or_refused(made: Made, draw: DataObject):
    data = bytearray(made.data)
    for _ in range(draw.draw(st.integers(1, 3))):
        at = draw.draw(st.integers(0, min(len(data), 160)))
        put = draw.draw(st.one_of(st.binary(max_size=2), st.sampled_from(SPOILS)))
        data[at : at + draw.draw(st.integers(0, 2))] = put
    read, _ = ours(cut(draw, bytes(data)))
    other = theirs(bytes(data))
    assert read is None or other is None or read == other
