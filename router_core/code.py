"""Whether the code of an answer's block is whole, as far as a cheap parser can tell; excerpts are not judged.

Answers show parts of programs: a method without its class, a line with "..." for what stays, a file's settings with
comments. Only what no reading could make whole is called wrong.
"""

from __future__ import annotations

import ast
import json
import re
import textwrap
import warnings
from typing import Any, Final

_PYTHON: Final = frozenset({"python", "py", "python3"})
_SCRIPTS: Final = frozenset({"javascript", "js", "jsx", "typescript", "ts", "tsx", "dart", "swift", "kotlin", "kt"})
_COMPILED: Final = frozenset({"java", "c", "cpp", "c++", "csharp", "c#", "cs", "go", "golang", "scala"})
_RUST: Final = frozenset({"rust", "rs"})
_LEFT_OUT: Final = re.compile(r"\.\.\.|\u2026")
"""An ellipsis: the answer says itself that something is missing."""
_SHELL: Final = re.compile(r"^\s*(?:[!%$]|>>> |In \[|[-+]{3} |[-+] {4,}|@@ )", re.MULTILINE)
"""Lines of notebooks, sessions and diffs, which no Python file has."""
_HOLE: Final = re.compile(r"<[^<>\n=]{1,40}>|\[(?:YOUR|your|INSERT|insert)[^\]\n]*\]|\{\{[^}\n]*\}\}")
"""A place left for the reader to fill in."""
_FIRST: Final = re.compile(r"\s*(?:elif|else|except|finally|case)\b")
_COMMENT: Final = re.compile(r"^\s*(?://|/\*|#)|,\s*//|[\[{]\s*//", re.MULTILINE)


def parses(language: str, code: str) -> str | None:
    """Return "" when ``code`` parses, what is wrong when it does not, None when it cannot be judged.

    Python is checked by its own parser, JSON likewise; bracket languages by balanced brackets outside strings.
    """
    if language in _PYTHON:
        return _python(code)
    if language == "json":
        return _json(code)
    if language in _SCRIPTS or language in _COMPILED or language in _RUST:
        return _balanced(code, rust=language in _RUST)
    return None


def _no_number(name: str) -> Any:
    raise ValueError(name)


_READ: Final = json.JSONDecoder(parse_constant=_no_number)


def loads(text: str) -> Any:
    """Read JSON, and nothing but JSON: NaN and Infinity, which Python would read too, are refused.

    Raises ValueError, or RecursionError for what is nested too deeply.
    """
    return _READ.decode(text)


def _python(code: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # an answer's odd escapes are not ours to report
            ast.parse(textwrap.dedent(code))
    except (SyntaxError, ValueError):
        excerpt = _SHELL.search(code) or _HOLE.search(code) or _LEFT_OUT.search(code) or _FIRST.match(code)
        return None if excerpt else "not Python"
    except (MemoryError, RecursionError):
        return None
    return ""


def _json(code: str) -> str | None:
    try:
        loads(code)
    except (ValueError, RecursionError):
        if not code.strip() or _COMMENT.search(code) or _LEFT_OUT.search(code) or _HOLE.search(code):
            return None  # settings with comments, parts left out: shown to people, not sent to a parser
        return None if _lines(code) else "not JSON"
    return ""


def _lines(code: str) -> bool:
    """Whether each line is JSON by itself."""
    try:
        for line in code.splitlines():
            if line.strip():
                loads(line)
    except (ValueError, RecursionError):
        return False
    return True


_TEXT: Final = re.compile(
    r"//[^\n]*|/\*.*?(?:\*/|\Z)|\"\"\".*?(?:\"\"\"|\Z)|\"(?:\\.|[^\"\\\n])*\""
    r"|'(?:\\.|[^'\\\n])*'|`(?:\\.|[^`\\])*(?:`|\Z)|(?<=[=(,:&|!?])\s*/(?![/*])(?:\\.|\[(?:\\.|[^\]\n])*\]|[^/\\\n])+/",
    re.DOTALL,
)
_LIFETIME: Final = re.compile(r"'(?:static\b|[a-z_]\w*\b(?!'))")
_PAIRS: Final = {")": "(", "]": "[", "}": "{"}


def _balanced(code: str, *, rust: bool) -> str | None:
    bare = _TEXT.sub("", _LIFETIME.sub("", code) if rust else code)
    open_now: list[str] = []
    for sign in bare:
        if sign in "([{":
            open_now.append(sign)
        elif sign in _PAIRS:
            if not open_now:
                return None  # closes what an excerpt does not show
            if open_now.pop() != _PAIRS[sign]:
                return None if _LEFT_OUT.search(code) else "brackets do not match"
    if open_now:
        return None if _LEFT_OUT.search(code) else "brackets are left open"
    return ""
