"""benchmarks/container.sh where no Docker is: a stand-in for `docker` that notes what it is asked, and serves for real.

Its `docker run --detach` starts the embedded Triton at the ports that the script chose, so that everything after it,
the client, perf_analyzer, the packing, is the real thing.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import tarfile
import time
from pathlib import Path

import pytest

from tests.support import models
from tests.support.triton import SERVER_PYTHON, require_server, wait_for

ROOT = Path(__file__).parents[2]
SCRIPT = ROOT / "benchmarks" / "container.sh"

DOCKER = r"""#!/usr/bin/env bash
# A stand-in for docker. State lies in $FAKE; a file $FAKE/no-WHAT makes WHAT fail.
echo "$*" >>"$FAKE/calls"
case "$1 ${2:-}" in
  "info "*) [ ! -e "$FAKE/no-engine" ] ;;
  "image inspect") [ ! -e "$FAKE/no-image" ] && echo "digests: sha256:0" ;;
  "pull "*) [ ! -e "$FAKE/no-image" ] ;;
  "--version "*) echo "Docker version 0" ;;
  "run --rm")
    [[ "$*" != *nvidia-smi* || ! -e "$FAKE/no-toolkit" ]] || { echo 'could not select device driver ""' >&2; exit 125; }
    ;;
  "run --detach")
    for word in "$@"; do
      case $word in
        --http-port=*|--grpc-port=*|--metrics-port=*) ports+=("$word") ;;
        --load-model=*) loads+=("--load=${word#*=}") ;;
        *:/models:ro) repository=${word%:/models:ro} ;;
      esac
    done
    [ ! -e "$FAKE/no-server" ] || exit 0
    cd "$ROOT" || exit 1
    setsid "$SERVER_PYTHON" -m server --repository "$repository" --model-config-name=cpu "${ports[@]}" "${loads[@]}" \
      >"$FAKE/log" 2>&1 </dev/null &
    echo $! >"$FAKE/running"
    ;;
  "inspect "*) { [ -e "$FAKE/running" ] && kill -0 "$(cat "$FAKE/running")" 2>/dev/null && echo true; } || echo false ;;
  "logs "*) cat "$FAKE/log" 2>/dev/null || echo "E1126 error: no such model" ;;
  "rm "*) [ ! -e "$FAKE/running" ] || { kill "$(cat "$FAKE/running")"; rm "$FAKE/running"; } ;;
  *) echo "unknown: $*" >&2; exit 64 ;;
