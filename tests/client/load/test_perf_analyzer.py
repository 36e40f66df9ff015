"""`python -m client perf-analyzer`: the real one, and ones that fail as it can."""

from __future__ import annotations

import json
import os
from pathlib import Path

import numpy as np
import pytest

from client.connection import Endpoint, Model
from client.errors import ClientError
from client.load import perf_analyzer
from client.load.generator import Load
from tests.support.triton import SERVER_PYTHON

ROOT = Path(__file__).parents[3]
HEADER = (
    "Concurrency,Inferences/Second,Client Send,Network+Server Send/Recv,Server Queue,Server Compute Input,"
    "Server Compute Infer,Server Compute Output,Client Recv,p50 latency,p90 latency,p95 latency,p99 latency"
)


@pytest.mark.triton
@pytest.mark.slow
def test_the_real_one_measures_and_the_client_beside_it(run_client, served, tmp_path):
    if not SERVER_PYTHON.with_name("perf_analyzer").is_file():
        pytest.skip("the embedded server's environment has no perf_analyzer")
    done = run_client("perf-analyzer", "--model=classifier", f"--url={served.grpc}", "--batch-sizes=4",
                      "--concurrency=1,3", "--duration=0.5", "--rounds=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/perf-analyzer-classifier.json").read_text())
    assert [row["concurrency"] for row in result["rows"]] == [1, 3]
    for row in result["rows"]:
        for measured in (row["perf_analyzer"], row["client"]):
            latency = measured["latency_ms"]
            assert 0 < latency["p50"] <= latency["p90"] <= latency["p99"]
            assert measured["requests"] > 0
            assert measured["server"]["compute_infer_ms"] > 0
        command = row["perf_analyzer"]["command"]
        assert command[command.index("--concurrency-range") + 1] == str(row["concurrency"])
        assert row["client_share"] > 0
    assert "perf_analyzer" in done.stdout


@pytest.mark.triton
def test_real_images_are_what_it_sends(served, tmp_path):
    """The file holds the images' bytes, which the classifier's answers would betray if they were others."""
    images = np.random.default_rng(0).integers(0, 256, (5, 32, 32, 3), dtype=np.uint8)
    perf_analyzer.write_input(tmp_path / "input.json", images)
    import base64

    data = json.loads((tmp_path / "input.json").read_text())["data"]
    decoded = [np.frombuffer(base64.b64decode(entry["images"]["content"]["b64"]), np.uint8) for entry in data]
    assert np.array_equal(np.stack(decoded).reshape(5, 32, 32, 3), images)
    assert all(entry["images"]["shape"] == [32, 32, 3] for entry in data)


def pretend(tmp_path: Path, script: str) -> perf_analyzer.Binary:
    """An executable that does what the script says; `$csv` and `$profile` name the files it was asked to write."""
    path = tmp_path / "perf_analyzer"
    find = "while [ $# -gt 0 ]; do case $1 in -f) csv=$2;; --profile-export-file) profile=$2;; esac; shift; done\n"
    path.write_text(f"#!/bin/bash\n{find}{script}\n")
    path.chmod(0o755)
    return perf_analyzer.Binary((str(path),))


def measured(binary: perf_analyzer.Binary, seconds: float = 1.0) -> dict:
    images = np.zeros((2, 32, 32, 3), np.uint8)
    endpoint, model = Endpoint("127.0.0.1:1", timeout=1), Model("m", "1", "onnxruntime_onnx", 8)
    return perf_analyzer.measure(binary, endpoint, model, Load(2, seconds, concurrency=4), images)


ROWS = "4,1000,1,2,30,4,50,6,7,100,200,300,400"
PROFILE = '{"experiments":[{"requests":[{"timestamp":1000000,"response_timestamps":[3000000]}]}]}'
WRITE = f"echo '{HEADER}' > $csv; echo '{ROWS}' >> $csv; echo '{PROFILE}' > $profile"


