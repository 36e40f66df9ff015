"""`python -m client latency` against the real Triton."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from tests.client.conftest import ROOT, regions
from tests.support import models
from tests.support.triton import start_server, wait_for

QUICK = ("--rounds=2", "--duration=0.3")


@pytest.fixture(scope="module")
def sleepers(tmp_path_factory):
    """Two models that take 20 ms for a request, one of them with a queue that refuses the second in line."""
    repository = tmp_path_factory.mktemp("sleepers")
    models.add_sleeper(repository)
    policy = "dynamic_batching { default_queue_policy { max_queue_size: 1 } }\n"
    models.add_sleeper(repository, "impatient", config=policy)
    with start_server(repository) as server:
        yield server


def result_of(path) -> dict:
    return json.loads(path.read_text())


@pytest.mark.triton
def test_a_row_for_every_batch_size_and_concurrency(run_client, served, tmp_path):
    done = run_client("latency", "--model=classifier", f"--url={served.grpc}", "--batch-sizes=1,8", "--concurrency=1,3",
                      *QUICK)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "synthetic images" in done.stderr
    rows = result_of(tmp_path / "results/latency-classifier.json")["rows"]
    assert [(row["batch_size"], row["concurrency"]) for row in rows] == [(1, 1), (1, 3), (8, 1), (8, 3)]
    for row in rows:
        latency = row["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
        assert row["failed"] == row["rejected"] == row["timed_out"] == 0
        # Little's law: the requests in flight are throughput times latency (here within a generous half)
        in_flight = row["images_per_second"]["value"] / row["batch_size"] * latency["mean"] / 1000
        assert 0.5 * row["concurrency"] <= in_flight <= 1.2 * row["concurrency"]
        assert row["server"]["requests"] >= row["requests"] - row["concurrency"]


@pytest.mark.triton
@pytest.mark.parametrize("options", [["--transport=http"], ["--transport=system-shm"], ["--workers=2"]])
def test_other_ways_to_send_count_every_request_once(run_client, served, tmp_path, options):
    url = served.http if "--transport=http" in options else served.grpc
    done = run_client("latency", "--model=classifier", f"--url={url}", "--batch-sizes=4", "--concurrency=3", *QUICK,
                      *options)  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = result_of(tmp_path / "results/latency-classifier.json")["rows"]
    assert row["requests"] > 0
    assert row["failed"] == 0
    assert abs(row["server"]["requests"] - row["requests"]) <= 3
    assert row["server"]["mean_batch"] >= 4
    assert not regions(served)


@pytest.mark.triton
def test_two_models_take_turns_and_get_a_ratio(run_client, sleepers, tmp_path):
    done = run_client("latency", "--model=sleeper", "--model=impatient", f"--url={sleepers.grpc}", "--batch-sizes=1",
                      "--concurrency=1", "--rounds=3", "--duration=0.5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    turns = [line.split(",")[0] for line in done.stderr.splitlines() if "round" in line]
    assert turns == ["sleeper", "impatient", "impatient", "sleeper", "sleeper", "impatient"]
    result = result_of(tmp_path / "results/latency-sleeper-vs-impatient.json")
    (ratio,) = result["ratios"]
    assert ratio["baseline"] == "sleeper"
    assert ratio["throughput"]["low"] <= ratio["throughput"]["value"] <= ratio["throughput"]["high"]
    assert any("rounds give no interval" in warning for warning in result["warnings"])
    assert any("too few for a p99" in warning for warning in result["warnings"])


@pytest.mark.triton
def test_time_spent_in_the_model_is_told_from_time_spent_in_the_queue(run_client, sleepers, tmp_path):
    for concurrency in (1, 3):
        done = run_client("latency", "--model=sleeper", f"--url={sleepers.grpc}", "--batch-sizes=1",
                          f"--concurrency={concurrency}", *QUICK, f"--output={concurrency}.json")  # fmt: skip
        assert done.returncode == 0, done.stderr
    (alone,) = result_of(tmp_path / "1.json")["rows"]
    (queued,) = result_of(tmp_path / "3.json")["rows"]
    assert alone["server"]["compute_infer_ms"] >= 20  # the model sleeps that long
    assert alone["latency_ms"]["p50"] >= 20
    assert queued["server"]["compute_infer_ms"] >= 20
    assert queued["server"]["queue_ms"] > 20 > alone["server"]["queue_ms"]  # two of three wait for one or two others


@pytest.mark.triton
@pytest.mark.parametrize("arrivals", ["poisson", "constant"])
def test_an_open_loop_above_capacity_reports_growing_latency(run_client, sleepers, tmp_path, arrivals):
    done = run_client("latency", "--model=sleeper", f"--url={sleepers.grpc}", "--batch-sizes=1", "--rate=100",
                      f"--arrivals={arrivals}", "--rounds=1", "--duration=2", "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "a.json")
    (row,) = result["rows"]
    quarters = row["p50_ms_by_quarter"]
    assert quarters == sorted(quarters)
    assert quarters[-1] > 2 * quarters[0]  # 50 a second are answered, 100 sent: the backlog grows by a second in two
    assert any("the rate is above capacity" in warning for warning in result["warnings"])


@pytest.mark.triton
def test_requests_that_a_full_queue_rejects_are_counted(run_client, sleepers, tmp_path):
    done = run_client("latency", "--model=impatient", f"--url={sleepers.grpc}", "--batch-sizes=1", "--rate=150",
                      "--rounds=1", "--duration=1", "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = result_of(tmp_path / "a.json")
    (row,) = result["rows"]
    assert row["rejected"] > 0
    assert row["requests"] > 0
    assert any("rejected by the queue" in warning for warning in result["warnings"])


@pytest.mark.triton
def test_requests_that_time_out_are_counted(run_client, sleepers, tmp_path):
    done = run_client("latency", "--model=sleeper", f"--url={sleepers.grpc}", "--batch-sizes=1", "--rate=100",
                      "--timeout=0.2", "--rounds=1", "--duration=1", "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = result_of(tmp_path / "a.json")["rows"]
    assert row["timed_out"] > 0


@pytest.mark.triton
def test_someone_elses_requests_are_noticed(run_client, sleepers, tmp_path):
    other = subprocess.Popen([sys.executable, "-m", "client", "latency", "--model=sleeper", f"--url={sleepers.grpc}",
                              "--batch-sizes=1", "--concurrency=2", "--duration=60", f"--output={tmp_path}/other.json"],
                             cwd=ROOT, stderr=subprocess.PIPE, text=True)  # fmt: skip
    try:
        other.stderr.readline()
        time.sleep(1)
        done = run_client("latency", "--model=impatient", f"--url={sleepers.grpc}", "--batch-sizes=1",
                          "--concurrency=1", *QUICK, "--output=a.json")  # fmt: skip
    finally:
        other.kill()
        other.wait()
        other.stderr.close()
    assert done.returncode == 0, done.stderr
    assert any("were not ours" in warning for warning in result_of(tmp_path / "a.json")["warnings"])


@pytest.fixture(params=[1, 2], ids=["one process", "two workers"])
def long_run(tmp_path, request):
    """A server, and a client that has measured at least one window of a long sweep through shared memory."""
    models.add_sleeper(tmp_path / "repository", seconds=0.001)
    with start_server(tmp_path / "repository") as server:
        command = [sys.executable, "-m", "client", "latency", "--model=sleeper", f"--url={server.grpc}",
                   "--transport=system-shm", "--batch-sizes=1", "--rounds=1000", "--duration=0.3",
                   f"--workers={request.param}", "--concurrency=2",
                   f"--output={tmp_path / 'a.json'}"]  # fmt: skip
        said = (tmp_path / "said.txt").open("w+")
        client = subprocess.Popen(command, cwd=ROOT, stderr=said, stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: "round 3" in (tmp_path / "said.txt").read_text() or client.poll() is not None, 60)
            yield server, client, tmp_path / "said.txt"
        finally:
            client.kill()
            client.wait()
            said.close()


@pytest.mark.triton
def test_a_server_killed_mid_run_leaves_a_partial_result_marked_as_such(long_run, tmp_path):
    server, client, said = long_run
    os.kill(server.server_pid, signal.SIGKILL)
    assert client.wait(60) == 1
    assert "no Triton answers at" in said.read_text()
    result = result_of(tmp_path / "a.json")
    assert result["complete"] is False
    assert "no Triton answers" in result["stopped_by"]
    assert result["rows"][0]["requests"] > 0
    assert not list(Path("/dev/shm").glob("triton_client_*"))


@pytest.mark.triton
def test_interrupted_mid_run_keeps_what_was_measured_and_frees_the_memory(long_run, tmp_path):
    server, client, said = long_run
    client.send_signal(signal.SIGINT)
    assert client.wait(60) == 130
    assert "Traceback" not in said.read_text()
    assert result_of(tmp_path / "a.json")["stopped_by"] == "interrupted"
    assert not regions(server)


@pytest.mark.triton
def test_what_a_killed_client_left_is_removed_by_the_next(long_run, run_client, request):
    server, client, _ = long_run
    client.kill()
    client.wait()
    wait_for(lambda: not list(Path("/dev/shm").glob("triton_client_*")), 30)
    # a client alone leaves them registered; workers see their parent go and clean up
    assert bool(regions(server)) == (request.node.callspec.params["long_run"] == 1)
    done = run_client("latency", "--model=sleeper", f"--url={server.grpc}", "--transport=system-shm",
                      "--batch-sizes=1", *QUICK, "--output=b.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert not regions(server)


@pytest.mark.parametrize(
    "option",
    ["--duration=0", "--duration=inf", "--batch-sizes=1,x", "--concurrency=", "--rate=0", "--rate=nan", "--rounds=0",
     "--workers=0", "--transport=carrier-pigeon"],
)  # fmt: skip
def test_bad_values_are_refused(run_client, option):
    done = run_client("latency", "--model=classifier", option)
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr


def test_open_and_closed_loop_exclude_each_other(run_client):
    done = run_client("latency", "--model=classifier", "--rate=5", "--concurrency=2")
    assert done.returncode == 1
    assert "not allowed with" in done.stderr


@pytest.mark.triton
def test_cuda_shared_memory_without_a_gpu_is_one_clear_line(run_client, served):
    if Path("/dev/nvidia0").exists():
        pytest.skip("this machine has a GPU")
    done = run_client("latency", "--model=classifier", f"--url={served.grpc}", "--transport=cuda-shm", *QUICK)
    assert done.returncode == 1
    assert "CUDA shared memory" in done.stderr
    assert "Traceback" not in done.stderr