esac
"""


@pytest.fixture
def machine(tmp_path):
    """A machine with a stand-in for docker and nvidia-smi, and a repository with two models."""
    (tmp_path / "bin").mkdir()
    for name, text in (("docker", DOCKER), ("nvidia-smi", "#!/bin/sh\necho 'Fake GPU, 1.0'\n")):
        path = tmp_path / "bin" / name
        path.write_text(text)
        path.chmod(0o755)
    repository = tmp_path / "a repository"
    models.add_classifier(repository, "first")
    models.add_classifier(repository, "second")
    return tmp_path


def start(machine: Path, **environment: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [SCRIPT, machine / "results of mine.tar.gz"],
        env={
            "PATH": f"{machine}/bin:/usr/bin:/bin", "HOME": str(machine), "FAKE": str(machine), "ROOT": str(ROOT),
            "SERVER_PYTHON": str(SERVER_PYTHON), "REPOSITORY": str(machine / "a repository"), "MODELS": "first,second",
            "TMPDIR": str(machine), "ROUNDS": "1", "DURATION": "0.3", "READY_SECONDS": "60", **environment,
        },
        stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, start_new_session=True,
    )  # fmt: skip


def run(machine: Path, **environment: str) -> tuple[int, str]:
    process = start(machine, **environment)
    said, _ = process.communicate(timeout=280)
    return process.returncode, said


def left(machine: Path) -> list[str]:
    """What must be gone: a container, and the working directory."""
    return [str(path) for path in machine.iterdir() if path.name == "running" or path.name.startswith("tmp.")]


@pytest.mark.parametrize(
    ("broken", "said"),
    [
        ("no-engine", "error: Docker's engine does not answer"),
        ("no-image", "and it cannot be pulled"),
        ("no-toolkit", 'error: a container gets no GPU: could not select device driver ""'),
        ("nvidia-smi", "error: there is no nvidia-smi"),
        ("docker", "error: Docker is not installed"),
        ("a repository/second", "holds no second"),
    ],
)
def test_what_is_missing_is_one_line_and_a_hint(machine, broken, said):
    path = machine / broken
    if broken in ("docker", "nvidia-smi"):
        if shutil.which(broken, path="/usr/bin:/bin"):
            pytest.skip(f"this machine has a {broken}")
        (machine / "bin" / broken).unlink()
    elif path.is_dir():
        shutil.rmtree(path)
    else:
        path.touch()
    code, text = run(machine)
    assert code == 1
    assert said in text
    assert len(text.splitlines()) == 2, text
    assert "hint: " in text
    assert left(machine) == []
    assert not (machine / "results of mine.tar.gz").exists()


def test_an_output_that_cannot_be_written_is_said_before_anything_starts(machine):
    (machine / "results of mine.tar.gz.part").mkdir()
    (machine / "results of mine.tar.gz.part").chmod(0o500)
    process = subprocess.run(
        [SCRIPT, machine / "no such folder" / "results.tar.gz"], capture_output=True, text=True, check=False,
        env={"PATH": f"{machine}/bin:/usr/bin:/bin", "FAKE": str(machine), "TMPDIR": str(machine)},
    )  # fmt: skip
    assert process.returncode == 1
    assert "error: cannot write" in process.stderr
    assert not (machine / "calls").exists() or "run" not in (machine / "calls").read_text()


def test_a_server_that_does_not_start_is_packed_with_its_log(machine):
    (machine / "no-server").touch()
    code, text = run(machine, PLACES="gpu_container")
    assert code == 1
    assert "did not become ready: E1126 error: no such model" in text
    with tarfile.open(machine / "results of mine.tar.gz") as packed:
        assert "./gpu_container/triton.log" in packed.getnames()
    assert left(machine) == []


@pytest.mark.triton
@pytest.mark.slow
def test_both_models_are_measured_and_packed_and_nothing_is_left(machine):
    require_server()
    code, text = run(machine, PLACES="gpu_container")
    with tarfile.open(machine / "results of mine.tar.gz") as packed:
        packed.extractall(machine / "unpacked", filter="data")
    place = machine / "unpacked" / "gpu_container"
    codes = dict(line.split() for line in (place / "exit-codes.txt").read_text().splitlines())
    for name in ("probe", "latency-small", "latency-large", "perf-analyzer-small"):
        assert codes[name] in ("0", "1"), text
    assert {row["model"] for row in json.loads((place / "probe.json").read_text())["rows"]} == {"first", "second"}
    report = (place / "report/report.md").read_text()
    assert "Whether answers belong to their images" in report, "what client check found is in the report too"
    assert "Docker version 0" in (machine / "unpacked" / "versions.txt").read_text()
    assert json.loads((place / "config-first.json").read_text())["name"] == "first"
    started = next(call for call in (machine / "calls").read_text().splitlines() if call.startswith("run --detach"))
    assert "--model-config-name=gpu_container" in started
    assert "--gpus all" in started
    assert (code == 0) == (set(codes.values()) == {"0"})
    assert left(machine) == []


@pytest.mark.triton
def test_an_interrupt_stops_the_container_and_packs_what_there_is(machine):
    require_server()
    process = start(machine)
    try:
        wait_for(lambda: (machine / "running").exists(), 60)
        time.sleep(1)
        os.killpg(process.pid, signal.SIGINT)
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert process.returncode == 130, said
    assert "wrote " in said
    assert left(machine) == []
