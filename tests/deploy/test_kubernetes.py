"""The cluster's manifests: rendered as a cluster gets them, valid for two versions of Kubernetes, and at one with the
compose files. They have not run on a cluster."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest
import yaml

from tests.support.triton import ROOT

KUBERNETES = ROOT / "deploy" / "kubernetes"
OVERLAYS = ("cpu", "gpu", "canary")
VERSIONS = ("1.33.0", "1.37.0")
WITHOUT_SCHEMA = {"ServiceMonitor", "GRPCRoute", "InferenceService"}
"""What other projects define: not in Kubernetes' own schemas."""
TOOLS = Path(os.environ.get("POLICY_TOOLS", ROOT / ".cache/policy/bin"))


def render(directory: Path) -> str:
    for command in (["kustomize", "build"], ["kubectl", "kustomize"]):
        if shutil.which(command[0]):
            done = subprocess.run([*command, str(directory)], capture_output=True, text=True, check=False)
            assert done.returncode == 0, done.stderr
            assert not done.stderr, done.stderr
            return done.stdout
    pytest.skip("neither kustomize nor kubectl is installed")


def tool(name: str) -> str:
    path = shutil.which(name, path=f"{TOOLS}{os.pathsep}{os.environ['PATH']}")
    if path is None:
        pytest.skip(f"{name} is not installed (requirements/policy.txt says how)")
    return path


@pytest.fixture(scope="module")
def rendered() -> dict[str, dict[str, dict]]:
    """Overlay -> "Kind/name" -> object."""
    return {
        overlay: {
            f"{entry['kind']}/{entry['metadata']['name']}": entry
            for entry in yaml.safe_load_all(render(KUBERNETES / "overlays" / overlay))
        }
        for overlay in OVERLAYS
    }


def pod(objects: dict[str, dict], name: str = "triton") -> dict:
    return objects[f"Deployment/{name}"]["spec"]["template"]["spec"]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize("overlay", OVERLAYS)
