from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import lexical
from router_core.lexical import DENSE_CHARS, MAX_WORDS, Lexicon, code_share, concepts, terms, words

LEXICON = Lexicon.of(
    {"test": ("test",), "не так": ("wrong",), "leg uit nu": ("explain",), "测试": ("test",), "代码": ("code",)},
    {"провер": ("check",), "kod": ("code",), "te": ("te",), "테스트": ("test",)},
)


def test_words_are_lower_case_and_split_at_punctuation_and_underscores():
    assert words("Write_some CODE, v2!") == ["write", "some", "code", "v2"]
    assert words("Éцо_два 3 — конец") == ["éцо", "два", "3", "конец"]


def test_escaped_line_breaks_are_no_letters():
    assert words("```\\nfunction") == ["function"]


def test_vowel_signs_belong_to_their_word():
    assert words("कोड लिखो।") == ["कोड", "लिखो"]


def test_long_texts_keep_the_first_and_the_last_words():
    found = words("first " + "middle " * 3000 + "last")
    assert (found[0], found[-1], len(found)) == ("first", "last", MAX_WORDS)


def test_terms_are_stems_neighbours_and_ends():
    found = terms(words("refactoring the 12 functions"))
    assert {"refact", "the", "#", "refact the", "the #", "# functi", "^refact", "$functi"} <= found


def test_unspaced_scripts_give_pairs_and_triples():
    found = terms(words("写测试 吧"))
    assert {"写测", "测试", "写测试", "^写测", "$测试", "吧"} <= found


def test_hangul_gives_short_stems():
    assert {"테스트", "테스*"} <= terms(words("테스트를 작성해줘"))


def test_concepts_are_found_by_word_stem_phrase_and_inside_runs():
    assert "=test" in concepts(["a", "test"], LEXICON)
    assert "=check" in concepts(["проверьте"], LEXICON)
    assert "=wrong" in concepts(["что", "не", "так"], LEXICON)
    assert "=explain" in concepts(["leg", "uit", "nu"], LEXICON)
    assert {"=test", "=code", "=code=test", "^=test"} <= concepts(["写测试代码吧"], LEXICON)
    assert "=test" in concepts(["테스트를"], LEXICON)


def test_the_longest_stem_wins_and_unknown_words_say_nothing():
    assert sorted(concepts(["tell"], LEXICON)) == ["=te", "^=te"]
    assert concepts(["kox", "zz", "k"], LEXICON) == set()


def test_concepts_are_looked_for_at_both_ends_only():
    middle = " x" * 60
    assert {"=test", "$=test"} <= concepts(words(f"{middle} test"), LEXICON)
    assert concepts(words(f"{middle} test {middle}"), LEXICON) == set()


def test_a_text_of_medium_length_has_an_opening_and_a_closing():
    found = concepts(["test", *["x"] * 14, "kod"], LEXICON)
    assert {"^=test", "$=code", "=test", "=code"} <= found
    assert "=code=test" not in found


def test_long_runs_are_read_at_their_ends():
    assert "=test" in concepts(["写" * 300 + "测试"], LEXICON)
    assert concepts(["写" * 100 + "测试" + "写" * 100], LEXICON) == set()


@pytest.mark.parametrize(
    ("text", "low", "high"), [("", 0, 0), ("plain words and more words", 0, 0.1), ("a[i]={};" * 9, 0.9, 1)]
)
def test_code_share(text, low, high):
    assert low <= code_share(text) <= high


@given(st.text())
def test_any_text_gives_bounded_distinct_terms(text):
    found = words(text)
    assert len(found) <= MAX_WORDS
    made = terms(found)
    assert all(term for term in made)
    assert all(c.strip("^$").startswith("=") for c in concepts(found, LEXICON))
    assert 0.0 <= code_share(text) <= 1.0


def test_a_latin_word_inside_an_unspaced_run_is_a_word():
    assert words("用Python写3个函数") == ["用", "python", "写", "3", "个函数"]
    assert words("API를 설명해") == ["api", "를", "설명해"]


def test_dense_scripts_are_read_at_shorter_ends():
    assert "".join(words("写" * 400 + "测" * 400)) == "写" * (DENSE_CHARS * 2 // 3) + "测" * (DENSE_CHARS // 3)


def test_a_phrase_may_open_with_a_word_that_is_known_by_its_stem():
    lexicon = Lexicon.of({"look into": ("check",)}, {"look": ("see",)})
    assert {"=check", "=see"} <= concepts(["look", "into"], lexicon)
    assert "=see" in concepts(["look"], lexicon)


def test_what_words_say_is_remembered_up_to_a_bound_and_never_a_key(monkeypatch):
    monkeypatch.setattr(lexical, "REMEMBERED", 3)
    lexicon = Lexicon.of({"test": ("test",)}, {"провер": ("check",)})
    for found in (["test", "провери", "x1", "写测试"], ["проверь", "hello"], ["test", "hello"]):
        expected = concepts(found, Lexicon.of(lexicon.words, lexicon.stems))
        assert concepts(found, lexicon) == expected == concepts(found, lexicon)
        assert len(lexicon.heard) <= 3
        assert not {"x1", "写测试"} & lexicon.heard.keys()


SPOKEN = ["test", "не", "так", "leg", "uit", "nu", "te", "tell", "kode", "测试", "写测试代码", "테스트를", "7"]


@given(st.lists(st.sampled_from(SPOKEN)))
def test_what_a_text_says_does_not_depend_on_what_was_heard_before(found):
    fresh = Lexicon.of(LEXICON.words, LEXICON.stems)
    assert concepts(found, fresh) == concepts(found, LEXICON)
