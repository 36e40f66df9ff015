"""What `make serve` starts: one variable names the release, nothing is writable, nobody else can reach it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

DOCKER = Path(__file__).parents[2] / "docker"


@pytest.fixture(scope="module")
def service():
    return yaml.safe_load((DOCKER / "compose.yaml").read_text())["services"]["triton"]


def test_one_variable_names_the_release(service):
    assert service["image"] == "nvcr.io/nvidia/tritonserver:${TRITON_RELEASE:?}-py3"
    settings = [line for line in (DOCKER / ".env").read_text().splitlines() if line and not line.startswith("#")]
    assert settings == ["TRITON_RELEASE=26.08"]


def test_the_repository_is_mounted_read_only_where_triton_looks(service):
    (volume,) = service["volumes"]
    source, target, mode = volume.split(":")
    assert (DOCKER / source).resolve() == DOCKER.parent / "model_repository"
    assert mode == "ro"
    assert f"--model-repository={target}" in service["command"]


def test_only_this_machine_can_reach_it(service):
    assert [port.rpartition(":")[0] for port in service["ports"]] == [
        f"127.0.0.1:{port}" for port in (8000, 8001, 8002)
    ]


def test_it_runs_without_privileges_on_a_read_only_system(service):
    assert service["user"] == "1000:1000"
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert "no-new-privileges:true" in service["security_opt"]


def test_docker_waits_longer_than_triton_does_before_it_kills(service):
    (timeout,) = [option for option in service["command"] if option.startswith("--exit-timeout-secs=")]
    assert int(service["stop_grace_period"].rstrip("s")) > int(timeout.partition("=")[2])
