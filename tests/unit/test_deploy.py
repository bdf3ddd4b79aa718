"""What is deployed fits together: names, ports, probes, secrets by reference, bounds that outlast the gateway's own."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

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
