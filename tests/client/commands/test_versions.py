"""`--model NAME:N` against the real Triton, which serves two versions of a model that answer differently."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from client.connection import Connection, Control, Endpoint
from client.errors import ClientError
from tests.client.conftest import write_dataset, write_reference
from tests.client.fake_triton import Behaviour, fake_triton
from tests.support import models
from tests.support.triton import SERVER_PYTHON, start_server

pytestmark = pytest.mark.triton

MODULUS = {"1": 10, "2": 9}
"""The class that each version of `pair` gives: the first pixel's red value modulo this."""
BOTH = ("--model=pair:1", "--model=pair:2")
PIXELS = np.arange(200)


def add_versions(repository: Path, elsewhere: Path, name: str, moduli: dict[str, int]) -> None:
    """A classifier whose versions answer differently, each with its own reference answers."""
    models.add_classifier(repository, name, config=models.BATCHING + "version_policy { all { } }\n")
    (repository / name / "1/model.onnx").unlink()
    (repository / name / "1").rmdir()
    for version, modulus in moduli.items():
        made = models.add_classifier(elsewhere / version, name, modulus=modulus)
        made.parent.rename(repository / name / version)
        write_reference(repository / name / version / "reference.npz", np.arange(60), modulus=modulus)


@pytest.fixture(scope="module")
def two_repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("two")
    add_versions(path, tmp_path_factory.mktemp("pair"), "pair", MODULUS)
    add_versions(path, tmp_path_factory.mktemp("a"), "a", {"1": 10, "3": 10})
    models.add_classifier(path, "a:3", modulus=8)
    return path


@pytest.fixture(scope="module")
def two(two_repository):
    with start_server(two_repository) as server:
        yield server


@pytest.fixture
def data(tmp_path):
    return write_dataset(tmp_path / "cifar", PIXELS, PIXELS % 10)


def right(modulus: int) -> int:
    """How many of the dataset's images a version classifies as they are labelled."""
    return int((PIXELS % modulus == PIXELS % 10).sum())


@pytest.mark.parametrize("transport", ["grpc", "http", "system-shm"])
def test_each_answer_is_its_version_s(run_client, two, data, tmp_path, transport):
    url = two.http if transport == "http" else two.grpc
    done = run_client("accuracy", *BOTH, f"--url={url}", f"--data={data}", f"--transport={transport}",
                      "--labels-from-server")  # fmt: skip
    assert done.returncode == 0, done.stderr
    first, second = json.loads((tmp_path / "results/accuracy-pair:1-vs-pair:2.json").read_text())["models"]
    assert (first["name"], first["model_name"], first["version"]) == ("pair:1", "pair", "1")
    assert (second["name"], second["model_name"], second["version"]) == ("pair:2", "pair", "2")
    assert first["accuracy"]["count"] == 200
    assert second["accuracy"]["count"] == right(9) < 200
    assert second["paired"]["baseline"] == "pair:1"
    assert second["paired"]["losses"] == 200 - right(9)
    assert first["versions"] == ["1", "2"]


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_without_a_version_the_newest_answers_and_the_result_says_so(run_client, two, data, tmp_path, transport):
    url = two.http if transport == "http" else two.grpc
    done = run_client("accuracy", "--model=pair", f"--url={url}", f"--data={data}", f"--transport={transport}")
    assert done.returncode == 0, done.stderr
    (model,) = json.loads((tmp_path / "results/accuracy-pair.json").read_text())["models"]
    assert (model["name"], model["version"], model["versions"]) == ("pair", "2", ["1", "2"])
    assert model["accuracy"]["count"] == right(9)
    assert "pair: version 2 answers; --model NAME:N asks 1" in done.stderr
    assert "pair version 2 of 1, 2" in " ".join(done.stdout.split())


