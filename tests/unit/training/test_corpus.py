from __future__ import annotations

import pytest

from training import corpus
from training.lexicon import load_lexicon
from training.parallel import load_parallel


@pytest.fixture(scope="module")
def rows():
    return corpus.load()


def test_the_corpus_is_thousands_of_prompts_in_many_languages(rows):
    assert len(rows) > 5000
    assert len({r.lang for r in rows}) >= 13
    assert {r.label for r in rows} == set(corpus.LABELS)
    assert not any("{{" in text and "}}" in text and "[[" in text for r in rows for _, text in r.messages)


def test_reading_twice_gives_the_same_rows(rows):
    assert corpus.load() == rows


def test_held_out_prompts_are_not_in_the_corpus(rows):
    trained = {text for r in rows for _, text in r.messages}
    held_out = load_parallel()
    assert len({r.lang for r in held_out}) >= 13
    assert not [r for r in held_out if r.messages[0][1] in trained]


def test_templates_choices_slots_and_turns(tmp_path):
    (tmp_path / "materials").mkdir()
    (tmp_path / "materials" / "code_x.txt").write_text("one\n---\ntwo\n", "utf-8")
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "a.txt").write_text(
        "@v: x | y\n% note\n== testing\n[[try|test]] {{v}}\\n{{code}}\n@@S s@@U u\n", "utf-8"
    )
    read = corpus.load(tmp_path)
    assert read[-1].messages == (("system", "s"), ("user", "u"))
    assert all(r.messages[0][1].split("\n")[1] in {"one", "two"} for r in read[:-1])
    assert sum(r.weight for r in read[:-1]) == pytest.approx(len(read[:-1]) ** 0.5)


@pytest.mark.parametrize(
    ("text", "problem"), [("== nonsense\n", "unknown label"), ("== testing\n{{no}}\n", "unknown slot")]
)
def test_mistakes_name_file_and_line(tmp_path, text, problem):
    (tmp_path / "en").mkdir()
    (tmp_path / "en" / "a.txt").write_text(text, "utf-8")
    with pytest.raises(ValueError, match=rf"a\.txt:\d: {problem}"):
        corpus.load(tmp_path)


def test_the_lexicon_reads_and_refuses_a_line_without_concept(tmp_path):
    assert "test" in load_lexicon().stems
    broken = tmp_path / "l.txt"
    broken.write_text("just words\n", "utf-8")
    with pytest.raises(ValueError, match=r"l\.txt:1"):
        load_lexicon(broken)
