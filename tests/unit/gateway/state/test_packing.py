from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.state.packing import pack, plain, unpack
from gateway.state.sqlite import SqliteStore
from router_core.ports import Batch

RECORD = b'{"deployment": "acme/m1", "score": 50.5, "facts": {"known": {"quality": 0.5}}},' * 200


@given(st.one_of(st.binary(max_size=3000), st.binary(max_size=2000).map(b"\0z".__add__)))
def test_what_is_packed_comes_back(data: bytes):
    assert unpack(pack(data)) == data
    assert unpack(plain(data)) == data


def test_small_documents_and_those_that_are_compared_lie_there_as_they_are():
    assert pack(b"{}") == b"{}"
    assert plain(RECORD) == RECORD


def test_what_somebody_else_wrote_there_is_left_to_the_reader():
    assert unpack(b"\0zno such thing") == b"\0zno such thing"


@pytest.mark.anyio
async def test_a_record_takes_a_quarter_of_its_size(tmp_path: Path):
    store = SqliteStore(tmp_path / "state.db")
    await store.open()
    await store.push(Batch("a:1", documents=[("decision", "d1", RECORD, None)]))
    await store.close()
    ((size,),) = sqlite3.connect(tmp_path / "state.db").execute("SELECT length(data) FROM documents")
    assert size < len(RECORD) / 4
