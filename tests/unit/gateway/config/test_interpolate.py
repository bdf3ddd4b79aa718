from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.config.document import Document
from gateway.config.interpolate import UnsetVariable, expand, interpolate

ENV = {"NAME": "value", "EMPTY": "", "NESTED": "${NAME}"}


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("plain", "plain"),
        ("${NAME}", "value"),
        ("a-${NAME}-${NAME}", "a-value-value"),
        ("${GONE:-else}", "else"),
        ("${EMPTY:-else}", "else"),
        ("${EMPTY}", ""),
        ("${GONE:-}", ""),
        ("${GONE:-http://x:1/-y}", "http://x:1/-y"),
        ("${NAME:-else}", "value"),
        ("$$", "$"),
        ("$${NAME}", "${NAME}"),
        ("$$$${NAME}", "$${NAME}"),
        ("5$ each", "5$ each"),
        ("${NESTED}", "${NAME}"),
    ],
)
def test_placeholders_are_replaced_once(text, expected):
    assert expand(text, ENV, Path(), set()) == expected


@pytest.mark.parametrize("text", ["${}", "${1A}", "${A B}", "${NAME-else}"])
def test_a_malformed_placeholder_is_refused(text):
    with pytest.raises(ValueError, match="is no placeholder; allowed"):
        expand(text, ENV, Path(), set())


def test_an_unset_variable_is_named():
    with pytest.raises(UnsetVariable) as caught:
        expand("x${GONE}", ENV, Path(), set())
    assert caught.value.name == "GONE"


@given(st.text(alphabet="ab$ {", max_size=12))
def test_text_without_a_whole_placeholder_only_loses_doubled_dollars(text):
    assert expand(text, {}, Path(), set()) == text.replace("$$", "$")


def test_a_file_gives_its_content_without_the_last_line_break(tmp_path):
    (tmp_path / "key").write_text("secret\n")
    files: set[Path] = set()
    assert expand("${file:key}!", {}, tmp_path, files) == "secret!"
    assert expand(f"${{file:{tmp_path}/key}}", {}, Path("/elsewhere"), files) == "secret"
    assert files == {tmp_path / "key"}


@pytest.mark.parametrize(
    ("content", "reason"), [(None, "No such file"), (b"\xff\xff", "is no text"), (b"x" * 70_000, "larger")]
)
def test_a_file_that_cannot_be_used_is_named(tmp_path, content, reason):
    if content is not None:
        (tmp_path / "key").write_bytes(content)
    with pytest.raises(ValueError, match=f"the file 'key'.*{reason}"):
        expand("${file:key}", {}, tmp_path, set())


def keys_of(value: object, env: dict[str, str]):
    document = Document("f", data={"providers": {"acme": {"api_key": value}}})
    result = interpolate(document, env, Path())
    return result, document.problems


@pytest.mark.parametrize(
    ("value", "env", "ref", "key", "literal"),
    [
        ("${K}", {"K": "abc"}, "K", "abc", False),
        ("${K}", {"K": "abc\n"}, "K", "abc", False),
        ("${K}", {}, "K", "", False),
        ("${K}", {"K": ""}, "K", "", False),
        ("${K:-dflt}", {}, "providers:acme", "dflt", False),
        ("${K:-dflt}", {"K": "abc"}, "K", "abc", False),
        ("pre-${K}", {"K": "abc"}, "providers:acme", "pre-abc", False),
        ("pre-${K}", {}, "providers:acme", "", False),
        ("abc", {}, "providers:acme", "abc", True),
    ],
)
def test_keys_are_taken_out_under_a_name(value, env, ref, key, literal):
    result, problems = keys_of(value, env)
    found = result.keys["providers", "acme"]
    assert (found.ref, found.value, found.literal) == (ref, key, literal)
    assert result.data == {"providers": {"acme": {}}}
    assert problems == []


@pytest.mark.parametrize("value", ["a b", "a\nb", "schlüssel", "${K}", "${file:gone}", "${}"])
def test_a_key_that_cannot_be_sent_is_refused_without_repeating_it(value):
    _, problems = keys_of(value, {"K": "top secret"})
    assert len(problems) == 1
    assert problems[0].key == "providers.acme.api_key"
    assert "secret" not in problems[0].message


def test_other_values_keep_their_types_and_every_problem_is_noted():
    document = Document("f", data={"a": ["${NAME}", 3, None, True], "b": "${GONE}", "c": {"d": "${}"}})
    result = interpolate(document, ENV, Path())
    assert result.data["a"] == ["value", 3, None, True]
    assert [each.key for each in document.problems] == ["b", "c.d"]