def test_kubernetes_own_schemas_accept_it(tmp_path, overlay, version):
    path = tmp_path / "rendered.yaml"
    path.write_text(render(KUBERNETES / "overlays" / overlay))
    command = [tool("kubernetes-validate"), "--strict", "-k", version, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    said = done.stdout + done.stderr
    assert done.returncode == 0, said
    assert "ERROR" not in said
    assert set(re.findall(r"Couldn't find schema for kind (\w+)", said)) <= WITHOUT_SCHEMA
    assert len(re.findall(r"^INFO", said, re.MULTILINE)) >= 7


def test_a_mistake_is_found(tmp_path):
    path = tmp_path / "wrong.yaml"
    path.write_text(render(KUBERNETES / "overlays/cpu").replace("periodSeconds", "period"))
    command = [tool("kubernetes-validate"), "--strict", "-k", VERSIONS[0], str(path)]
    assert subprocess.run(command, capture_output=True, check=False).returncode != 0


def test_the_policies_are_kept_but_for_the_exceptions_that_are_reasoned(tmp_path):
    checkov = tool("checkov")
    files = []
    for overlay in OVERLAYS:
        files += ["--file", str(tmp_path / f"{overlay}.yaml")]
        (tmp_path / f"{overlay}.yaml").write_text(render(KUBERNETES / "overlays" / overlay))
    files += ["--file", str(KUBERNETES / "kserve/inferenceservice.yaml")]
    command = [checkov, "--config-file", str(KUBERNETES / ".checkov.yaml"), *files, "--output", "json"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    passed = re.search(r'"passed": (\d+)', done.stdout)
    assert passed is not None
    assert int(passed[1]) > 200


def composed(name: str) -> set[str]:
    """A compose file's command."""
    text = re.sub(r"!reset \S+", "", (ROOT / "docker" / name).read_text())
    return set(yaml.safe_load(text)["services"]["triton"]["command"])


def test_it_serves_as_the_compose_files_do(rendered):
    release = re.search(r"^TRITON_RELEASE=(\S+)$", (ROOT / "docker/.env").read_text(), re.MULTILINE)[1]
    for overlay, name, file in (
        ("cpu", "triton", "compose.cpu.yaml"),
        ("gpu", "triton", "compose.yaml"),
        ("canary", "triton-canary", "compose.yaml"),
    ):
        (container,) = pod(rendered[overlay], name)["containers"]
        assert composed(file) <= {*container["command"], *container["args"]}
        assert container["image"] == f"nvcr.io/nvidia/tritonserver:{release}-py3"
    (cpu,) = pod(rendered["cpu"])["containers"]
    assert {"--model-control-mode=explicit", "--load-model=resnet18_onnx"} <= set(cpu["args"])
    assert "nvidia.com/gpu" not in cpu["resources"]["limits"]
    (gpu,) = pod(rendered["gpu"])["containers"]
    assert gpu["resources"]["limits"]["nvidia.com/gpu"] == "1"


def test_a_pod_is_given_longer_than_triton_takes_to_answer_what_is_in_flight(rendered):
    for overlay, name in (("cpu", "triton"), ("gpu", "triton"), ("canary", "triton-canary")):
        spec = pod(rendered[overlay], name)
        (container,) = spec["containers"]
        (timeout,) = [argument for argument in container["args"] if argument.startswith("--exit-timeout-secs=")]
        pause = int(container["lifecycle"]["preStop"]["exec"]["command"][1])
        assert spec["terminationGracePeriodSeconds"] > pause + int(timeout.partition("=")[2])


def test_probes_ask_what_triton_means_by_them(rendered):
    (container,) = pod(rendered["gpu"])["containers"]
    paths = {name: container[f"{name}Probe"]["httpGet"]["path"] for name in ("startup", "readiness", "liveness")}
    assert paths == {"startup": "/v2/health/ready", "readiness": "/v2/health/ready", "liveness": "/v2/health/live"}


def selectors(objects: dict[str, dict]) -> dict[str, dict]:
    found = {}
    for name, entry in objects.items():
        spec = entry.get("spec", {})
        selector = spec.get("selector") or spec.get("podSelector")
        if selector and entry["kind"] != "ServiceMonitor":
            found[name] = selector.get("matchLabels", selector)
    return found


def test_stable_and_canary_choose_their_own_pods_alone(rendered):
    for overlay, track in (("cpu", "stable"), ("gpu", "stable"), ("canary", "canary")):
        found = selectors(rendered[overlay])
        assert len(found) == 5
        assert all(labels == {"app.kubernetes.io/name": "triton", "track": track} for labels in found.values())
    same = set(rendered["gpu"]) & set(rendered["canary"])
    assert same == {"Namespace/triton"}


def test_clients_need_not_be_triton_s_own_pods(rendered):
    """What adds labels to selectors must not add them to those that a NetworkPolicy lets in."""
    clients, monitoring = rendered["gpu"]["NetworkPolicy/triton"]["spec"]["ingress"]
    assert clients["from"][0]["podSelector"] == {"matchLabels": {"triton-client": "true"}}
    assert [port["port"] for port in monitoring["ports"]] == ["metrics"]


def test_grpc_s_service_is_headless_and_the_routes_shares_are_whole(rendered):
    assert rendered["gpu"]["Service/triton"]["spec"]["clusterIP"] == "None"
    (rule,) = rendered["canary"]["GRPCRoute/triton-canary"]["spec"]["rules"]
    services = {entry["name"]: entry["weight"] for entry in rule["backendRefs"]}
    assert sum(services.values()) == 100
    assert all(f"Service/{name}" in rendered["gpu"] | rendered["canary"] for name in services)


def test_the_autoscaler_reads_the_metric_that_the_adapter_yields(rendered):
    rules = yaml.safe_load((KUBERNETES / "monitoring/prometheus-adapter.yaml").read_text())["rules"]["custom"]
    autoscaler = rendered["gpu"]["HorizontalPodAutoscaler/triton"]["spec"]
    (metric,) = autoscaler["metrics"]
    assert metric["pods"]["metric"]["name"] == rules[0]["name"]["as"]
    assert autoscaler["scaleTargetRef"]["name"] == "triton"
    assert "replicas" not in rendered["gpu"]["Deployment/triton"]["spec"]


def test_the_repository_can_come_from_a_volume(tmp_path):
    base, component = (
        os.path.relpath(KUBERNETES / name, tmp_path) for name in ("base", "components/repository-volume")
    )
    (tmp_path / "kustomization.yaml").write_text(f"resources: [{base}]\ncomponents: [{component}]\n")
    entries = list(yaml.safe_load_all(render(tmp_path)))
    (spec,) = [entry["spec"]["template"]["spec"] for entry in entries if entry["kind"] == "Deployment"]
    assert "initContainers" not in spec
    assert spec["volumes"][0]["persistentVolumeClaim"] == {"claimName": "models", "readOnly": True}
    (mount,) = [m for m in spec["containers"][0]["volumeMounts"] if m["name"] == spec["volumes"][0]["name"]]
    assert mount == {"name": "repository", "mountPath": "/models", "readOnly": True}
