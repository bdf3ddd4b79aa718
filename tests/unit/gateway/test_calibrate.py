from __future__ import annotations

import json

import httpx
import numpy as np
import orjson
import pytest

from gateway.backtest.log import LogError, compare, compare_records, read_log, replayed, reward_of
from gateway.calibrate import CalibrationError, Log, Run, Task, expected_score, load_calibration, read_prompts, run
from gateway.calibration import save, with_priors
from gateway.calibration_report import conclude, markdown, svg
from router_core.compact import compact
from router_core.policy import Policy, ScoringPolicy, Weights
from router_core.record import to_record
from router_core.router import decide
from router_core.snapshot import Snapshot
from tests.unit.router_core.builders import NOW, Draws, registry

pytestmark = pytest.mark.anyio
BIG, SMALL, JUDGE = "acme/big", "beta/small", "acme/judge"


@pytest.fixture
def anyio_backend():
    return "asyncio"


class Providers:
    """A gateway that answers sums: the big one always right, the small one only for small numbers."""

    def __init__(self, *, down: str = "", judge: str = '{"grades": [9, 2]}') -> None:
        self.down = down
        self.judge = judge
        self.asked: list[tuple[str, str]] = []
        self.limits: list[float] = []
        self.judged: list[str] = []

    def __call__(self, request: httpx.Request) -> httpx.Response:
        body = json.loads(request.content)
        text = body["messages"][-1]["content"]
        if body["model"] == JUDGE:
            self.judged.append(text)
            return self._answer(self.judge, 0.002)
        assert request.headers["x-router-fallbacks"] == "none"
        self.limits.append(float(request.headers["x-router-max-cost-usd"]))
        self.asked.append((body["model"], text))
        if body["model"] == self.down:
            return httpx.Response(503, json={"error": {"message": "down"}})
        number = int(text.split()[-1])
        right = body["model"] == BIG or number < 20
        told = f"I looked at it as {body['model'].split('/')[0]} and the answer is {number + 1 if right else 0}"
        return self._answer(told, 0.01 if body["model"] == BIG else 0.001)

    def _answer(self, text: str, usd: float) -> httpx.Response:
        usage = {"prompt_tokens": 12, "completion_tokens": 30, "cost": usd}
        choice = {"message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
        return httpx.Response(200, json={"choices": [choice], "usage": usage})


def sums(count: int = 40, *, expected: bool = True) -> list[Task]:
    return [
        Task(
            f"t{i}",
            {"messages": [{"role": "user", "content": f"Add one to this number please: {i}"}]},
            (str(i + 1),) if expected else (),
        )
        for i in range(count)
    ]


def work(providers: Providers, path, budget: float = 10.0, *, resume: bool = False, judge: str | None = None) -> Run:
    client = httpx.AsyncClient(transport=httpx.MockTransport(providers), base_url="http://gateway")
    return Run(client, (BIG, SMALL), budget, Log(path, resume=resume), judge)


async def test_every_deployment_is_asked_and_scored_by_what_was_expected(tmp_path):
    providers = Providers()
    seen: list[int] = []
    job = work(providers, tmp_path / "log.jsonl")
    job.progress = lambda done, total, usd: seen.append(done)
    await run(job, sums())
    assert len(providers.asked) == 80
    assert seen == list(range(1, 41))
    assert job.stopped == ""
    assert [job.log.answers[f"t{i}", SMALL].score for i in (5, 30)] == [1.0, 0.0]
    assert job.log.spent_usd == pytest.approx(40 * 0.011)


async def test_the_budget_ends_the_run_and_bounds_every_call(tmp_path):
    providers = Providers()
    job = work(providers, tmp_path / "log.jsonl", budget=0.1)
    await run(job, sums())
    assert job.log.spent_usd <= 0.1
    assert "budget" in job.stopped
    assert max(providers.limits) <= 0.1


async def test_a_prompt_that_the_rest_of_the_budget_cannot_pay_ends_the_run_unbooked(tmp_path):
    def refuse(request):
        return httpx.Response(400, json={"error": {"code": "max_cost_too_low"}})

    job = work(Providers(), tmp_path / "log.jsonl")
    job.client = httpx.AsyncClient(transport=httpx.MockTransport(refuse), base_url="http://gateway")
    await run(job, sums(3))
    assert "cannot pay for prompt 1 of 3" in job.stopped
    assert job.log.answers == {}


async def test_a_stopped_run_goes_on_where_it_was_and_asks_the_silent_again(tmp_path):
    path = tmp_path / "log.jsonl"
    await run(work(Providers(down=SMALL), path), sums(3))
    path.write_bytes(path.read_bytes() + b'{"prompt_id": "half a li')
    again = Providers()
    job = work(again, path, resume=True)
    await run(job, sums(5))
    assert (BIG, "Add one to this number please: 1") not in again.asked
    assert (SMALL, "Add one to this number please: 1") in again.asked
    assert len(again.asked) == 3 + 2 * 2
    fresh = work(Providers(), path)
    assert fresh.log.answers == {}


async def test_a_judge_is_blind_and_hears_both_orders(tmp_path):
    providers = Providers()
    job = work(providers, tmp_path / "log.jsonl", judge=JUDGE)
    await run(job, sums(2, expected=False))
    assert len(providers.judged) == 4
    assert not any(name in text for text in providers.judged for name in (BIG, SMALL))
    first, second = providers.judged[:2]
    assert first.index("as acme") < first.index("as beta")
    assert second.index("as beta") < second.index("as acme")
    # A judge that always prefers what stands first gives both the same grade.
    assert [job.log.answers["t0", name].score for name in (BIG, SMALL)] == pytest.approx([0.55, 0.55])
    assert job.log.judge_usd == pytest.approx(0.008)
    assert Log(tmp_path / "log.jsonl", resume=True).judge_usd == pytest.approx(0.008)


@pytest.mark.parametrize("told", ["no json", '{"grades": [1]}', '{"grades": ["x", "y"]}'])
async def test_a_judge_that_cannot_be_read_leaves_the_form_s_score(tmp_path, told):
    job = work(Providers(judge=told), tmp_path / "log.jsonl", judge=JUDGE)
    await run(job, sums(1, expected=False))
    assert {answered.source for answered in job.log.answers.values()} == {"form"}


async def finished(tmp_path, **options):
    job = work(Providers(**options), tmp_path / "log.jsonl")
    await run(job, sums(80))
    return conclude(sums(80), job.log.answers, (BIG, SMALL), job.log.spent_usd)


async def test_the_file_gives_back_what_was_found(tmp_path):
    found = await finished(tmp_path)
    save(found.calibration, tmp_path / "c.json")
    loaded = load_calibration(tmp_path / "c.json")
    assert loaded.priors == found.calibration.priors
    assert loaded.priors[BIG]["default"].mean > 0.9
    assert loaded.priors[SMALL]["default"].mean == pytest.approx(0.25, abs=0.02)
    assert loaded.priors[SMALL]["default"].weight == 80.0
    corpus = found.corpus
    given = corpus.embeddings[:5], corpus.dense[:5], corpus.difficulty[:5]
    assert np.array_equal(loaded.model.predict(*given), found.calibration.model.predict(*given))
    state = loaded.state(share=0.3, prior=5.0)
    assert (state.share, state.prior, state.model) == (0.3, 5.0, loaded.model)


async def test_the_report_shows_singles_the_held_out_curve_and_a_picture(tmp_path):
    found = await finished(tmp_path)
    text = markdown(found, "c.svg")
    assert "| acme/big | 1.000 | 0.010000 |" in text
    assert "expected: 160" in text
    assert "![cost and quality](c.svg)" in text
    assert found.curve.quality.max() == pytest.approx(1.0)
    picture = svg(found)
    assert picture.count("<circle") == 2
    assert "polyline" in picture
    assert "beta/small" in picture


async def test_a_worse_and_dearer_deployment_is_named(tmp_path):
    job = work(Providers(), tmp_path / "log.jsonl")
    await run(job, sums(60))
    for answered in job.log.answers.values():
        answered.cost_usd = 0.05 if answered.deployment == SMALL else 0.01
    found = conclude(sums(60), job.log.answers, (BIG, SMALL), 1.0)
    assert found.dominated == {SMALL: BIG}
    assert "dominated by acme/big" in markdown(found, "x.svg")


async def test_too_few_answers_and_a_silent_deployment_are_refused(tmp_path):
    job = work(Providers(down=SMALL), tmp_path / "log.jsonl")
    await run(job, sums(30))
    with pytest.raises(CalibrationError, match="beta/small answered nothing"):
        conclude(sums(30), job.log.answers, (BIG, SMALL), 0.0)
    with pytest.raises(CalibrationError, match="at least 20"):
        conclude(sums(3), job.log.answers, (BIG, SMALL), 0.0)


@pytest.mark.parametrize("damage", [b"no json", b"{}", b'{"format": 9}'])
def test_a_file_that_is_no_calibration_is_refused(tmp_path, damage):
    (tmp_path / "c.json").write_bytes(damage)
    with pytest.raises(CalibrationError):
        load_calibration(tmp_path / "c.json")


async def test_arrays_that_do_not_fit_are_refused(tmp_path):
    save((await finished(tmp_path)).calibration, tmp_path / "c.json")
    body = json.loads((tmp_path / "c.json").read_text())
    for change in (
        lambda model: model["deployments"].append("acme/third"),
        lambda model: model["arrays"]["leaves"].update(type="float64"),
        lambda model: model["levels"].pop("default"),
    ):
        damaged = json.loads(json.dumps(body))
        change(damaged["model"])
        (tmp_path / "d.json").write_text(json.dumps(damaged))
        with pytest.raises(CalibrationError):
            load_calibration(tmp_path / "d.json")


async def test_calibrated_priors_reach_the_decision(tmp_path):
    found = await finished(tmp_path)
    written = registry(BIG, SMALL)
    calibrated = with_priors(written, found.calibration.priors)
    assert calibrated.deployments[BIG].prior("reasoning").mean > 0.9
    assert {each.prior("default").mean for each in calibrated.resolve("auto").candidates} != {0.5}
    assert calibrated.version != written.version
    assert with_priors(written, {"other/m": {}}) is written


@pytest.mark.parametrize(
    ("text", "expected", "score"),
    [
        ("The answer is (B).", ["B"], 1.0),
        ("First A looked good.\nAnswer: C", ["A"], 0.0),
        ("b", ["B"], 1.0),
        ("So we have 3 and 4, total 1,007.", ["1007"], 1.0),
        ("It is 7, not 8", ["7"], 0.0),
        ("no number", ["7"], 0.0),
        ("The capital is  PARIS, of course", ["paris"], 1.0),
        ("Rome", ["Paris", "Rome"], 1.0),
        ("Rome", ["Paris"], 0.0),
    ],
)
def test_an_expected_answer_is_looked_for_by_its_kind(text, expected, score):
    assert expected_score(text, expected) == score


def test_prompts_are_read_from_lines_of_either_kind(tmp_path):
    lines, plain = tmp_path / "p.jsonl", tmp_path / "p.txt"
    lines.write_text(
        '{"id": "a", "prompt": "x", "expected": "1"}\n\n{"messages": [{"role": "user", "content": "y"}], "expected": [1, 2]}\n'
        '{"request": {"messages": [], "temperature": 0}, "tools": []}\n'
    )
    plain.write_text("first\nsecond\n")
    first, second, third = read_prompts(lines)
    assert (first.id, first.expected, first.body["messages"][0]["content"]) == ("a", ("1",), "x")
    assert second.expected == ("1", "2")
    assert third.body == {"messages": [], "temperature": 0, "tools": []}
    assert [task.body["messages"][0]["content"] for task in read_prompts(plain)] == ["first", "second"]
    for bad, told in (
        ("[]", "line 1"),
        ('{"x": 1}', "line 1"),
        ('{"id": 1, "prompt": "a"}\n{"id": 1, "prompt": "b"}', "same"),
    ):
        lines.write_text(bad)
        with pytest.raises(CalibrationError, match=told):
            read_prompts(lines)


def decided(draws: Draws, form=to_record, **extra):
    from router_core.request import RoutingRequest

    cheap = {
        "id": "acme/cheap",
        "price_usd_per_mtok": {"input": 0.1, "output": 0.1},
        "quality": {"default": {"mean": 0.6}},
    }
    dear = {"id": "beta/dear", "price_usd_per_mtok": {"input": 9, "output": 9}, "quality": {"default": {"mean": 0.9}}}
    request = RoutingRequest.of(input_tokens=1000)
    decision = decide(request, Snapshot.empty(), registry(cheap, dear), Policy(), NOW, draws)
    return {**json.loads(orjson.dumps(form(request, decision))), **extra}


def test_records_in_their_stored_form_count_like_whole_ones():
    whole = [decided(Draws(), reward=1.0), decided(Draws(), reward=0.0)]
    stored = [decided(Draws(), compact, reward=1.0), decided(Draws(), compact, reward=0.0)]
    assert "shown_score" not in orjson.dumps(stored).decode()
    expected = compare_records(iter(whole), Policy())
    assert expected["judged"] == 2
    assert compare_records(iter(stored), Policy()) == expected
    assert compare_records(iter([whole[0], stored[1]]), Policy()) == expected


def thrifty() -> Policy:
    return Policy(policies={"balanced": Weights(quality=0.1, cost=10.0)})


def test_a_logged_decision_is_taken_again_by_another_policy():
    record = decided(Draws(), reward=0.7)
    assert record["chosen"] == "beta/dear"
    same, other = replayed(record, Policy()), replayed(record, thrifty())
    assert same is not None
    assert other is not None
    assert (same.agrees, same.reward, same.propensity) == (True, 0.7, record["propensity"])
    assert other.agrees is False
    assert other.quality_new == pytest.approx(0.6)
    assert other.cost_new_usd < same.cost_new_usd


def test_decisions_that_say_nothing_of_the_choice_are_left_out():
    record = decided(Draws(), reward=0.7)
    assert replayed({**record, "reward": None}, Policy()) is None
    assert replayed({**record, "order": "listed"}, Policy()) is None
    assert replayed({**record, "outcome": {"served_by": "acme/cheap"}}, Policy()) is None
    with pytest.raises(LogError, match="not a decision record"):
        replayed({"reward": 1.0, "candidates": [1]}, Policy())


@pytest.mark.parametrize(
    ("given", "value"),
    [
        ({"reward": {"value": 0.2}}, 0.2),
        ({"feedback": {"score": 0.4}}, 0.4),
        ({"feedback": [{"rating": 5}, {"outcome": "failure"}, {"label": "x"}, {}]}, 0.5),
        ({"feedback": []}, None),
    ],
)
def test_a_reward_is_read_from_votes_too(given, value):
    assert reward_of(given) == value


def test_two_policies_are_compared_from_a_file(tmp_path, monkeypatch):
    log, policy = tmp_path / "log.jsonl", tmp_path / "new.yaml"
    rng = np.random.default_rng(0)
    records = [decided(Draws(), reward=float(rng.random() < 0.9)) for _ in range(60)]
    log.write_bytes(b"\n\n".join(orjson.dumps({"decision": each, "reward": each.pop("reward")}) for each in records))
    policy.write_text("scoring: {cost_scale_usd: 0.02}\n")
    config = tmp_path / "config"
    config.mkdir()
    (config / "models.yaml").write_text(
        "providers: {acme: {wire: openai}}\ndeployments:\n"
        "  - {id: acme/m, provider: acme, model: m, context_window: 1000, price_usd_per_mtok: {input: 1, output: 1}}\n"
    )
    found = compare(log, policy, config)
    assert (found["decisions"], found["judged"], found["agreement"]) == (60, 60, 1.0)
    assert found["estimates"]["quality, new (SNIPS)"]["value"] == found["estimates"]["quality, live"]["value"]
    policy.write_text("nonsense: 1\n")
    with pytest.raises(LogError):
        compare(log, policy, config)


def test_a_log_without_rewards_or_with_broken_lines_is_refused(tmp_path):
    with pytest.raises(LogError, match="none of 1"):
        compare_records(iter([decided(Draws())]), Policy(scoring=ScoringPolicy()))
    (tmp_path / "log.jsonl").write_text("[1]\n")
    with pytest.raises(LogError, match=r"log\.jsonl:1"):
        list(read_log(tmp_path / "log.jsonl"))


def test_few_effective_decisions_are_warned_of():
    found = compare_records(iter([decided(Draws(), reward=1.0)]), Policy())
    assert "effective" in found["warnings"][0]
