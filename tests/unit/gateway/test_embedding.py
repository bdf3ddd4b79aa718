from __future__ import annotations

import importlib.util

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import embedding
from gateway.embedding import load_embedder, read_rows
from router_core.features import EMBEDDING_SIZE


@pytest.fixture(scope="module")
def embedder():
    loaded = load_embedder()
    assert loaded is not None
    return loaded


def test_an_embedding_is_a_float32_unit_vector(embedder):
    vector = embedder("Write a function that sorts a list")
    assert vector.dtype == np.float32
    assert vector.shape == (EMBEDDING_SIZE,)
    assert np.linalg.norm(vector) == pytest.approx(1.0, abs=1e-5)


def test_related_texts_are_nearer_than_unrelated_ones(embedder):
    cat, kitten, tax = (embedder(t) for t in ("my cat sleeps", "a kitten naps", "quarterly tax return"))
    assert cat @ kitten > cat @ tax + 0.1


@pytest.mark.parametrize("text", ["", "?!", "\n \t"])
def test_a_text_without_words_is_zero(embedder, text):
    assert not embedder(text).any()


@pytest.mark.parametrize("text", ["привет мир", "中文提示", "\ud800 broken", "a" * 100_000, "x " * 100_000])
def test_any_text_is_embedded(embedder, text):
    assert np.isfinite(embedder(text)).all()


def test_long_texts_are_read_at_head_and_tail(embedder):
    filler = " filler" * 5000
    assert embedder("alpha" + filler + " omega") @ embedder("alpha" + filler + " beta") < 1.0
    assert embedder("alpha" + filler + " beta" + filler) @ embedder(
        "alpha" + filler + " gamma" + filler
    ) == pytest.approx(1)


def test_int8_rows_stay_close_to_the_originals(embedder):
    from safetensors import safe_open

    root = importlib.util.find_spec("wordllama").submodule_search_locations[0]
    with safe_open(f"{root}/{embedding._WEIGHTS}", framework="np") as file:
        exact = file.get_slice(embedding._TENSOR)[1000:1100].astype(np.float32)
    ours = embedder.rows[1000:1100] * embedder.scales[1000:1100, None]
    cosine = (exact * ours).sum(1) / np.linalg.norm(exact, axis=1) / np.linalg.norm(ours, axis=1)
    assert cosine.min() > 0.999


def test_without_the_package_there_is_no_embedder(monkeypatch):
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    assert load_embedder() is None


def test_without_its_files_there_is_no_embedder(tmp_path):
    assert read_rows(tmp_path / "w.safetensors", tmp_path / "t.json") is None


def test_tokens_of_new_words_are_those_of_the_tokenizer_and_are_remembered(embedder):
    from tokenizers import Tokenizer

    root = importlib.util.find_spec("wordllama").submodule_search_locations[0]
    plain = Tokenizer.from_file(f"{root}/{embedding._TOKENIZER}")
    words = ["переработай", "Zwölfkämpfer", "x9y8z7", "ज़रूरत"]
    text = " ".join(words)
    first = embedder._ids("переработай Zwölfkämpfer x9y8z7")
    assert first.tolist() == plain.encode("переработай Zwölfkämpfer x9y8z7", add_special_tokens=False).ids
    remembered = np.frombuffer(embedder.remembered["переработай"], dtype=first.dtype)
    assert remembered.tolist() == first[: len(remembered)].tolist()
    assert "x9y8z7" not in embedder.remembered  # nothing that may be a key
    assert (embedder(text) == embedder(text)).all()


def test_what_is_remembered_is_bounded(embedder, monkeypatch):
    monkeypatch.setattr(embedding, "_REMEMBERED", 3)
    for i in range(20):
        embedder(f"wörter{chr(97 + i)}{chr(98 + i)} größer{chr(97 + i)}{chr(99 + i)}")
    assert len(embedder.remembered) <= 5


def test_east_asian_characters_are_looked_up_one_by_one(embedder):
    assert embedder("中文").any()
    assert (embedder("中文 Python") == embedder("中文Python")).all()
    assert embedder("写一个函数") @ embedder("写一个程序") > embedder("写一个函数") @ embedder("今天天气很好")


@given(st.text())
def test_an_embedding_does_not_depend_on_what_was_seen_before(embedder, text):
    first = embedder(text)
    embedder.remembered.clear()
    assert (embedder(text) == first).all()
