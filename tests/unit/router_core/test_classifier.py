from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from router_core import classifier
from router_core.classifier import ClassifierModel, class_probabilities, classify
from router_core.features import DENSE_NAMES, EMBEDDING_SIZE, extract, read_prompt
from router_core.lexical import Lexicon
from router_core.task import TaskType

CLASSES = ("planning", "testing", "general", "follow_up")
NAMES = ("plan", "test", "hello", "more", "test plan", "=plan", "=test=plan", "^#", "#")
STRONG = {"plan": 0, "test": 1, "hello": 2, "more": 3, "test plan": 1, "=plan": 0, "^#": 1}


def weights():
    table = np.zeros((len(NAMES), len(CLASSES)), dtype=np.int8)
    for name, column in STRONG.items():
        table[NAMES.index(name), column] = 100
    return table


MODEL = ClassifierModel(
    classes=CLASSES,
    names=NAMES,
    term_weights=weights(),
    term_scale=np.full(len(CLASSES), 0.2, dtype=np.float32),
    embedding_weights=np.zeros((EMBEDDING_SIZE, len(CLASSES)), dtype=np.float32),
    dense_weights=np.zeros((len(DENSE_NAMES), len(CLASSES)), dtype=np.float32),
    bias=np.zeros(len(CLASSES), dtype=np.float32),
    lexicon=Lexicon.of({"plan": ("plan",), "план": ("plan",)}, {}),
)


def ask(*turns, model=MODEL, limit=8000, embedder=None, **more):
    roles = ("user", "assistant") * len(turns)
    body = {"messages": [{"role": r, "content": t} for r, t in zip(roles, turns, strict=False)], **more}
    prompt = read_prompt(body)
    return classify(prompt, extract(prompt, embedder), model, long_context_tokens=limit)


def test_content_decides_and_says_why():
    profile = ask("plan")
    assert profile.task is TaskType.PLANNING
    assert profile.confidence > 0.9
    assert profile.secondary is None
    assert "'plan'" in profile.evidence
    assert "asks to plan" in profile.evidence


def test_a_concept_carries_another_language():
    assert ask("план").task is TaskType.PLANNING


def test_evidence_names_words_of_the_vocabulary_only():
    profile = ask("plan hunter2 " + "secretword " * 5)
    assert not any("hunter2" in e or "secret" in e for e in profile.evidence)
    assert not any(" plan'" in e for e in ask("test plan").evidence)


def test_evidence_is_bounded_and_tells_of_code():
    names = tuple(f"w{chr(97 + i)}" for i in range(26))
    many = replace(MODEL, names=names, term_weights=np.full((26, 4), 9, np.int8))
    evidence = ask(" ".join(many.names) + " {};{};{};" * 9, model=many).evidence
    assert len([e for e in evidence if e.startswith("'")]) == 4
    assert evidence[-1].startswith("code share")


def test_unsure_content_is_general_and_names_what_it_might_have_been():
    profile = ask("nothing known here")
    assert profile.task is TaskType.GENERAL
    picky = ask("plan test", model=replace(MODEL, abstain_below=0.99, temperature=9.0))
    assert picky.task is TaskType.GENERAL
    assert picky.runner_up in {TaskType.PLANNING, TaskType.TESTING}
    assert picky.evidence[0].startswith("unsure: ")


def test_a_follow_up_inherits_the_task_of_the_conversation():
    assert ask("plan", "Here it is.", "more").task is TaskType.PLANNING
    assert ask("test", "Done.", "more").task is TaskType.TESTING


def test_a_follow_up_after_nothing_is_general():
    assert ask("more").task is TaskType.GENERAL


def test_a_long_turn_speaks_for_itself():
    profile = ask("test", "Done.", "more plan " + "word " * 100)
    assert profile.task is TaskType.PLANNING


def test_earlier_turns_are_embedded_when_there_is_an_embedder():
    direction = np.zeros((EMBEDDING_SIZE, len(CLASSES)), dtype=np.float32)
    direction[0, 1] = 50

    def embedder(text, /):
        vector = np.zeros(EMBEDDING_SIZE, dtype=np.float32)
        vector[0] = float("alpha" in text)
        return vector

    model = replace(MODEL, embedding_weights=direction)
    assert ask("alpha", model=model, embedder=embedder).task is TaskType.TESTING
    assert ask("alpha", "Fine.", "more", model=model, embedder=embedder).task is TaskType.TESTING
    assert ask("alpha", model=model).task is TaskType.GENERAL  # hashed words live in another space


