from __future__ import annotations

import gzip
import json

import numpy as np
import orjson
import pytest

from gateway.backtest import CorpusError, backtest, build, evaluate, fold_of, read_rows
from gateway.backtest.offpolicy import Logged, effective, estimate
from gateway.backtest.online import replay_online
from gateway.backtest.predictor import fit
from gateway.backtest.worlds import Variant
from gateway.cli import backtest as command
from router_core.outcome import Reward
from router_core.quality import QualityState, length_factor, residuals
from router_core.task import TaskType

EASY = "Translate this short greeting number {} into French, please."
HARD = (
    "Prove that the sum of the first {} odd numbers is a square, and why no even number of terms is an exception to it."
)


def rows(count: int = 300, start: int = 0):
    """Easy prompts that both models answer, hard ones that only the dear one answers, with a little noise."""
    made = []
    for i in range(start, start + count):
        hard = i % 2 == 1
        for model, price in (("big", 10.0), ("small", 1.0)):
            right = not hard or model == "big"
            if i % 17 == 0:
                right = not right
            tokens = 300 if hard else 60
            made.append(
                {
                    "prompt_id": f"p{i}",
                    "prompt": (HARD if hard else EASY).format(i),
                    "task_label_from_source": f"{'maths' if hard else 'chat'}:{i % 3}",
                    "model": model,
                    "score": float(right),
                    "input_tokens": 30,
                    "output_tokens": tokens,
                    "cost_usd": price * (30 + 4 * tokens) * 1e-6,
                }
            )
    return made


def test_folds_are_told_by_the_hash_of_the_prompt_s_id():
    assert [fold_of(name) for name in ("a", "b", "c")] == [4, 0, 3]


def test_a_router_reaches_the_best_model_s_quality_for_less():
    report = backtest(rows(300), rows(200, 300), resamples=20)
    router = report.figures["methods"]["router"]
    assert report.figures["best_single"]["model"] == "big"
    assert router["cost_at_100"] < 0.95
    assert router["cost_at_100"] < report.figures["methods"]["zero_router"]["cost_at_100"]
    assert report.figures["methods"]["oracle"]["max_quality"] >= router["max_quality"]
    low, high = router["interval_95"]["cost_at_98"]
    assert low <= router["cost_at_98"] <= high
    assert report.figures["apgr"]["all"] > 0.7


def test_the_source_s_label_is_never_an_input():
    given = rows(120)
    blind = [{**row, "task_label_from_source": "x"} for row in given]
    one, other = (fit(build(each)).predict(build(rows(40, 200))) for each in (given, blind))
    assert one[0] == pytest.approx(other[0])
    assert one[1] == pytest.approx(other[1])


def test_the_test_rows_scores_never_reach_the_choice():
    train, test = rows(120), rows(60, 200)
    turned = [{**row, "score": 1.0 - row["score"]} for row in test]
    one, other = (backtest(train, each, resamples=0) for each in (test, turned))
    assert (one.choices == other.choices).all()


def test_what_is_predicted_is_what_a_decision_would_expect():
    train, test = build(rows(200)), build(rows(20, 400))
    predictor = fit(train)
    quality, _ = predictor.predict(test)
    state = QualityState(model=predictor.model)
    for i, (features, tasks) in enumerate(zip(test.features, test.tasks, strict=True)):
        extra = residuals(state, features, tasks)
        level = predictor.model.level(tasks)
        told = [min(1.0, max(0.0, float(level[j]) + extra[name])) for j, name in enumerate(train.models)]
        assert told == pytest.approx(quality[i].tolist(), abs=1e-5)
        assert 0.2 <= length_factor(state, features, tasks) <= 5.0


def test_without_labels_only_prices_and_the_look_of_a_prompt_decide():
    train, test = rows(100), rows(60, 200)
    turned = [{**row, "score": 1.0 - row["score"]} for row in train]
    one, other = (backtest(each, test, labels=0, resamples=0) for each in (train, turned))
    assert (one.choices == other.choices).all()
    assert one.figures["labels"] == 0
    assert "knn_80" not in one.figures["methods"]


