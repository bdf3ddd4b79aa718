"""What a fast JSON parser lets through and we do not: nesting bombs and duplicate keys.

Most clients write JSON without a blank, as we do: what reads the same when written again repeats no key. In other
bodies a duplicate key is seen by counting: outside of strings, a quote followed by a colon ends a key, so the number of
unescaped ``":`` in the bytes is the number of keys written. An exact, slower parse decides when it differs from the
number of keys in the tree, and when the count could be fooled: by white space before a colon, or by a string that ends
with a backslash, whose closing quote looks escaped.
"""

from __future__ import annotations

import json
import re
from typing import Any, Final

import orjson

from gateway.http.errors import invalid

_MOST_DIGITS: Final = 400
_NESTS: Final = frozenset({dict, list})
_FOOLS_THE_COUNT: Final = re.compile(rb'"[ \t\r\n]+:|\\\\":')


def check_tree(raw: bytes, body: dict[str, Any], depth: int) -> None:
    """Refuse a tree deeper than ``depth`` and one whose objects repeat a key."""
    says_again = _says_again(raw, body)
    if says_again and raw.count(b"{") + raw.count(b"[") <= depth:
        return  # it opens no more than it may nest
    keys = _count_keys(body, depth)
    if says_again:
        return
    written = raw.count(b'":') - raw.count(b'\\":')
    if keys != written or _FOOLS_THE_COUNT.search(raw) is not None:
        _check_exactly(raw)


def _says_again(raw: bytes, body: dict[str, Any]) -> bool:
    try:
        return orjson.dumps(body) == raw
    except TypeError:  # a policy may allow deeper trees than it writes
        return False


def _count_keys(body: dict[str, Any], depth: int) -> int:
    keys = 0
    level: list[Any] = [body]
    for _ in range(depth):
        below: list[Any] = []
        for node in level:
            if type(node) is dict:
                keys += len(node)
                node = node.values()  # noqa: PLW2901 - what is in it, as in a list
            below += [value for value in node if type(value) in _NESTS]
        if not below:
            return keys
        level = below
    msg = f"the request body is nested deeper than {depth} levels"
    raise invalid(msg, code="invalid_json")


def _check_exactly(raw: bytes) -> None:
    try:
        json.loads(raw, object_pairs_hook=_unique, parse_int=_short)
    except _DuplicateKey as exc:
        msg = f"the request body repeats the key {exc.args[0]!r}"
        raise invalid(msg, code="invalid_json") from exc
    except (ValueError, RecursionError) as exc:
        msg = "the request body is not valid JSON"
        raise invalid(msg, code="invalid_json") from exc


class _DuplicateKey(Exception):
    pass


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise _DuplicateKey("".join(char for char in name[:64] if char.isprintable()))
            seen.add(name)
    return found


def _short(digits: str) -> int:
    if len(digits) > _MOST_DIGITS:
        msg = "number too long"
        raise ValueError(msg)
    return int(digits)
