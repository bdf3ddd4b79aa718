"""What is deployed fits together: names, ports, probes, secrets by reference, bounds that outlast the gateway's own."""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from gateway.state import open_store
from router_core.policy import Policy

ROOT = Path(__file__).resolve().parents[2]
DEPLOY = ROOT / "deploy"


@pytest.fixture(scope="module")
def resources() -> dict[str, Any]:
    found = [
        document
        for path in sorted((DEPLOY / "kubernetes").glob("*.yaml"))
        for document in yaml.safe_load_all(path.read_text())
    ]
    return {document["kind"]: document for document in found}


KUBERNETES = ("1.28", kubernetes_validate.latest_version())
"""The oldest release these manifests are for, and the newest the validator knows."""


@pytest.mark.parametrize("version", KUBERNETES)
def test_every_resource_is_one_kubernetes_knows(resources, version):
    for resource in resources.values():
        kubernetes_validate.validate(resource, version, strict=True)


@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", ("spec", "template", "spec", "containers", 0, "readinesProbe"), {}),
        ("Deployment", ("spec", "replicas"), "two"),
        ("HorizontalPodAutoscaler", ("spec", "metrics", 0, "pods", "target", "averageValue"), []),
        ("PodDisruptionBudget", ("spec", "minAvailable"), {}),
    ],
)
def test_a_slip_in_a_resource_would_be_seen(resources, kind, path, value):
    broken = copy.deepcopy(resources[kind])
    place = broken
    for step in path[:-1]:
        place = place[step]
    place[path[-1]] = value
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(broken, KUBERNETES[-1], strict=True)


