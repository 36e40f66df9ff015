"""The README's commands are those that exist, and the first of them does what it says."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from tests.support.triton import require_server

ROOT = Path(__file__).parents[1]
BLOCKS = re.findall(r"^```\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
COMMANDS = sorted(
    {
        line.split("#")[0].strip()
        for block in BLOCKS
        for line in block.splitlines()
        if re.match(r"(\w+=\S+ )*make\b", line)
    }
)
TARGETS = set(re.findall(r"^([a-z-]+):.*?##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # A test that `make test` started must not inherit that make's flags and variables.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "CIFAR10"))
    }
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False
    )


def test_the_readme_has_commands():
    assert {"make demo", "make test", "make build-repo", "make serve-local"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_in_the_readme_exists(command):
    words = [word for word in command.split() if word != "make"]
    targets = [word for word in words if "=" not in word]
    assert set(targets) <= TARGETS
    done = make("--dry-run", *words)
    assert done.returncode == 0, done.stderr


def test_help_is_the_default_and_lists_every_target():
    done = make()
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == TARGETS


def test_serve_without_docker_is_one_clear_line(tmp_path):
    for tool in ("bash", "make", "docker-is-absent"):
        if tool != "docker-is-absent":
            (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = make("serve", PATH=str(tmp_path))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert said[0].startswith("error: Docker is not installed")


@pytest.mark.triton
@pytest.mark.slow
def test_demo_without_dataset_and_network_agrees_with_pytorch_and_says_what_it_used(tmp_path):
    require_server()
    unreachable = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    done = make("demo", f"REPOSITORY={tmp_path / 'models'}", f"RESULTS={tmp_path / 'results'}", **unreachable)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stderr.splitlines()
    assert "SYNTHETIC IMAGES" in said[0]
    assert "SYNTHETIC IMAGES" in said[-1]
    assert "100.00 %" in re.search(r"same class as PyTorch.*", done.stdout)[0]
    assert "accuracy" not in done.stdout.lower()
    assert {path.name for path in (tmp_path / "results").iterdir()} == {
        "accuracy-resnet18_onnx.json",
        "latency-resnet18_onnx.json",
        "report",
    }
    assert "No accuracy was measured" in (tmp_path / "results/report/report.html").read_text()
    after = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert after.stdout == before.stdout
