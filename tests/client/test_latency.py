"""`python -m client latency` against the real Triton."""

from __future__ import annotations

import json

import pytest

from tests.support import models
from tests.support.triton import start_server


@pytest.mark.triton
def test_a_row_for_every_batch_size_and_concurrency(run_client, served, tmp_path):
    done = run_client("latency", "--model=classifier", f"--url={served.grpc}", "--batch-size=1,8", "--concurrency=1,3",
                      "--duration=0.5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert "synthetic images" in done.stderr
    result = json.loads((tmp_path / "results/latency-classifier.json").read_text())
    assert [(row["batch_size"], row["concurrency"]) for row in result["rows"]] == [(1, 1), (1, 3), (8, 1), (8, 3)]
    for row in result["rows"]:
        latency = row["latency_ms"]
        assert 0 < latency["p50"] <= latency["p90"] <= latency["p95"] <= latency["p99"]
        assert row["failed"] == row["rejected"] == 0
        # Little's law: the requests in flight are throughput times latency (here within a generous half)
        in_flight = row["requests"] / row["seconds"] * latency["mean"] / 1000
        assert 0.5 * row["concurrency"] <= in_flight <= 1.01 * row["concurrency"]


@pytest.mark.triton
def test_requests_that_a_full_queue_rejects_are_counted(run_client, tmp_path):
    policy = "dynamic_batching { max_queue_delay_microseconds: 200000 default_queue_policy { max_queue_size: 1 } }"
    models.add_classifier(tmp_path / "repository", config=policy)
    with start_server(tmp_path / "repository") as server:
        done = run_client("latency", "--model=classifier", f"--url={server.grpc}", "--batch-size=1",
                          "--concurrency=6", "--duration=2")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "results/latency-classifier.json").read_text())["rows"]
    assert row["rejected"] > 0
    assert row["requests"] > 0


@pytest.mark.parametrize("option", ["--duration=0", "--duration=inf", "--batch-size=1,x", "--concurrency="])
def test_bad_values_are_refused(run_client, option):
    done = run_client("latency", "--model=classifier", option)
    assert done.returncode == 1
    assert option.partition("=")[0] in done.stderr