def test_every_resource_speaks_of_the_same_pods(resources):
    pods = resources["Deployment"]["spec"]["template"]["metadata"]["labels"]
    assert resources["Deployment"]["spec"]["selector"]["matchLabels"] == pods
    assert resources["Service"]["spec"]["selector"] == pods
    assert resources["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"] == pods
    assert resources["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"] == pods
    target = resources["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) == ("Deployment", resources["Deployment"]["metadata"]["name"])


def test_a_node_can_be_drained_and_a_rollout_loses_nobody(resources):
    replicas = resources["Deployment"]["spec"]["replicas"]
    assert resources["PodDisruptionBudget"]["spec"]["minAvailable"] < replicas
    assert resources["HorizontalPodAutoscaler"]["spec"]["minReplicas"] == replicas
    assert resources["Deployment"]["spec"]["strategy"]["rollingUpdate"]["maxUnavailable"] == 0


def test_open_streams_have_time_to_end(resources):
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    pause = float(pod["containers"][0]["lifecycle"]["preStop"]["exec"]["command"][1])
    assert pod["terminationGracePeriodSeconds"] > pause + Policy().admission.drain_s + 5.0


def test_probes_ask_routes_the_gateway_has(resources):
    from gateway.http import health

    routes = {route.path for route in health.router.routes}
    container = resources["Deployment"]["spec"]["template"]["spec"]["containers"][0]
    ports = {port["name"] for port in container["ports"]}
    for probe in ("startupProbe", "livenessProbe", "readinessProbe"):
        get = container[probe]["httpGet"]
        assert get["path"] in routes
        assert get["port"] in ports
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"


def test_the_metric_to_scale_on_is_one_the_gateway_gives(resources):
    name = resources["HorizontalPodAutoscaler"]["spec"]["metrics"][0]["pods"]["metric"]["name"]
    assert f'"{name}"' in (ROOT / "gateway" / "observe" / "exposition.py").read_text()


def test_secrets_are_references_and_nothing_runs_as_root(resources):
    pod = resources["Deployment"]["spec"]["template"]["spec"]
    container = pod["containers"][0]
    given = {entry["name"] for entry in container["env"]}
    assert not {name for name in given if re.search("KEY|SECRET|TOKEN|STORE", name)}
    assert container["envFrom"] == [{"secretRef": {"name": "moe-gateway"}}]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"]["readOnlyRootFilesystem"] is True
    assert container["securityContext"]["capabilities"]["drop"] == ["ALL"]


@pytest.fixture(scope="module")
def cluster() -> dict[str, Any]:
    return yaml.safe_load((DEPLOY / "compose.cluster.yml").read_text())


def compose(file: Path, folder: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """Let compose read a file as it would start it; the older one does not know that a project may have a name."""
    command = [shutil.which("docker") or "docker", "compose"]
    with contextlib.suppress(OSError):
        if subprocess.run([*command, "version"], capture_output=True, timeout=20, check=False).returncode == 0:
            return run_compose([*command, "-f", str(file)], environment)
    binary = shutil.which("docker-compose")
    if binary is None:
        pytest.skip("docker-compose is not installed (scripts/system-packages brings it)")
    copied = folder / file.name
    copied.write_text(re.sub(r"^name:.*\n", "", file.read_text(), flags=re.MULTILINE))
    return run_compose([binary, "-f", str(copied), "--project-directory", str(file.parent)], environment)


def run_compose(command: list[str], environment: dict[str, str]) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if name in {"PATH", "HOME"}}
    return subprocess.run(
        [*command, "config"],
        env={**inherited, **environment},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


KEYS = {"MOE_API_KEYS": "a", "MOE_ADMIN_KEYS": "b", "MOE_METRICS_KEYS": "c"}


@pytest.mark.parametrize(
    ("file", "services"),
    [
        (ROOT / "docker-compose.yml", {"gateway"}),
        (DEPLOY / "compose.cluster.yml", {"gateway-a", "gateway-b", "balancer", "redis"}),
    ],
)
def test_compose_reads_its_file(tmp_path, file, services):
    result = compose(file, tmp_path, **KEYS)
    assert result.returncode == 0, result.stderr
    read = yaml.safe_load(result.stdout)
    assert services <= set(read["services"])
    for service in read["services"].values():
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]


def test_compose_starts_no_cluster_without_its_keys(tmp_path):
    result = compose(DEPLOY / "compose.cluster.yml", tmp_path, **{**KEYS, "MOE_ADMIN_KEYS": ""})
    assert result.returncode != 0
    assert "MOE_ADMIN_KEYS" in result.stderr


def test_a_slip_in_a_compose_file_would_be_seen(tmp_path):
    broken = tmp_path / "broken.yml"
    text = (ROOT / "docker-compose.yml").read_text()
    broken.write_text(text.replace("stop_grace_period:", "stop_grace_perod:"))
    assert compose(broken, tmp_path, **KEYS).returncode != 0


def test_two_gateways_share_one_redis_behind_one_balancer(cluster):
    services = cluster["services"]
    first, second = services["gateway-a"], services["gateway-b"]
    assert first == second
    assert first["environment"]["MOE_STORE_URL"].startswith("redis://redis:")
    assert "ports" not in first
    assert "ports" not in services["redis"]
    assert set(services["balancer"]["depends_on"]) == {"gateway-a", "gateway-b"}
    command = services["redis"]["command"]
    assert command[command.index("--maxmemory-policy") + 1] == "noeviction"
    open_store(first["environment"]["MOE_STORE_URL"])


def test_every_file_and_volume_the_cluster_names_is_there(cluster):
    for service in cluster["services"].values():
        for volume in service.get("volumes", ()):
            source = volume.partition(":")[0]
            if source.startswith("."):
                assert (DEPLOY / source).exists(), source
            else:
                assert source in cluster["volumes"]
        for network in service.get("networks", ()):
            assert network in cluster["networks"]


def test_no_key_has_a_default_in_the_cluster(cluster):
    environment = cluster["services"]["gateway-a"]["environment"]
    for name in ("MOE_API_KEYS", "MOE_ADMIN_KEYS", "MOE_METRICS_KEYS"):
        assert environment[name].startswith(f"${{{name}:?")


def test_the_balancer_lets_streams_and_large_bodies_through():
    text = (DEPLOY / "cluster" / "nginx.conf").read_text()
    policy = Policy()
    assert "proxy_buffering off;" in text
    read = re.search(r"proxy_read_timeout (\d+)s;", text)
    assert read is not None
    assert float(read[1]) > policy.timeouts.total_s
    size = re.search(r"client_max_body_size (\d+)m;", text)
    assert size is not None
    assert int(size[1]) * 1024 * 1024 > policy.limits.body_bytes
    assert "non_idempotent" not in text


def test_nginx_accepts_its_configuration(tmp_path):
    binary = shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin")
    if binary is None:
        pytest.skip("nginx is not installed (scripts/system-packages brings it)")
    text = (DEPLOY / "cluster" / "nginx.conf").read_text()
    for name in ("gateway-a", "gateway-b"):
        text = text.replace(f"{name}:8080", "127.0.0.1:9")
    text = re.sub(r"/tmp/", f"{tmp_path}/", text)
    path = tmp_path / "nginx.conf"
    path.write_text(text)
    result = subprocess.run([binary, "-t", "-c", str(path)], capture_output=True, text=True, timeout=20, check=False)
    assert result.returncode == 0, result.stderr
