"""A secret shows itself only when asked to, and is found in any text."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable

import orjson
import pytest

from gateway.secrets import MASK, Secret, scrub

_PREFIXES = ("sk", "pk", "rk", "gsk", "csk", "xai", "pplx", "r8", "hf", "nvapi", "ghp", "fw", "moe")
_PARAMETERS = ("api_key", "key", "token", "access_token", "secret", "password", "signature")


def test_a_secret_does_not_print() -> None:
    secret = Secret("correct-horse-battery")
    for text in (
        str(secret),
        repr(secret),
        f"{secret}",
        f"{secret:>40}",
        str([secret]),
        str({"k": secret}),
    ):
        assert "horse" not in text
    assert secret.reveal() == "correct-horse-battery"


@pytest.mark.parametrize("dump", [json.dumps, orjson.dumps, pickle.dumps])
def test_a_secret_cannot_be_serialised(dump: Callable[[object], object]) -> None:
    with pytest.raises(TypeError):
        dump({"key": Secret("correct-horse-battery")})


def test_equality_and_truth() -> None:
    assert Secret("abcdef") == Secret("abcdef")
    assert Secret("abcdef") != Secret("abcdeg")
    assert Secret("abcdef") != "abcdef"
    assert len({Secret("abcdef"), Secret("abcdef")}) == 1
    assert not Secret("")


def test_scrub_finds_registered_values_the_longest_first() -> None:
    Secret("plain-words-value")
    Secret("plain-words-value-and-more")
    assert scrub("a plain-words-value-and-more b plain-words-value c") == f"a {MASK} b {MASK} c"


def test_scrub_leaves_very_short_values_alone() -> None:
    Secret("demo")
    assert scrub("a demo answer") == "a demo answer"


@pytest.mark.parametrize(
    ("text", "gone"),
    [
        ("Incorrect API key provided: sk-proj-****************wxyz.", "wxyz"),
        ("key sk-ant-api03-AbC_dEf-123456 is bad", "AbC_dEf"),
        ("gsk_1234567890abcdef", "1234567890"),
        ("https://host/v1?key=AIzaSyA1234567890abcdefghij&alt=sse", "SyA123"),
        ("?api_key=hunter2&x=1", "hunter2"),
        ("Authorization: Bearer abc.def-ghi", "abc.def"),
        ("token xoxb-1234-5678-abcdefgh leaked", "1234-5678"),
        ("Your api key: 0123456789abcdef0123456789abcdef is wrong", "0123456789abcdef"),
        ("The API key provided 'QWxhZGRpbjpvcGVuIHNlc2FtZQ==' was refused", "QWxhZGRp"),
        ("AKIAIOSFODNN7EXAMPLE", "IOSFODNN"),
        ("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.sig_nature", "hbGciOi"),
    ],
)
def test_scrub_takes_out_what_looks_like_a_key(text: str, gone: str) -> None:
    assert gone not in scrub(text)
    assert MASK in scrub(text)


@pytest.mark.parametrize(
    "key",
    [
        *(f"{name}-abcdefgh" for name in _PREFIXES),
        *(f"{name}=abcdefgh" for name in _PARAMETERS),
        *(f"{name} abcdefgh" for name in ("Bearer", "basic")),
        *(f"{name} key: abcdefgh01234567" for name in ("API", "access", "secret")),
        "AIzaSyabcdefgh",
        "AKIAABCDEFGH",
        "xoxp-abcdefgh",
        "ya29.abcdefgh",
        "eyJabcdefgh.abcdefgh",
    ],
)
def test_every_kind_of_key_is_found_wherever_a_word_begins(key: str) -> None:
    for text in (key, f"({key})", f"got {key}, sorry", key.upper()):
        assert "abcdefgh" not in scrub(text).lower(), text


@pytest.mark.parametrize(
    "text",
    [
        "This model's maximum context length is 8192 tokens.",
        "Invalid value for 'temperature': must be at most 2.",
        "Incorrect API key provided.",
        "The monkey=banana problem is not about keys",
    ],
)
def test_scrub_leaves_ordinary_sentences_alone(text: str) -> None:
    assert scrub(text) == text


def test_what_precedes_a_key_stays() -> None:
    assert scrub("Authorization: Bearer abcd1234") == f"Authorization: Bearer {MASK}"
    assert scrub("?x=1&key=abcd1234") == f"?x=1&key={MASK}"
