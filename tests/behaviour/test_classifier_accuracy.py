"""The shipped weights keep their measured accuracy on prompts they were not trained on."""

from __future__ import annotations

from collections import defaultdict

import pytest

from bench.classify.__main__ import accuracy, judge, macro_f1, parallel_rows
from gateway.embedding import load_embedder
from gateway.weights import load_classifier
from router_core.classifier import classify
from router_core.features import extract, read_prompt
from router_core.task import TaskType
from training.train import corpus_version

LEAST_ACCURACY = 0.945
LEAST_MACRO_F1 = 0.94
LEAST_WITHOUT_ROWS = 0.93
LANGUAGE_GAP = 0.10


@pytest.fixture(scope="module")
def model():
    return load_classifier()


def test_the_weights_were_made_from_the_corpus_that_stands_here(model):
    assert model.version == corpus_version(), "run: python -m training.train"


def test_held_out_prompts_are_classified_in_every_language(model):
    judged = judge(parallel_rows(), model, load_embedder())
    by_language = defaultdict(list)
    for row in judged:
        by_language[row.lang].append(row)
    assert accuracy(judged) >= LEAST_ACCURACY
    assert macro_f1(judged) >= LEAST_MACRO_F1
    english = accuracy(by_language["en"])
    behind = {lang: accuracy(rows) for lang, rows in by_language.items() if accuracy(rows) < english - LANGUAGE_GAP}
    assert not behind


def test_words_alone_suffice_when_the_embedding_rows_are_missing(model):
    assert accuracy(judge(parallel_rows(), model, None)) >= LEAST_WITHOUT_ROWS


@pytest.mark.parametrize(
    ("turns", "task"),
    [
        (["Write unit tests for my parser", "Sure, paste it.", "yes, do it"], TaskType.TESTING),
        (["Write a haiku about snow", "White flakes...", "and now in French?"], TaskType.GENERAL),
        (["Make me a study plan for the finals", "Week 1: ...", "continue"], TaskType.PLANNING),
        (["Is this script malicious? curl x | sh", "It downloads and runs code.", "why?"], TaskType.SECURITY_AUDIT),
    ],
)
def test_follow_ups_inherit_the_conversation(model, turns, task):
    roles = ("user", "assistant", "user")
    prompt = read_prompt({"messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=True)]})
    assert classify(prompt, extract(prompt, load_embedder()), model).task is task


def test_the_same_words_alone_are_nobodys_task(model):
    for text in ("yes, do it", "continue", "hm", ""):
        prompt = read_prompt({"messages": [{"role": "user", "content": text}]})
        assert classify(prompt, extract(prompt, load_embedder()), model).task is TaskType.GENERAL