def test_prices_are_read_from_what_was_paid():
    predictor = fit(build(rows(100)))
    assert predictor.rates[0] == pytest.approx([1e-5, 4e-5, 0.0], rel=0.35)
    bare = [{**row, "input_tokens": None, "output_tokens": None} for row in rows(100)]
    corpus = build(bare)
    assert fit(corpus, 0).predict(corpus)[1].mean(axis=0) == pytest.approx(corpus.costs.mean(axis=0))


def test_models_seen_on_few_prompts_and_prompts_that_miss_one_are_left_out():
    given = [row for row in rows(100) if (row["prompt_id"], row["model"]) != ("p3", "small")]
    given += [{**given[0], "model": "rare"}]
    corpus = build(given)
    assert corpus.models == ("big", "small")
    assert corpus.dropped == 1
    assert "p3" not in corpus.ids


def test_files_are_read_plain_and_packed_and_a_broken_line_is_named(tmp_path):
    plain, packed, broken = tmp_path / "a.jsonl", tmp_path / "b.jsonl.gz", tmp_path / "c.jsonl"
    lines = b"\n".join(orjson.dumps(row) for row in rows(3))
    plain.write_bytes(lines)
    packed.write_bytes(gzip.compress(lines))
    assert read_rows([plain]) == read_rows([packed])
    for bad in ('{"prompt_id": 1}', "no json", orjson.dumps({**rows(1)[0], "score": 2}).decode()):
        broken.write_text("\n" + bad)
        with pytest.raises(CorpusError, match=r"c\.jsonl:2"):
            read_rows([broken])


def test_recordings_of_one_model_are_no_choice():
    with pytest.raises(CorpusError, match="two models"):
        build([row for row in rows(10) if row["model"] == "big"])


def test_the_command_writes_every_choice_and_its_figures_can_be_recomputed(tmp_path, capsys):
    train, test, out = tmp_path / "train.jsonl", tmp_path / "test.jsonl", tmp_path / "choices.jsonl"
    train.write_bytes(b"\n".join(orjson.dumps(row) for row in rows(100)))
    given = rows(40, 200)
    test.write_bytes(b"\n".join(orjson.dumps(row) for row in given))
    assert command.main(["--train", str(train), "--test", str(test), "--json", "--choices", str(out)]) == 0
    figures = json.loads(capsys.readouterr().out)
    truth = {(row["prompt_id"], row["model"]): row["score"] for row in given}
    by_weight: dict[float, list[float]] = {}
    for line in out.read_text().splitlines():
        choice = json.loads(line)
        by_weight.setdefault(choice["weight"], []).append(truth[choice["prompt_id"], choice["model"]])
    assert {len(scores) for scores in by_weight.values()} == {40}
    best = max(float(np.mean(scores)) for scores in by_weight.values())
    assert best == pytest.approx(figures["methods"]["router"]["max_quality"])


def test_the_command_splits_one_corpus_by_fold_and_prints_a_table(tmp_path, capsys):
    file = tmp_path / "all.jsonl"
    file.write_bytes(b"\n".join(orjson.dumps(row) for row in rows(120)))
    assert command.main(["--corpus", str(file), "--test-fold", "3"]) == 0
    shown = capsys.readouterr().out
    assert "best single: big" in shown
    assert "zero_router" in shown
    assert "APGR maths" in shown
    assert command.main(["--corpus", str(file), "--train", str(file), "--test", str(file)]) == 2
    assert command.main(["--log", str(file)]) == 2
    assert command.main(["--corpus", str(tmp_path / "none.jsonl")]) == 1


def test_pooled_folds_count_every_prompt_once():
    corpus = build(rows(120))
    folds = corpus.folds
    report = evaluate([(corpus.take(folds != f), corpus.take(folds == f)) for f in range(5)], resamples=0)
    assert sorted(report.prompt_ids) == sorted(corpus.ids)
    assert report.choices.shape[1] == 120