def test_the_system_text_counts_less_than_the_user():
    def both(system, user):
        prompt = read_prompt({"messages": [{"role": "system", "content": system}, {"role": "user", "content": user}]})
        return classify(prompt, extract(prompt, None), MODEL).task

    assert both("test", "something") is TaskType.TESTING
    assert both("test", "plan") is TaskType.PLANNING


@pytest.mark.parametrize(
    ("content", "more", "task"),
    [
        ([{"type": "text", "text": "plan"}, {"type": "image_url"}], {"tools": [{}]}, TaskType.MULTIMODAL),
        ("plan", {"tools": [{}]}, TaskType.TOOL_USE),
        ("plan", {"functions": [{}, {}]}, TaskType.TOOL_USE),
        ("plan " * 40_000, {"tools": [{}]}, TaskType.LONG_CONTEXT),
    ],
)
def test_structure_comes_first_and_keeps_the_content_as_secondary(content, more, task):
    profile = ask(content, **more)
    assert profile.task is task
    assert profile.secondary is TaskType.PLANNING
    assert profile.runner_up is TaskType.PLANNING
    assert profile.confidence == 1.0


def test_tool_messages_are_tool_use():
    prompt = read_prompt({"messages": [{"role": "user", "content": "plan"}, {"role": "tool", "content": "42"}]})
    assert classify(prompt, extract(prompt, None), MODEL).task is TaskType.TOOL_USE


def test_an_estimate_just_above_the_limit_is_not_certain():
    profile = ask("word " * 100, limit=110)
    assert profile.task is TaskType.LONG_CONTEXT
    assert 0.5 <= profile.confidence < 1.0


def test_probabilities_are_over_content_tasks_and_sum_to_one():
    prompt = read_prompt({"messages": [{"role": "user", "content": "plan more"}]})
    chances = class_probabilities(prompt, extract(prompt, None), MODEL)
    assert set(chances) == {TaskType.PLANNING, TaskType.TESTING, TaskType.GENERAL}
    assert sum(chances.values()) == pytest.approx(1.0, abs=1e-5)


def test_temperature_flattens():
    assert ask("plan", model=replace(MODEL, temperature=9.0)).confidence < ask("plan").confidence


@pytest.mark.parametrize(
    "change",
    [
        {"bias": np.zeros(2, dtype=np.float32)},
        {"classes": ("a", "b", "general", "c")},
        {"names": ("plan",) * len(NAMES)},
        {"names": ()},
        {"temperature": 0.0},
        {"abstain_below": 1.5},
        {"system_weight": -1.0},
    ],
)
def test_a_model_that_does_not_fit_together_is_refused(change):
    with pytest.raises(ValueError):
        replace(MODEL, **change)


@given(st.lists(st.tuples(st.sampled_from(["user", "assistant", "system", "tool"]), st.text()), max_size=5))
def test_any_conversation_gets_a_profile(turns):
    prompt = read_prompt({"messages": [{"role": r, "content": t} for r, t in turns]})
    profile = classify(prompt, extract(prompt, None), MODEL)
    assert 0.0 <= profile.confidence <= 1.0
    assert len(profile.evidence) <= 8


def test_a_system_text_is_read_once_and_no_more_are_remembered_than_fit(monkeypatch):
    monkeypatch.setattr(classifier, "REMEMBERED", 3)
    fresh = [replace(MODEL) for _ in range(2)]
    turns = {"role": "user", "content": "test"}
    bodies = [{"messages": [{"role": "system", "content": f"plan {i % 5}"}, turns]} for i in range(9)]
    for body in bodies:
        prompt = read_prompt(body)
        features = extract(prompt, None)
        first = class_probabilities(prompt, features, fresh[0])
        assert first == class_probabilities(prompt, features, fresh[0])
        fresh[1].systems.clear()
        assert first == class_probabilities(prompt, features, fresh[1])
        assert prompt.system in fresh[0].systems
        assert len(fresh[0].systems) <= 3