def test_an_unstable_measurement_is_reported_as_unstable(tmp_path):
    found = measured(pretend(tmp_path, f"{WRITE}; exit 2"))
    assert found["stable"] is False
    assert found["images_per_second"] == 1000
    assert found["latency_ms"]["p50"] == 2.0
    assert found["server"]["queue_ms"] == pytest.approx(0.03)


def test_without_a_stable_measurement_there_are_no_figures(tmp_path):
    found = measured(pretend(tmp_path, "echo 'Failed to obtain stable measurement.'; exit 2"))
    assert found["stable"] is False
    assert found["images_per_second"] is None
    assert found["latency_ms"]["p99"] is None


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'error: Failed to init manager inputs'; exit 99", "exit code 99: error: Failed to init manager inputs"),
        ("echo 'version GLIBC_2.38 not found'; exit 1", "exit code 1"),
        ("exit 0", "no report that can be read"),
        (f"echo '{HEADER}' > $csv; exit 0", "no report that can be read"),
        (f"{WRITE}; echo 'cut off {{' > $profile", "no report that can be read"),
        (f"echo 'Concurrency,Other' > $csv; echo 4,1 >> $csv; echo '{PROFILE}' > $profile", "Inferences/Second"),
        (f"{WRITE}; sed -i s/^4,/8,/ $csv", "concurrency 8 instead of 4"),
        ("kill -9 $$", "exit code -9"),
    ],
)
def test_a_failure_is_reported_as_what_it_is(tmp_path, script, said):
    with pytest.raises(ClientError, match="perf_analyzer") as raised:
        measured(pretend(tmp_path, script))
    assert said in str(raised.value)


def test_one_that_never_ends_is_stopped_with_all_its_children(tmp_path, monkeypatch):
    monkeypatch.setattr(perf_analyzer, "MAX_TRIALS", -30)  # brings the limit of a minute down to a second
    pid = tmp_path / "pid"
    with pytest.raises(ClientError, match="did not end within"):
        measured(pretend(tmp_path, f"sleep 300 & echo $! > {pid}; wait"))
    assert not Path(f"/proc/{pid.read_text().strip()}").exists() or _is_dead(pid)


def _is_dead(pid: Path) -> bool:
    return Path(f"/proc/{pid.read_text().strip()}/stat").read_text().split()[2] == "Z"


def test_rows_are_read_by_name_and_sorted_by_load(tmp_path):
    path = tmp_path / "report.csv"
    path.write_text("p99 latency,Concurrency,Inferences/Second,p42 latency\n9,16,300,1\n5,1,100,1\n7,4,200,1\n")
    assert [(row["Concurrency"], row["p99 latency"]) for row in perf_analyzer.rows(path)] == [
        ("1", "5"),
        ("4", "7"),
        ("16", "9"),
    ]


def test_a_missing_binary_says_where_it_was_sought(run_client, served, tmp_path, monkeypatch):
    done = run_client("perf-analyzer", "--model=classifier", f"--url={served.grpc}", "--binary=/no/such/binary")
    assert done.returncode == 1
    assert "--binary /no/such/binary is not an executable file" in done.stderr
    monkeypatch.setattr(perf_analyzer, "_ENVIRONMENT", tmp_path)
    monkeypatch.setitem(os.environ, "PATH", str(tmp_path))
    with pytest.raises(ClientError, match=r"neither on PATH nor in \.venv-server"):
        perf_analyzer.located(None, docker=False).__enter__()
    with pytest.raises(ClientError, match="needs Docker"), perf_analyzer.located(None, docker=True):
        pass


def test_tls_is_passed_on(tmp_path):
    class Certificates:
        ca, certificate, key = Path("ca.pem"), Path("c.pem"), Path("k.pem")

    endpoint = Endpoint("host:1")
    object.__setattr__(endpoint, "tls", Certificates())
    options = perf_analyzer.arguments(endpoint, Model("m", "1", "", 8), Load(1, 1.0, concurrency=1), tmp_path)
    assert options[options.index("--ssl-grpc-root-certifications-file") + 1] == "ca.pem"
    assert options[options.index("--ssl-grpc-private-key-file") + 1] == "k.pem"
