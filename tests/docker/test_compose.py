"""What `make serve` starts: one variable names the release, nothing is writable, nobody else can reach it."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest
import yaml

from builder.triton_config.places import Place

DOCKER = Path(__file__).parents[2] / "docker"
FILES = {
    "GPU": ["compose.yaml"],
    "CPU only": ["compose.yaml", "compose.cpu.yaml"],
    "embedded": ["compose.yaml", "compose.cpu.yaml", "compose.embedded.yaml"],
    "production": ["compose.yaml", "compose.production.yaml"],
    "monitored": ["compose.yaml", "compose.monitoring.yaml"],
}


class ComposeLoader(yaml.SafeLoader):
    """YAML with compose's tags: `!reset` takes away what an earlier file has set, `!override` replaces it."""


RESET = object()
ComposeLoader.add_constructor("!reset", lambda *_: RESET)
ComposeLoader.add_constructor("!override", lambda loader, node: loader.construct_sequence(node))


def load(name: str) -> dict:
    return yaml.load((DOCKER / name).read_text(), ComposeLoader)


def merged(names: list[str]) -> dict:
    """The files as compose merges them, as far as these need it: the later one's keys win."""
    content: dict = {}
    services: dict = {}
    for name in names:
        loaded = load(name)
        content |= loaded
        for service, keys in loaded["services"].items():
            services[service] = services.get(service, {}) | (keys or {})
    kept = {name: {key: value for key, value in keys.items() if value is not RESET} for name, keys in services.items()}
    return content | {"services": kept}


@pytest.fixture(scope="module")
def service():
    return load("compose.yaml")["services"]["triton"]


def test_one_variable_names_the_release(service):
    assert service["image"] == "nvcr.io/nvidia/tritonserver:${TRITON_RELEASE:?}-py3"
    settings = [line for line in (DOCKER / ".env").read_text().splitlines() if line and not line.startswith("#")]
    assert settings == ["TRITON_RELEASE=26.08"]


def test_the_repository_is_mounted_read_only_where_triton_looks(service):
    (volume,) = service["volumes"]
    variable, target, mode = volume.rsplit(":", 2)
    source = variable.removeprefix("${MODEL_REPOSITORY:-").removesuffix("}")
    assert (DOCKER / source).resolve() == DOCKER.parent / "model_repository"
    assert mode == "ro"
    assert f"--model-repository={target}" in service["command"]


def test_only_this_machine_can_reach_it(service):
    names = {"HTTP": 8000, "GRPC": 8001, "METRICS": 8002}
    assert service["ports"] == [f"127.0.0.1:${{{name}_PORT:-{port}}}:{port}" for name, port in names.items()]


def test_it_runs_without_privileges_on_a_read_only_system(service):
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_docker_waits_longer_than_triton_does_before_it_kills(service):
    (timeout,) = [option for option in service["command"] if option.startswith("--exit-timeout-secs=")]
    assert int(service["stop_grace_period"].rstrip("s")) > int(timeout.partition("=")[2])


def problems(content: dict) -> list[str]:
    """What the compose specification's own JSON schema says against a file."""
    pytest.importorskip("check_jsonschema", reason="the compose-spec's schema (check-jsonschema) is not installed")
    from check_jsonschema.builtin_schemas import get_builtin_schema
    from jsonschema import Draft7Validator

    return [error.message for error in Draft7Validator(get_builtin_schema("vendor.compose-spec")).iter_errors(content)]


@pytest.mark.parametrize("names", FILES.values(), ids=FILES)
def test_the_files_follow_the_compose_specification(names):
    assert problems(merged(names)) == []


def test_a_mistake_in_a_compose_file_is_found():
    content = merged(["compose.yaml"])
    content["services"]["triton"]["helthcheck"] = content["services"]["triton"].pop("healthcheck")
    content["services"]["triton"]["cap_drop"] = "ALL"
    assert len(problems(content)) == 2


@pytest.mark.parametrize("names", FILES.values(), ids=FILES)
def test_docker_reads_the_files(names):
    found = subprocess.run(["docker", "compose", "version"], capture_output=True, check=False) if _docker() else None
    if found is None or found.returncode:
        pytest.skip("docker with its compose plugin is not installed")
    files = [option for name in names for option in ("--file", str(DOCKER / name))]
    done = subprocess.run(["docker", "compose", *files, "config"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    service = yaml.safe_load(done.stdout)["services"]["triton"]
    assert ("deploy" in service) == ("compose.cpu.yaml" not in names)


def _docker() -> bool:
    return any(Path(directory, "docker").exists() for directory in os.get_exec_path())


def test_without_a_gpu_the_onnx_models_are_loaded_and_no_gpu_asked_for(service):
    cpu = merged(FILES["CPU only"])["services"]["triton"]
    assert "deploy" not in cpu
    assert "ulimits" not in cpu
    common = [option for option in service["command"] if not option.startswith("--model-config-name=")]
    assert cpu["command"] == [
        *common,
        "--model-config-name=cpu",
        "--exit-on-error=false",  # a repository without a calibrated checkpoint lacks INT8
        "--strict-readiness=false",
        "--model-control-mode=explicit",
        "--load-model=resnet18_onnx",
        "--load-model=resnet18_onnx_int8",
    ]
    unchanged = set(service) - {"command", "deploy", "ulimits"}
    assert {key: cpu[key] for key in unchanged} == {key: service[key] for key in unchanged}


@pytest.mark.parametrize(("names", "place"), [(FILES["GPU"], Place.GPU_CONTAINER), (FILES["CPU only"], Place.CPU)])
def test_the_configuration_read_is_the_one_for_the_place(names, place):
    command = merged(names)["services"]["triton"]["command"]
    assert [option for option in command if "config-name" in option] == [f"--model-config-name={place.value}"]
