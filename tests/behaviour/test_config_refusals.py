"""What is wrong in the files stops the start: all of it, with file, line and key, and what is allowed."""

from __future__ import annotations

from pathlib import Path

import pytest

from gateway.config.loader import load
from gateway.config.problems import ConfigInvalid

PROVIDERS = "providers: {acme: {wire: openai}}\n"
PRICE = "context_window: 100, price_usd_per_mtok: {input: 1, output: 2}"
ROW = f"id: acme/m1, provider: acme, model: m1, {PRICE}"


def problems(tmp_path: Path, models: str, policy: str = "", **options) -> list[str]:
    (tmp_path / "models.yaml").write_text(models)
    (tmp_path / "policy.yaml").write_text(policy)
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, {}, **options)
    text = str(caught.value).replace(f"{tmp_path}/", "")
    return text.splitlines()


@pytest.mark.parametrize(
    ("models", "line"),
    [
        ("provider: {}\n", "models.yaml:1: provider: unknown key; did you mean 'providers'?"),
        ("[1, 2]\n", "models.yaml:1: must be a mapping, not a list"),
        ("providers: [a]\n", "models.yaml:1: providers: must be a mapping, not a list"),
        ("providers: {acme: {}}\n", "models.yaml:1: providers.acme.wire: is missing"),
        (
            "providers:\n  acme: {wire: openai}\n  acme: {wire: openai}\n",
            "models.yaml:3: providers.acme: is given twice, first in line 2",
        ),
        (
            "providers: {acme: {wire: openai, base_url: 'ftp://x'}}\n",
            "models.yaml:1: providers.acme.base_url: must begin with http:// or https://",
        ),
        (
            "providers: {acme: {wire: openai, base_url: 'https://u:p@x'}}\n",
            "models.yaml:1: providers.acme.base_url: must not carry a user name or password; use api_key",
        ),
        (
            "providers: {acme: {wire: openai, base_url: 'https:///v1'}}\n",
            "models.yaml:1: providers.acme.base_url: must name a host",
        ),
        (
            "providers: {acme: {wire: openai, base_url: 'https://x/?a=1'}}\n",
            "models.yaml:1: providers.acme.base_url: must not carry a query or fragment; use options",
        ),
        (
            "providers: {acme: {wire: openai, base_url: 'https://x/a b'}}\n",
            "models.yaml:1: providers.acme.base_url: must not contain spaces",
        ),
        (
            "providers: {acme: {wire: openai, base_url: '${GONE}'}}\n",
            "models.yaml:1: providers.acme.base_url: the environment variable GONE is not set; a default is",
        ),
        (
            "providers: {acme: {wire: openai, headers: {authorization: x}}}\n",
            "models.yaml:1: providers.acme.headers: authorization carries a secret; use api_key",
        ),
        (
            "providers: {acme: {wire: openai, headers: {Connection: close}}}\n",
            "models.yaml:1: providers.acme.headers: Connection is the connection's to say",
        ),
        (
            "providers: {acme: {wire: openai, headers: {'a b': x}}}\n",
            "models.yaml:1: providers.acme.headers: 'a b' is no header name",
        ),
        (
            'providers: {acme: {wire: openai, headers: {a: "x\\r\\ny"}}}\n',
            "models.yaml:1: providers.acme.headers: the value of a must be printable ASCII",
        ),
        (
            "providers: {acme: {wire: openai, timeouts: {idle_s: 0}}}\n",
            "models.yaml:1: providers.acme.timeouts.idle_s: must be greater than 0, not 0",
        ),
        (
            "providers: {acme: {wire: openai, timeouts: {idle_s: .inf}}}\n",
            "models.yaml:1: providers.acme.timeouts.idle_s: must be a finite number, not inf",
        ),
        (
            "providers: {acme: {wire: openai, limits: {max_in_flight: yes}}}\n",
            "models.yaml:1: providers.acme.limits.max_in_flight: must be a number",
        ),
        (
            "providers: {acme: {wire: openai, lane: rely}}\n",
            "models.yaml:1: providers.acme.lane: must be one of auto, relay, translate, acompletion, not 'rely'",
        ),
        (
            "providers: {a/b: {wire: openai}}\n",
            "models.yaml:1: providers.a/b: may hold only letters, digits and . _ -, at most 64, not 'a/b'",
        ),
        (
            PROVIDERS + "deployments:\n  - {" + ROW + "}\n  - {" + ROW + "}\n",
            "models.yaml:4: deployments[1].id: 'acme/m1' is already the id of deployments[0]",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW.replace("id: acme/", "id: beta/") + "}]\n",
            "models.yaml:2: deployments[0]: the id 'beta/m1' must begin with its provider and a slash: acme/",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW.replace("acme", "acne") + "}]\n",
            "models.yaml:2: deployments[0].provider: no provider is named 'acne'; did you mean 'acme'?",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", qualty: {}}]\n",
            "models.yaml:2: deployments[0].qualty: unknown key; did you mean 'quality'?",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", quality: {default: 1.2}}]\n",
            "models.yaml:2: deployments[0].quality.default.mean: must be less than or equal to 1, not 1.2",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", quality: {plan: 1}}]\n",
            "models.yaml:2: deployments[0]: quality: 'plan' is no task; allowed: analysis, code_generation",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", price_checked: yesterday}]\n",
            "models.yaml:2: deployments[0].price_checked: must be a date such as 2026-01-31, not 'yesterday'",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", max_output_tokens: 101}]\n",
            "models.yaml:2: deployments[0]: max_output_tokens must not exceed context_window",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", capabilities: [n], lacks: [n]}]\n",
            "models.yaml:2: deployments[0]: n stands in capabilities and in lacks",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + ", fallbacks: [acme/m2]}]\n",
            "models.yaml:2: deployments[0].fallbacks[0]: no deployment is named 'acme/m2'; did you mean 'acme/m1'?",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + "}]\nroutes: {r: {deployments: []}}\n",
            "models.yaml:3: routes.r.deployments: must not be empty",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + "}]\nroutes: {r: {deployments: [x/y]}}\n",
            "models.yaml:3: routes.r.deployments[0]: no deployment is named 'x/y'; allowed: acme/m1",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + "}]\nroutes: {r: {deployments: [acme/m1], policy: fast}}\n",
            "models.yaml:3: routes.r.policy: no policy is named 'fast'; allowed: balanced, quality, cost, speed",
        ),
        (
            PROVIDERS + "deployments: [{" + ROW + "}]\nroutes: {auto: {deployments: [acme/m1]}}\n",
            "models.yaml:3: routes.auto: the name is taken by an alias or a deployment",
        ),
        (
            "task_preferences: {coding: {}}\n",
            "models.yaml:1: task_preferences.coding: must be one of reasoning, code_generation",
        ),
        (
            "task_preferences: {planning: {preferred: [nobody]}}\n",
            "models.yaml:1: task_preferences.planning.preferred[0]: no deployment is named 'nobody'",
        ),
        ("judges: [nobody]\n", "models.yaml:1: judges[0]: no deployment is named 'nobody'"),
    ],
)
def test_a_wrong_models_file_is_refused_at_its_line(tmp_path, models, line):
    found = problems(tmp_path, models)
    assert len(found) == 1
    assert found[0].startswith(line)


