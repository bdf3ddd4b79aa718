"""Routing hints from headers, from the body's ``router`` object, and from the spellings of neighbouring gateways.

The body wins over the header, the header over the key's default. A name of ours that we do not know, or a value that
cannot be, is a 400 that says which and what is allowed. Values are never echoed raw.
"""

from __future__ import annotations

import hashlib
import math
import random
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final, NoReturn

from gateway.http.errors import invalid
from gateway.http.neighbours import read_neighbours
from router_core.errors import RequestError
from router_core.request import Hints, Mode, StreamRecovery
from router_core.task import TaskType

MAX_VALUE: Final = 256
MAX_LIST: Final = 2048
MAX_ITEMS: Final = 32
_NUMERAL: Final = re.compile(r"[+-]?[0-9.]{1,32}(?:[eE][+-]?[0-9]{1,3})?\Z")
_WORD: Final = re.compile(r"[A-Za-z0-9._:/@+#-]{1,256}\Z")
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._-]{1,128}\Z")
PREFIX: Final = "x-router-"
_names: Final = random.Random()  # noqa: S311 - a name tells requests apart and opens nothing


def new_request_id() -> str:
    """Return a name for a request that came without one: unique, and no secret."""
    return f"req_{_names.getrandbits(96):024x}"


def _fail(name: str, expected: str) -> NoReturn:
    msg = f"router hint {name} must be {expected}"
    raise invalid(msg, f"router.{name}", "invalid_hint")


def _word(name: str, value: Any) -> str:
    if type(value) is not str or not _WORD.match(value):
        _fail(name, "a word of at most 256 letters, digits and . _ : / @ + # -")
    return str(value)


def _words(name: str, value: Any) -> tuple[str, ...]:
    if type(value) is str:
        if len(value) > MAX_LIST:
            _fail(name, f"at most {MAX_LIST} characters")
        value = [item.strip() for item in value.split(",") if item.strip()]
    if type(value) is not list or len(value) > MAX_ITEMS:
        _fail(name, f"a list of at most {MAX_ITEMS} words")
    return tuple(_word(name, item) for item in value)


def _fallbacks(name: str, value: Any) -> tuple[str, ...]:
    if value == "none" or value is False or value == []:
        return ()
    return _words(name, value)


def _number(name: str, value: Any) -> float:
    if type(value) is str:
        try:
            value = float(value) if _NUMERAL.match(value) else None
        except ValueError:
            value = None
    if type(value) not in {int, float} or not math.isfinite(value):
        _fail(name, "a number")
    return float(value)


def _positive(name: str, value: Any) -> float:
    number = _number(name, value)
    if number <= 0.0:
        _fail(name, "a number above 0")
    return number


def _share(name: str, value: Any) -> float:
    number = _number(name, value)
    if not 0.0 <= number <= 1.0:
        _fail(name, "a number from 0 to 1")
    return number


def _flag(name: str, value: Any) -> bool:
    if type(value) is bool:
        return value
    if type(value) is str and value.lower() in {"true", "1", "false", "0"}:
        return value.lower() in {"true", "1"}
    _fail(name, "true or false")


def _one_of(kind: type[TaskType | Mode | StreamRecovery]) -> Callable[[str, Any], Any]:
    def read(name: str, value: Any) -> Any:
        try:
            return kind(value)
        except (ValueError, TypeError):
            _fail(name, f"one of {', '.join(str(item) for item in kind)}")

    return read


HINTS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    "task": _one_of(TaskType),
    "policy": _word,
    "min_quality": _share,
    "max_cost_usd": _positive,
    "max_latency_ms": _positive,
    "prefer": _word,
    "only": _words,
    "exclude": _words,
    "diversity": _flag,
    "fallbacks": _fallbacks,
    "mode": _one_of(Mode),
    "critical": _flag,
    "stream_recovery": _one_of(StreamRecovery),
    "session": _word,
    "explain": _flag,
    "tags": _words,
}
"""Hint -> how it is read; the header is ``x-router-`` and the name with dashes."""

_HEADERS: Final = {(PREFIX + name.replace("_", "-")).encode(): name for name in HINTS}
_ALLOWED: Final = ", ".join(sorted(HINTS))


def request_id(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    """Return the client's request id when it is one we accept."""
    for name, value in headers:
        if name == b"x-request-id":
            text = value.decode("latin-1")
            return text if _REQUEST_ID.match(text) else None
    return None


def read_hints(
    headers: Iterable[tuple[bytes, bytes]],
    own: Mapping[str, Any],
    defaults: Mapping[str, Any],
    policy: str | None,
    cache_key: str | None = None,
) -> Hints:
    """Return the hints of one request.

    ``own`` are the body's own fields, ``defaults`` the key's hints and ``policy`` its policy; ``cache_key`` (OpenAI's
    prompt_cache_key) names the session when nothing else does.
    """
    values: dict[str, Any] = dict(defaults)
    if policy is not None:
        values["policy"] = policy
    session: str | None = None
    for raw_name, raw in headers:
        if raw_name[:9] == b"x-router-":
            name = _HEADERS.get(raw_name)
            if name is None:
                shown = raw_name[9:60].decode("ascii", "replace")
                msg = f"unknown routing header x-router-{shown}; known hints: {_ALLOWED}"
                raise invalid(msg, "router", "invalid_hint")
            values[name] = raw.decode("latin-1")
        elif raw_name == b"x-session-id":
            session = raw.decode("latin-1")
    if own:
        _read_body(own, values)
    if "session" not in values:
        found = own.get("session_id") or session or cache_key
        if found is not None:
            values["session"] = _session(found)
    if not values:
        return _NONE
    try:
        return Hints(**{name: _READERS[name](name, value) for name, value in values.items() if value is not None})
    except RequestError as exc:
        msg = f"router hint {exc.message}"
        raise invalid(msg, f"router.{exc.param}", "invalid_hint") from exc


def _session(value: Any) -> Any:
    """Return a neighbour's session name as a word: as it is, or hashed when it is longer or stranger than ours."""
    if type(value) is not str or _WORD.match(value):
        return value
    return hashlib.blake2b(value.encode(), digest_size=16).hexdigest()


def _read_body(own: Mapping[str, Any], values: dict[str, Any]) -> None:
    read_neighbours(own, values)
    router = own.get("router")
    if router is None:
        return
    if type(router) is not dict:
        msg = "router must be an object"
        raise invalid(msg, "router", "invalid_hint")
    for name, value in router.items():
        if name not in HINTS:
            shown = "".join(char for char in name[:64] if char.isprintable())
            msg = f"unknown routing hint {shown!r}; known hints: {_ALLOWED}"
            raise invalid(msg, f"router.{shown}", "invalid_hint")
        values[name] = value


_READERS: Final[Mapping[str, Callable[[str, Any], Any]]] = {
    **HINTS,
    "order": _words,
    "require_parameters": _flag,
    "max_price_prompt": _positive,
    "max_price_completion": _positive,
}
_NONE: Final = Hints()
