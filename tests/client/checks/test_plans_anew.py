"""The probe on real servers: one that plans anew whenever the batch size changes, and ones that do not."""

from __future__ import annotations

import json

import pytest

from client.checks import plans_anew
from client.connection import Connection, Endpoint, Transport
from client.images import unlabelled
from tests.support import models
from tests.support.triton import Served, start_server

pytestmark = pytest.mark.triton

SAME, CHANGE = 0.007, 0.040
PLAIN, TWO, BATCHING = "planner", "two_planners", "batching_planner"


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Served:
    repository = tmp_path_factory.mktemp("planners")
    models.add_planner(repository, PLAIN, same=SAME, change=CHANGE)
    models.add_planner(repository, TWO, same=SAME, change=CHANGE, config="instance_group { count: 2 kind: KIND_CPU }")
    models.add_planner(
        repository, BATCHING, same=SAME, change=CHANGE, config="instance_group { kind: KIND_CPU } dynamic_batching { }"
    )
    models.add_classifier(repository)
    models.add_classifier(repository, "in_turn", config="instance_group { count: 3 kind: KIND_CPU }")
    models.add_sleeper(repository, "sleeper", seconds=0.02)
    with start_server(repository) as server:
        yield server


def probed(served: Served, name: str, transport: Transport = Transport.GRPC) -> dict:
    address = served.http if transport is Transport.HTTP else served.grpc
    with Connection(Endpoint(address, transport)) as connection:
        return plans_anew.probe(connection, connection.control.model(name), unlabelled(None)[1])


@pytest.mark.parametrize("name", [PLAIN, TWO, BATCHING])
def test_a_backend_that_plans_anew_is_named_with_both_times(served, name):
    found = probed(served, name)
    assert found["plans_anew"]
    assert found["instances"] == (2 if name == TWO else 1)
    for row in found["rows"]:
        assert row["changed_ms"] == pytest.approx(1000 * (SAME + CHANGE), rel=0.2)
        assert row["same_ms"] == pytest.approx(1000 * SAME, rel=0.2)
    assert found["changed_ms"] == pytest.approx(1000 * (SAME + CHANGE), rel=0.2)
    assert f"{name} plans anew: {found['changed_ms']:.3g} ms an execution" in plans_anew.sentence(found)


@pytest.mark.parametrize("transport", [Transport.HTTP, Transport.SYSTEM_SHM])
def test_every_transport_sees_it(served, transport):
    assert probed(served, PLAIN, transport)["plans_anew"]


@pytest.mark.parametrize("name", ["classifier", "in_turn", "sleeper"])
def test_nothing_is_found_on_a_server_that_does_not_mind(served, name):
    found = probed(served, name)
    assert len(found["rows"]) == len(plans_anew.SIZES)
    assert not found["plans_anew"]
    assert "does not mind" in plans_anew.sentence(found)


def test_the_command_writes_what_the_report_shows(served, run_client, tmp_path):
    wanted = ["--model", PLAIN, "--model", "classifier", f"--url={served.grpc}"]
    done = run_client("probe", *wanted, "--output=probe.json")
    assert done.returncode == 0, done.stderr
    assert "warning: planner plans anew" in done.stdout
    result = json.loads((tmp_path / "probe.json").read_text())
    assert [row["plans_anew"] for row in result["rows"]] == [True, False]
    assert result["models"][0]["configuration"]["instances"] == {"CPU": 1}, "as the server says it is served"
    done = run_client("report", "probe.json", "--output=report")
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "report" / "report.md").read_text()
    assert "When the batch size changes" in text
    assert "planner plans anew" in text
    assert "1 x CPU, no dynamic batching, no warm-ups" in text


def test_the_latency_of_such_a_server_says_what_its_figures_mean(served, run_client, tmp_path):
    done = run_client(
        "latency", f"--model={BATCHING}", f"--url={served.grpc}", "--batch-sizes=1", "--concurrency=5", "--rounds=5",
        "--duration=1", "--output=latency.json",
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "latency.json").read_text())
    assert result["probes"][0]["plans_anew"]
    (warning,) = [text for text in result["warnings"] if "plans anew" in text]
    row = result["rows"][0]
    loaded, alone = row["server"]["compute_infer_ms"], row["alone_ms"]
    # the batches may also settle into equal sizes: then there is nothing to name but the probe's finding
    slow = alone is not None and loaded > plans_anew.MANY_TIMES * alone
    assert ("mean batch" in warning) == (slow and loaded - alone > plans_anew.NOTICEABLE_MS)


ROW = {"model": "m", "batch_size": 1, "concurrency": 8, "rate": None, "alone_ms": 0.7}


@pytest.mark.parametrize(
    ("loaded", "plans", "said"),
    [
        (45.0, True, "m plans anew: 45 ms an execution after a change of the batch size, 0.7 ms where"),
        (45.0, True, "45 ms an execution under load, 0.7 ms alone; mean batch 4.0"),
        (45.0, False, "a change of the batch size is not the reason"),
        (1.4, False, None),
    ],
)
def test_a_load_under_which_a_server_computes_many_times_as_long_is_named_with_the_reason(loaded, plans, said):
    row = {**ROW, "server": {"compute_infer_ms": loaded, "mean_batch": 4.0, "requests": 100}}
    changed = 45.0 if plans else 0.7
    found = {
        "model": "m", "instances": 1, "rows": [{"batch_size": 1, "changed_ms": changed, "same_ms": 0.7, "cycles": 5}],
        "changed_ms": changed, "same_ms": 0.7, "plans_anew": plans, "error": None,
    }  # fmt: skip
    warnings = plans_anew.warnings([row], [found])
    assert len(warnings) == (said is not None)
    assert all(said in warning for warning in warnings)


def test_a_model_that_takes_one_image_has_nothing_to_probe():
    from client.connection import Model

    found = plans_anew.probe(None, Model("m", "1", "", 0), unlabelled(None)[1])
    assert found["rows"] == []
    assert not found["plans_anew"]