@pytest.mark.parametrize(
    ("policy", "line"),
    [
        ("retries: {}\n", "policy.yaml:1: retries: unknown key; did you mean 'retry'?"),
        ("retry:\n  max_attempts: 7\n", "policy.yaml:2: retry.max_attempts: must be less than or equal to 6, not 7"),
        ("retry:\n  max_atempts: 3\n", "policy.yaml:2: retry.max_atempts: unknown key; did you mean 'max_attempts'?"),
        ("retry: 3\n", "policy.yaml:1: retry: must be a mapping, not 3"),
        ("exploration: {share: 1.5}\n", "policy.yaml:1: exploration.share: must be less than or equal to 1, not 1.5"),
        (
            "timeouts: {connect_s: 5s}\n",
            "policy.yaml:1: timeouts.connect_s: must be a valid number, unable to parse string as a number, not '5s'",
        ),
        (
            "default_policy: cheap\n",
            "policy.yaml:1: default_policy: no policy is named 'cheap'; allowed: balanced, quality, cost, speed",
        ),
        (
            "policies: {mine: {qualty: 2}}\n",
            "policy.yaml:1: policies.mine.qualty: unknown key; did you mean 'quality'?",
        ),
        (
            "policies: {mine: {quality: -2}}\n",
            "policy.yaml:1: policies.mine.quality: must be greater than or equal to 0, not -2",
        ),
        (
            "budgets: {on_store_loss: maybe}\n",
            "policy.yaml:1: budgets.on_store_loss: must be one of deny, allow, not 'maybe'",
        ),
        (
            "stream_recovery: retry\n",
            "policy.yaml:1: stream_recovery: must be one of error, continue, buffer, not 'retry'",
        ),
        ("parallel: {judges: [nobody]}\n", "policy.yaml:1: parallel.judges[0]: no deployment is named 'nobody'"),
        ("shadow: {deployments: [nobody]}\n", "policy.yaml:1: shadow.deployments[0]: no deployment is named 'nobody'"),
        ("parallel: {trigger_tasks: [coding]}\n", "policy.yaml:1: parallel.trigger_tasks[0]: must be one of reasoning"),
    ],
)
def test_a_wrong_policy_file_is_refused_at_its_line(tmp_path, policy, line):
    found = problems(tmp_path, PROVIDERS, policy)
    assert len(found) == 1
    assert found[0].startswith(line)