def test_online_learning_beats_chance_and_only_hears_what_it_chose(monkeypatch):
    heard: list[Reward] = []
    absorbed = QualityState.increments

    def listen(self, reward, weight=1.0):
        heard.append(reward)
        return absorbed(self, reward, weight)

    monkeypatch.setattr(QualityState, "increments", listen)
    corpus = build(rows(300))
    half = corpus.take(np.arange(300) < 150), corpus.take(np.arange(300) >= 150)
    variants = {"plain": Variant(keep=None), "told a tenth": Variant(keep=None, told=0.1)}
    found = replay_online(half, shuffles=3, warm=60, per_usd=100.0, variants=variants)
    assert found["variants"]["plain"]["utility"] > found["references"]["random"] + 0.1
    assert found["variants"]["plain"]["utility"] <= found["references"]["oracle"]
    plain = heard[: 3 * 239]
    assert len(heard) < 3 * 240 + 3 * 240 * 0.25
    assert {reward.deployment for reward in plain} == {"big", "small"}
    assert {reward.task for reward in plain} <= set(TaskType)


@pytest.mark.parametrize(
    ("variant", "note"),
    [
        (Variant(warm=0, keep=None, degraded=True), "share late in it"),
        (Variant(price_cut=True, delay=5), "share in it"),
        (Variant(arrival="good_cheap", flipped=0.1), "share of the new"),
        (Variant(arrival="good_dear"), "share of the new"),
        (Variant(arrival="bad"), "share of the new"),
        (Variant(ceiling=0.5), "spent of the ceiling"),
    ],
)
def test_a_world_that_changes_is_replayed_and_accounted_for(variant, note, monkeypatch):
    for name, value in (("CHANGE_AT", 60), ("CHANGE_FOR", 60), ("ARRIVES_AT", 60)):
        monkeypatch.setattr(f"gateway.backtest.worlds.{name}", value)
    corpus = build(rows(1100))
    half = corpus.take(np.arange(1100) < 550), corpus.take(np.arange(1100) >= 550)
    found = replay_online(half, shuffles=1, warm=60, per_usd=20.0, variants={"it": variant})
    told = found["variants"]["it"]["notes"]
    assert 0.0 <= told[note] <= 1.5
    assert found["variants"]["it"]["shuffles"] == 1


def logged(count: int, share: float, *, biased: float = 0.0):
    """A log that picks A with probability ``share``; A earns .4, B .8; the new policy always picks B."""
    rng = np.random.default_rng(5)
    made = []
    for _ in range(count):
        picks_b = rng.random() >= share
        earned = float(rng.random() < (0.8 if picks_b else 0.4))
        propensity = 1.0 - share if picks_b else share
        made.append(Logged(earned, propensity, picks_b, 0.8 + biased, 0.02 if picks_b else 0.01, 0.02))
    return made


@pytest.mark.parametrize("biased", [0.0, -0.3])
def test_another_policy_is_estimated_right_even_when_the_quality_model_is_wrong(biased):
    found = estimate(logged(20_000, 0.9, biased=biased))
    for name in ("quality, new (IPS)", "quality, new (SNIPS)", "quality, new (DR)"):
        low, high = found[name]["interval_95"]
        assert low <= 0.8 <= high, name
    assert found["quality, new (direct)"]["value"] == pytest.approx(0.8 + biased)
    assert found["quality, live"]["value"] == pytest.approx(0.44, abs=0.02)
    assert found["quality, difference (DR)"]["interval_95"][0] > 0.2
    assert found["cost USD, new (DR)"]["value"] == pytest.approx(0.02, abs=1e-3)


def test_few_agreements_are_few_effective_decisions():
    few = effective(logged(1000, 0.99))
    assert few < 30
    assert effective([Logged(1.0, 1.0, True, 0.5, 0.0, 0.0)] * 10) == 10.0
    assert effective([Logged(1.0, 0.5, False, 0.5, 0.0, 0.0)]) == 0.0


def test_a_log_without_judged_decisions_or_with_impossible_numbers_is_refused():
    with pytest.raises(ValueError, match="no judged decision"):
        estimate([])
    with pytest.raises(ValueError, match="propensity"):
        Logged(0.5, 0.0, True, 0.5, 0.0, 0.0)
