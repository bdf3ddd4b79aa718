"""Hints from headers, body, neighbours and keys: who wins, how each is read, what is never echoed."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.http.errors import ApiError
from gateway.http.headers import HINTS, read_hints, request_id
from router_core.request import Hints, Mode, StreamRecovery
from router_core.task import TaskType

READ: list[tuple[str, Any, str, Any]] = [
    ("task", "code_generation", "code_generation", TaskType.CODE_GENERATION),
    ("policy", "cost", "cost", "cost"),
    ("min_quality", 0.5, "0.5", 0.5),
    ("max_cost_usd", 0.01, "1e-2", 0.01),
    ("max_latency_ms", 250, "250", 250.0),
    ("prefer", "acme", "acme", "acme"),
    ("only", ["a", "b/c"], "a, b/c", ("a", "b/c")),
    ("exclude", ["x"], "x", ("x",)),
    ("diversity", True, "TRUE", True),
    ("fallbacks", [], "none", ()),
    ("mode", "voting", "voting", Mode.VOTING),
    ("critical", False, "0", False),
    ("stream_recovery", "buffer", "buffer", StreamRecovery.BUFFER),
    ("session", "abc:1", "abc:1", "abc:1"),
    ("explain", True, "1", True),
    ("tags", ["team:a"], "team:a", ("team:a",)),
]


def header(hint: str, value: str) -> tuple[bytes, bytes]:
    return f"x-router-{hint.replace('_', '-')}".encode(), value.encode()


def read(
    *headers: tuple[bytes, bytes], defaults: dict[str, Any] | None = None, policy: str | None = None, **own: Any
) -> Hints:
    return read_hints(headers, own, defaults or {}, policy)


def test_every_hint_is_tried():
    assert {row[0] for row in READ} == set(HINTS)


@pytest.mark.parametrize(("hint", "in_body", "in_header", "value"), READ, ids=[row[0] for row in READ])
def test_a_hint_means_the_same_in_body_and_header(hint: str, in_body: Any, in_header: str, value: Any):
    assert getattr(read(router={hint: in_body}), hint) == value
    assert getattr(read(header(hint, in_header)), hint) == value


def test_the_body_wins_over_the_header_and_the_header_over_the_key():
    key = {"mode": "judge", "min_quality": 0.1}
    assert read(defaults=key, policy="cost").policy == "cost"
    assert read(header("policy", "speed"), defaults=key, policy="cost").policy == "speed"
    found = read(header("policy", "speed"), header("mode", "single"), defaults=key, router={"policy": "quality"})
    assert (found.policy, found.mode, found.min_quality) == ("quality", Mode.SINGLE, 0.1)


def test_a_null_says_nothing():
    assert read(router={"policy": None, "only": None}) == Hints()
    assert read(router=None, provider=None, models=None) == Hints()


@pytest.mark.parametrize("hint", HINTS)
@given(value=st.text(max_size=40) | st.floats() | st.integers() | st.lists(st.text(max_size=5), max_size=3) | st.none())
def test_any_value_is_read_or_refused_by_name(hint: str, value: Any):
    refusal: ApiError | None = None
    try:
        read(router={hint: value})
    except ApiError as exc:
        refusal = exc
    if refusal is not None:
        assert (refusal.status, refusal.code, refusal.param) == (400, "invalid_hint", f"router.{hint}")
        assert refusal.message.isprintable()


@pytest.mark.parametrize("raw", [b"\xff\xfe", b"a b", b"a\x00", b"", b"x" * 257, b"a\r\n", b"\xc3\xa9"])
def test_a_word_is_plain(raw: bytes):
    with pytest.raises(ApiError) as caught:
        read((b"x-router-session", raw))
    assert caught.value.param == "router.session"


def test_an_unknown_header_of_ours_is_refused_and_shown_short():
    with pytest.raises(ApiError) as caught:
        read((b"x-router-" + b"y" * 5000, b"1"))
    assert len(caught.value.message) < 600
    assert read((b"x-routes", b"1"), (b"x-other", b"1")) == Hints()


def test_a_neighbours_session_is_kept_as_it_is_or_hashed():
    assert read(session_id="plain").session == "plain"
    strange = read(session_id="two words").session
    assert strange is not None
    assert strange == read((b"x-session-id", b"two words")).session
    assert len(strange) == 32
    assert read(header("session", "ours"), session_id="theirs").session == "ours"
    assert read_hints((), {}, {}, None, "cache").session == "cache"


@pytest.mark.parametrize(
    ("sent", "kept"),
    [
        (b"abc-1._", "abc-1._"),
        (b"x" * 128, "x" * 128),
        (b"x" * 129, None),
        (b"", None),
        (b"a b", None),
        (b"a\n", None),
        (b"\xe9", None),
    ],
)
def test_a_request_id_is_taken_or_left(sent: bytes, kept: str | None):
    assert request_id([(b"other", b"1"), (b"x-request-id", sent)]) == kept
    assert request_id([]) is None
