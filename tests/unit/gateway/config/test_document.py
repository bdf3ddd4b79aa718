from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.document import read_document
from gateway.config.problems import ConfigInvalid, Located, located


def document(tmp_path: Path, text: str | bytes):
    path = tmp_path / "a.yaml"
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return read_document(path)


def broken(tmp_path: Path, text: str | bytes) -> Located:
    with pytest.raises(ConfigInvalid) as caught:
        document(tmp_path, text)
    (problem,) = caught.value.problems
    return problem


def test_every_key_and_item_has_its_line(tmp_path):
    found = document(tmp_path, "a: 1\nb:\n  c: [1,\n    2]\n  d:\n    - x: 1\n    - x: 2\n")
    assert found.data == {"a": 1, "b": {"c": [1, 2], "d": [{"x": 1}, {"x": 2}]}}
    assert found.lines["a",] == 1
    assert found.lines["b", "c", 1] == 4
    assert found.lines["b", "d", 1, "x"] == 7
    assert found.problems == []


def test_dates_stay_text_and_an_empty_file_is_nothing(tmp_path):
    assert document(tmp_path, "checked: 2026-11-23\nat: 2026-11-23 10:00:00\n").data == {
        "checked": "2026-11-23",
        "at": "2026-11-23T10:00:00",
    }
    assert document(tmp_path, "# nothing\n").data is None


def test_duplicate_keys_are_named_with_both_lines(tmp_path):
    found = document(tmp_path, "a: 1\nb: {c: 1}\na: 2\n")
    assert [(each.line, each.key, each.message) for each in found.problems] == [
        (3, "a", "is given twice, first in line 1")
    ]
    assert found.data == {"a": 1, "b": {"c": 1}}


def test_anchors_and_merges_work_and_own_keys_win(tmp_path):
    text = "x: &x {a: 1, b: 1}\ny: &y {b: 2, c: 2}\nz:\n  <<: [*x, *y]\n  c: 3\nw: *x\nv:\n  <<: *y\n"
    found = document(tmp_path, text)
    assert found.data["z"] == {"a": 1, "b": 1, "c": 3}
    assert found.data["w"] == {"a": 1, "b": 1}
    assert found.data["v"] == {"b": 2, "c": 2}
    assert found.problems == []


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a:\n  <<: 3\n", "<< must name a mapping"),
        ("1: x\n", "the key '1' must be text; put it in quotes"),
        ("? [a]\n: x\n", "keys must be text"),
        ("a: !!python/object:os.system x\n", "'x' is not a plain value"),
        ("a: 2026-13-45\n", "'2026-13-45' is not a plain value"),
        ("a: &a [*a]\n", "is nested deeper than 40 levels"),
        ("a: &a\n  <<: *a\n  b: 1\n", "is nested deeper than 40 levels"),
    ],
)
def test_what_yaml_would_let_pass_is_noted(tmp_path, text, message):
    found = document(tmp_path, text)
    assert [each.message for each in found.problems] == [message]


def test_no_yaml_is_refused_with_its_line(tmp_path):
    problem = broken(tmp_path, "a: 1\nb: [1, 2\nc: 3\n")
    assert problem.line == 3
    assert problem.message.startswith("no valid YAML")
    assert broken(tmp_path, b"a: \xff\xfe\n").message == "no valid YAML: the file must be UTF-8 text"
    assert broken(tmp_path, "a: 1\n---\nb: 2\n").message.startswith("no valid YAML: expected a single document")
    assert "larger than" in broken(tmp_path, "a: " + "x" * 5_000_000).message


def test_a_file_that_is_not_there_is_said_in_one_line(tmp_path):
    with pytest.raises(ConfigInvalid, match=r"nowhere\.yaml: cannot be read: No such file or directory"):
        read_document(tmp_path / "nowhere.yaml")


def test_a_problem_takes_the_line_of_the_nearest_thing_around_it():
    lines = {(): 1, ("a",): 3, ("a", "b"): 5}
    assert located("f", lines, ("a", "b", "c"), "m").line == 5
    assert located("f", lines, ("z",), "m").line == 1
    assert located("f", {}, ("z",), "m").line == 0
    assert str(located("f", {}, (), "m")) == "f: m"
    assert str(Located("f", 3, "a.b", "m")) == "f:3: a.b: m"