def test_an_exact_name_goes_before_the_split(run_client, two, data, tmp_path):
    done = run_client("accuracy", "--model=a:3", "--model=a:1", f"--url={two.grpc}", f"--data={data}", "--output=a")
    assert done.returncode == 0, done.stderr
    exact, split = json.loads((tmp_path / "a").read_text())["models"]
    assert (exact["model_name"], exact["version"], exact["accuracy"]["count"]) == ("a:3", "1", right(8))
    assert (split["model_name"], split["version"], split["accuracy"]["count"]) == ("a", "1", 200)


def test_a_name_with_a_colon_is_found_over_http(run_client, two):
    done = run_client("probe", "--model=a:3", f"--url={two.http}", "--transport=http")
    assert done.returncode == 0, done.stderr


def test_the_server_s_statistics_are_those_of_the_version(two):
    image = np.zeros((1, 32, 32, 3), np.uint8)
    with Connection(Endpoint(two.grpc)) as connection:
        asked, other = connection.control.named("pair:1"), connection.control.named("pair:2")
        from client.load.server_times import between

        before = connection.control.statistics()
        for _ in range(3):
            connection.infer(connection.prepare(asked, image))
        after = connection.control.statistics()
        assert (between(before, after, asked).requests, between(before, after, asked).other_requests) == (3, 0)
        assert (between(before, after, other).requests, between(before, after, other).other_requests) == (0, 3)


