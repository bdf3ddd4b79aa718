from __future__ import annotations

import json
from dataclasses import MISSING, fields, is_dataclass

import jsonschema
import pytest
import yaml
from pydantic import BaseModel

from gateway.config.models_file import DeploymentEntry, ModelsFile, ProviderEntry
from gateway.config.policy_file import PolicyFile
from gateway.config.reference import BEGIN, END, reference, rows
from gateway.config.schema import ROOT, files, json_schema, main
from router_core.deployment import Deployment, Provider
from router_core.policy import Policy

MODELS = json_schema(ModelsFile, "models")
POLICY = json_schema(PolicyFile, "policy")


def test_the_files_in_the_tree_are_what_would_be_written_now():
    assert main(["--check"]) == 0


def test_a_stale_file_fails_the_check_and_is_written_again(tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("gateway.config.schema.ROOT", tmp_path)
    assert main(["--check"]) == 1
    assert "is stale; run python -m gateway.config.schema" in capsys.readouterr().err
    assert main([]) == 0
    assert main(["--check"]) == 0
    assert {path.name for path, _ in files()} == {"models.schema.json", "policy.schema.json", "configuration.md"}


@pytest.mark.parametrize("schema", [MODELS, POLICY])
def test_the_schemas_are_schemas(schema):
    jsonschema.Draft202012Validator.check_schema(schema)
    text = json.dumps(schema)
    for keyword in ('"ge":', '"gt":', '"le":', '"lt":'):
        assert keyword not in text


def test_editors_accept_the_shipped_files():
    for name, schema in (("models", MODELS), ("policy", POLICY)):
        jsonschema.validate(
            yaml.safe_load((ROOT / "config" / f"{name}.yaml").read_text().replace(": 2026-11-23", ": '2026-11-23'")),
            schema,
        )


@pytest.mark.parametrize(
    ("schema", "data", "fits"),
    [
        (POLICY, {"retry": {"max_attempts": 4}}, True),
        (POLICY, {"retry": {"max_attempts": "${ATTEMPTS:-4}"}}, True),
        (POLICY, {"retry": {"max_attempts": "four"}}, False),
        (POLICY, {"retry": {"max_attempts": 7}}, False),
        (POLICY, {"timeouts": {"connect_s": 0}}, False),
        (POLICY, {"retries": {}}, False),
        (POLICY, {"default_policy": "mine"}, True),
        (MODELS, {"providers": {"acme": {"wire": "openai", "lane": "rely"}}}, False),
        (MODELS, {"deployments": [{"id": "a/b", "provider": "a", "model": "b", "quality": {"default": 0.5}}]}, True),
        (MODELS, {"deployments": [{"id": "a/b", "provider": "a", "model": "b", "quality": {"default": 1.5}}]}, False),
        (MODELS, {"deployments": [{"provider": "a", "model": "b"}]}, False),
        (MODELS, {"task_preferences": {"coding": {}}}, False),
    ],
)
def test_the_schemas_say_what_the_loader_says(schema, data, fits):
    assert jsonschema.Draft202012Validator(schema).is_valid(data) is fits


def test_policy_yaml_has_a_key_for_every_field_of_the_policy_with_the_same_default():
    shape, core = PolicyFile(), Policy()
    expected = {spec.name for spec in fields(Policy)} - {"version", "stream_keepalive_s", "ceilings"} | {"stream"}
    assert set(PolicyFile.model_fields) == expected
    for spec in fields(Policy):
        value = getattr(core, spec.name)
        if is_dataclass(value):
            section = getattr(shape, spec.name)
            assert set(type(section).model_fields) == {part.name for part in fields(value)}, spec.name
            for part in fields(value):
                ours = getattr(section, part.name)
                assert (tuple(ours) if isinstance(ours, list) else ours) == getattr(value, part.name), part.name
    for name in ("default_policy", "stream_recovery", "long_context_tokens", "default_max_output_tokens"):
        assert getattr(shape, name) == getattr(core, name)
    assert shape.stream.keepalive_s == core.stream_keepalive_s


@pytest.mark.parametrize(
    ("shape", "core", "here", "there"),
    [
        (ProviderEntry, Provider, {"api_key"}, {"id", "key_ref", "key_state"}),
        (
            DeploymentEntry,
            Deployment,
            {
                "api_key",
                "estimated",
                "lacks",
                "price_usd_per_mtok",
                "price_usd_per_request",
                "price_source",
                "price_checked",
            },
            {"price", "key_ref", "callable"},
        ),
    ],
)
def test_models_yaml_has_a_key_for_every_field_of_the_core(
    shape: type[BaseModel], core: type, here: set[str], there: set[str]
):
    assert set(shape.model_fields) - here == {spec.name for spec in fields(core) if spec.init} - there
    for spec in fields(core):
        written = shape.model_fields.get(spec.name)
        if written is not None and spec.default is not MISSING and not written.is_required():
            default = written.get_default(call_default_factory=True)
            if not isinstance(default, BaseModel | list) and spec.name != "capabilities":
                assert default == spec.default, spec.name


@pytest.mark.parametrize("model", [ModelsFile, PolicyFile])
def test_every_key_is_described_and_every_number_in_a_unit_or_without(model):
    lines = list(rows(model))
    assert len(lines) > 50
    for line in lines:
        cells = [cell.strip() for cell in line.strip("|").split(" | ")]
        assert len(cells) == 4, line
        assert cells[3].rstrip("| "), line


def test_the_page_keeps_what_people_wrote():
    page = reference(f"# Title\n\nwritten\n\n{BEGIN}\nold\n{END}\n\n## After\n")
    assert page.startswith("# Title\n\nwritten\n\n")
    assert page.endswith(f"{END}\n\n## After\n")
    assert "\nold\n" not in page
    assert reference(page) == page
    assert "| `retry.max_attempts` | `4` | calls | most calls of one request or leg |" in page
    assert "| `deployments[].id` | *needed* |" in page
    assert "| `MOE_API_KEYS` |" in page
