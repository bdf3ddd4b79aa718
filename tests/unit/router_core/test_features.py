from __future__ import annotations

import re
import sys

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core.features import (
    _OTHER_DIGIT,
    DENSE_NAMES,
    EMBEDDING_SIZE,
    extract,
    hashed_embedding,
    read_prompt,
)


def features(text, **more):
    return extract(read_prompt({"messages": [{"role": "user", "content": text}], **more}), None)


def measure(text, name, **more):
    return float(features(text, **more).dense[DENSE_NAMES.index(name)])


@pytest.mark.parametrize(
    ("name", "has", "lacks"),
    [
        ("length", "a long text " * 20, "short"),
        ("digits", "2024 17 3", "none"),
        ("code", "f(x) { return a[i]; }", "plain words"),
        ("questions", "why? how?", "so."),
        ("questions", "为什么？", "好。"),
        ("asks", 'is it "so?"', "is it? yes"),
        ("options", "Pick\nA) one\nB) two", "Pick\none\ntwo"),
        ("options", "(A) one", "one" * 60),
        ("latex", r"\frac{1}{2}", "a half"),
        ("lines", "a\nb\nc", "abc"),
        ("bullets", "do\n- this\n2. that", "do this"),
        ("fence", "```py", "py"),
        ("docstring", '"""Return."""', "Return."),
        ("opens_code", "def f():", "define it"),
        ("diff", "x\n@@ -1 +1 @@\n-old\n+new", "x\nold\nnew"),
        ("log", "ERROR at start", "all fine"),
        ("log", "12:01:07 up, 12:01:09 down", "at 12 and 13"),
        ("table", "a,b,c\n1,2,3", "a\nb"),
        ("table", "a|b|c\n" * 30, "a\n" * 30),
        ("slots", "hello ${name}", "hello name"),
        ("headings", "# Title\n## Part", "Title\nPart"),
        ("numbers", "1 2 3", "one"),
        ("operators", "what is 3 + 4", "what is three"),
        ("identifiers", "CVE-2024-1", "a number"),
        ("identifiers", "from 10.0.0.1", "from 10 to 20"),
        ("wide", "привет", "hello"),
        ("you_are", "I want you to act as a guide", "a guide acts"),
        ("you_are", "Представь, что ты пират", "пират"),
        ("short", "hi", "x" * 41),
        ("turns", "x", ""),
    ],
)
def test_each_measure_sees_what_it_is_named_after(name, has, lacks):
    assert measure(has, name) > measure(lacks, name) or name == "turns"


def test_structure_is_measured_too():
    body = {"messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "x"}]}
    with_system = extract(read_prompt(body | {"tools": [{}, {}]}), None)
    assert with_system.n_tools == 2
    for name in ("system", "turns", "tools"):
        assert with_system.dense[DENSE_NAMES.index(name)] > features("x").dense[DENSE_NAMES.index(name)]


def test_without_an_embedder_words_are_hashed_to_a_unit_vector():
    made = features("write a test for this function")
    assert made.hashed
    assert made.embedding.shape == (EMBEDDING_SIZE,)
    assert made.embedding.dtype == np.float32
    assert np.linalg.norm(made.embedding) == pytest.approx(1.0, abs=1e-5)


def test_similar_texts_are_near_and_the_empty_one_is_zero():
    a, b, c = (hashed_embedding(t) for t in ("write unit tests", "write some unit tests", "plan a trip to Rome"))
    assert a @ b > a @ c
    assert not hashed_embedding("").any()


def test_the_embedder_reads_the_last_turn_and_for_a_short_one_what_came_before():
    seen = []

    def embedder(text, /):
        seen.append(text)
        return np.zeros(EMBEDDING_SIZE, dtype=np.float32)

    turns = [{"role": "user", "content": "Write a poem"}, {"role": "user", "content": "continue"}]
    made = extract(read_prompt({"messages": turns}), embedder)
    assert seen == ["continue", "Write a poem"]
    assert not made.hashed
    assert made.context_embedding is not None
    turns[1] = {"role": "user", "content": "x" * 1000}
    assert extract(read_prompt({"messages": turns}), embedder).context_embedding is None


def test_a_prompt_of_system_text_alone_is_embedded_by_it():
    made = extract(read_prompt({"messages": [{"role": "system", "content": "You review code"}]}), None)
    assert made.embedding.any()


@given(st.text(max_size=3000))
def test_any_text_has_finite_bounded_measures(text):
    made = features(text)
    assert made.dense.shape == (len(DENSE_NAMES),)
    assert made.dense.min() >= 0
    assert made.dense.max() <= 2
    assert np.isfinite(made.embedding).all()
    assert made.input_tokens >= 1


def test_every_digit_of_every_script_is_looked_for():
    digits = [char for char in map(chr, range(0x80, sys.maxunicode + 1)) if char.isdecimal()]
    assert len(digits) > 600
    assert not [char for char in digits if _OTHER_DIGIT.search(char) is None]


_COUNTED = {
    "options": (r"(?m)^[ \t]*[(（]?[A-Ja-jА-Е][)）.:、]", 5),
    "bullets": (r"(?m)^[ \t]{0,8}(?:[-*•·]|\d{1,3}[.)、])[ \t]", 10),
    "operators": (r"\d\s?[-+*/×÷=^%<>]\s?[\d(]", 5),
    "numbers": (r"\d+", 20),
    "latex": (r"\\[a-zA-Z]{2,12}|\$[^$\n ]|\^\{|_\{", 5),
    "slots": (r"\$\{|\{\{|\{[A-Za-z_]|<[A-Z_]{3}|\[[A-Z][A-Za-z_]{2}|<<", 5),
    "log": (r"ERROR|WARN|INFO|FATAL|Traceback|Exception|\n    at ", 5),
    "identifiers": (r"CVE-|hxxp|:\\|/etc/|/bin/|sha256|0x", 5),
}


_PIECES = ["\n- ", "\nA) ", "3 +\t4", "3 ÷ 4", "\n    at ", "/etc/", "sha256", "ERROR", "INFO", "Exception", "<ABC"]
_PIECES += ["[Ab_", "CVE-", "hxxp", ":\\", "0x"]


@pytest.mark.parametrize("name", _COUNTED)
@given(pieces=st.lists(st.sampled_from([*"aB19:.-+(#*,|я×３\\$^_{<[ \n\u3000"]) | st.sampled_from(_PIECES)))
def test_shortcuts_count_what_the_expressions_would(name, pieces):
    text = "\n" + "".join(pieces)
    pattern, most = _COUNTED[name]
    assert measure(text, name) == np.float32(min(len(re.findall(pattern, text)), most) / most)


def test_a_table_in_any_separator_is_seen_and_a_list_of_words_is_not():
    assert measure("a;b;c\n1|2|3\n4,5\n6\t7", "table") == pytest.approx(0.2)


def test_paths_and_hashes_identify():
    assert measure("see C:\\temp, /etc/passwd and sha256 of 0x1f", "identifiers") == pytest.approx(0.8)