def test_a_check_takes_each_version_s_own_reference(run_client, two, two_repository, tmp_path):
    done = run_client("check", *BOTH, f"--url={two.grpc}", f"--repository={two_repository}", "--duration=3",
                      "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    checks = json.loads((tmp_path / "a.json").read_text())["checks"]
    assert [check["model"] for check in checks] == ["pair:1", "pair:2"]
    files = [check["reference"]["file"] for check in checks]
    assert files == [str(two_repository / "pair" / version / "reference.npz") for version in MODULUS]


def test_another_version_s_reference_is_noticed(run_client, two, two_repository):
    other = two_repository / "pair/2/reference.npz"
    done = run_client("check", "--model=pair:1", f"--url={two.grpc}", f"--reference={other}", "--duration=3")
    assert done.returncode == 2
    assert "error: pair:1: " in done.stderr


def test_a_comparison_and_its_report_name_the_versions(run_client, two, two_repository, data, tmp_path):
    done = run_client("compare", *BOTH, f"--url={two.grpc}", f"--repository={two_repository}", f"--data={data}",
                      "--rounds=2", "--duration=0.2", "--batch-sizes=1,4", "--concurrency=2", "--check-duration=3",
                      "--output=out")  # fmt: skip
    assert done.returncode == 0, done.stderr
    for name in ("probe", "check", "accuracy", "end-to-end", "latency"):
        result = json.loads((tmp_path / f"out/{name}.json").read_text())
        assert [model["name"] for model in result["models"]] == ["pair:1", "pair:2"]
        assert {row["model"] for row in result.get("rows", [])} <= {"pair:1", "pair:2"}
    (ratio, _) = json.loads((tmp_path / "out/latency.json").read_text())["ratios"]
    assert (ratio["model"], ratio["baseline"]) == ("pair:2", "pair:1")
    text = (tmp_path / "out/report.md").read_text()
    assert "pair:1 and pair:2 on Triton" in text
    assert "pair:2 is less accurate than pair:1" in text
    assert "accuracy,pair:2,pair:1,,,,accuracy_difference," in (tmp_path / "out/report.csv").read_text()


@pytest.mark.slow
def test_perf_analyzer_asks_the_version(run_client, two, tmp_path):
    if not SERVER_PYTHON.with_name("perf_analyzer").is_file():
        pytest.skip("the embedded server's environment has no perf_analyzer")
    done = run_client("perf-analyzer", "--model=pair:1", f"--url={two.grpc}", "--batch-sizes=4", "--concurrency=1",
                      "--duration=0.5", "--rounds=2", "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    (row,) = json.loads((tmp_path / "a.json").read_text())["rows"]
    assert row["model"] == "pair:1"
    command = row["perf_analyzer"]["command"]
    assert command[command.index("-m") + 1 : command.index("-m") + 4] == ["pair", "-x", "1"]
    assert row["perf_analyzer"]["server"]["compute_infer_ms"] > 0
    assert row["client"]["server"]["requests"] > 0


READY = "versions 1 and 2 are ready"


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["--model=pair:9"], ["version 9 of model 'pair' is not ready at", READY, "version 9 is not found"]),
        (["--model=pair:99999999999999999999"], ["is not ready at", READY]),
        (["--model=pair:0"], ["version 0 of model 'pair' is not ready at", READY]),
        (["--model=pair:new"], ["must be a whole number; found 'new'", READY]),
        (["--model=pair:"], ["must be a whole number; found ''", READY]),
        (["--model=pair:01"], ["must be a whole number; found '01'", READY]),
        (["--model=pair:²"], ["must be a whole number; found '²'", READY]),
        (["--model=pair:-1"], ["must be a whole number; found '-1'", READY]),
        (["--model=pair", "--version=²"], ["must be a whole number; found '²'", READY]),
        (["--model=pair:1:"], ["unknown model: 'pair", "it serves: a, a:3, pair"]),
        (["--model=:1"], ["unknown model", "it serves: a, a:3, pair"]),
        (["--model=nobody:1"], ["unknown model: 'nobody", "it serves: a, a:3, pair"]),
        (["--model=pair:1", "--model=pair:1"], ["--model pair:1 is named twice"]),
        (["--model=pair", "--model=pair:2"], ["--model pair:2 is named twice (as pair)"]),
        (["--model=pair:1", "--model=pair:2", "--version=1"], ["--version is for a single --model"]),
        (["--model=a:2"], ["version 2 of model 'a' is not ready at", "versions 1 and 3 are ready"]),
    ],
)
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_version_that_cannot_be_had_is_one_line(run_client, two, tmp_path, transport, arguments, words):
    url = two.http if transport == "http" else two.grpc
    done = run_client("probe", f"--url={url}", f"--transport={transport}", *arguments)
    assert done.returncode == 1
    said = [line for line in done.stderr.splitlines() if not line.startswith("hint: ")]
    assert len(said) == 1, done.stderr
    assert all(text in done.stderr for text in words), done.stderr
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_a_version_that_is_no_longer_ready_is_one_line(run_client, tmp_path, transport):
    """Triton's index goes on naming it, as unavailable."""
    repository = tmp_path / "models"
    add_versions(repository, tmp_path / "elsewhere", "pair", {"1": 10, "2": 9, "3": 8})
    with start_server(repository) as server:
        config = repository / "pair/config.pbtxt"
        config.write_text(config.read_text().replace("all { }", "latest { num_versions: 2 }"))
        control = Control(Endpoint(server.grpc))
        control.call("load_model", "pair")
        control.close()
        url = server.http if transport == "http" else server.grpc
        done = run_client("probe", "--model=pair:1", f"--url={url}", f"--transport={transport}")
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    assert "version 1 of model 'pair' is not ready at" in error
    assert "but versions 2 and 3 are ready: " in error
    assert hint == "hint: --model pair:3"


@pytest.mark.parametrize(
    ("only", "text", "name", "label"),
    [("pair", "pair:1", "pair", "pair:1"), ("pair:1", "pair:1", "pair:1", "pair:1"), ("pair", "pair", "pair", "pair")],
)
def test_a_server_that_keeps_its_index_for_others_is_asked_for_the_model_itself(only, text, name, label):
    restricted = "This protocol is restricted, expecting header 'triton-grpc-protocol-key'"
    with fake_triton(Behaviour(only=only, index_error=restricted)) as url:
        control = Control(Endpoint(url))
        found = control.named(text)
        control.close()
    assert (found.name, found.version, found.label, found.versions) == (name, "1", label, ())


def test_without_the_index_an_unknown_name_is_still_one_line():
    with fake_triton(Behaviour(only="pair", index_error="This protocol is restricted, expecting header 'x'")) as url:
        control = Control(Endpoint(url))
        with pytest.raises(ClientError, match="does not serve it: Request for unknown model: 'other:1'"):
            control.named("other:1")
        control.close()