def test_everything_wrong_in_both_files_is_said_at_once(tmp_path):
    models = "providers:\n  acme: {wire: opnai, colour: red}\n  beta: {}\ndeployments:\n  - {id: acme/m1}\n"
    found = problems(tmp_path, models, "retry: {max_attempts: 0}\nbreaker: {jitter: 2}\n", wires={"openai"})
    assert [line.partition(": ")[2].partition(":")[0] for line in found] == [
        "providers.acme.colour",
        "providers.acme.wire",
        "providers.beta.wire",
        "deployments[0].context_window",
        "deployments[0].model",
        "deployments[0].price_usd_per_mtok.input",
        "deployments[0].price_usd_per_mtok.output",
        "deployments[0].provider",
        "retry.max_attempts",
        "breaker.jitter",
    ]


def test_a_file_that_is_no_yaml_does_not_hide_what_is_wrong_with_the_other(tmp_path):
    (tmp_path / "models.yaml").write_text("a: [\n")
    (tmp_path / "policy.yaml").write_text("a: ]\n")
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, {})
    assert {Path(each.file).name for each in caught.value.problems} == {"models.yaml", "policy.yaml"}


def test_no_models_file_is_one_clear_line(tmp_path):
    with pytest.raises(ConfigInvalid, match=r"models\.yaml: cannot be read: No such file or directory$"):
        load(tmp_path, {})


def test_no_secret_and_no_url_password_stands_in_an_error(tmp_path):
    (tmp_path / "models.yaml").write_text(
        "providers:\n  a: {wire: openai, api_key: '${K} x', base_url: 'https://me:hunter2-hunter2@x/v1'}\n"
    )
    with pytest.raises(ConfigInvalid) as caught:
        load(tmp_path, {"K": "sk-abcdefgh12345678"})
    assert len(caught.value.problems) == 2
    assert "hunter2" not in str(caught.value)
    assert "abcdefgh" not in str(caught.value)
