"""`python -m client compare` against the real Triton: all steps, whatever becomes of one of them."""

from __future__ import annotations

import json

import numpy as np
import pytest

from tests.client.conftest import write_dataset
from tests.client.fake_triton import Behaviour, fake_triton
from tests.support import models
from tests.support.faults import add_faulty, write_reference
from tests.support.triton import start_server

SHORT = ("--rounds=1", "--duration=0.2", "--batch-sizes=1,4", "--concurrency=2", "--check-duration=3", "--output=out")
RESULTS = ["accuracy.json", "check.json", "end-to-end.json", "latency.json", "probe.json"]
REPORTS = ["report.csv", "report.html", "report.md"]


@pytest.fixture(scope="module")
def two_repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("two")
    write_reference(add_faulty(path, "healthy"))
    write_reference(add_faulty(path, "swapping", "rows"))
    models.add_doubler(path)
    return path


@pytest.fixture(scope="module")
def two(two_repository):
    with start_server(two_repository) as server:
        yield server


@pytest.fixture
def data(tmp_path):
    pixels = np.arange(60)
    return write_dataset(tmp_path / "cifar", pixels, pixels % 10)


def made(tmp_path) -> list[str]:
    return sorted(path.name for path in (tmp_path / "out").iterdir())


@pytest.mark.triton
def test_a_failing_check_is_said_last_with_2_and_every_measurement_is_kept(
    run_client, two, two_repository, data, tmp_path
):
    done = run_client("compare", f"--url={two.grpc}", f"--repository={two_repository}", f"--data={data}", *SHORT)
    assert done.returncode == 2, done.stderr
    assert "left out: model 'doubler'" in done.stderr
    assert done.stderr.splitlines()[-2].startswith("error: check: swapping: rows change places within a request")
    assert made(tmp_path) == sorted(RESULTS + REPORTS)
    for name in RESULTS:
        result = json.loads((tmp_path / "out" / name).read_text())
        assert [model["name"] for model in result["models"]] == ["healthy", "swapping"]
        assert result["complete"]
    for name in ("report.html", "report.md"):
        text = (tmp_path / "out" / name).read_text()
        assert "Wrong answers: no figure of these models counts." in text
        assert "swapping: rows change places within a request" in text
        assert text.index("WRONG ANSWERS: swapping must not be used") < text.index("classifies")
    assert "check,swapping,,,,,check_passed,0" in (tmp_path / "out/report.csv").read_text()


@pytest.mark.triton
def test_right_answers_end_with_0_and_head_the_report(run_client, two, two_repository, data, tmp_path):
    done = run_client("compare", "--model=healthy", f"--url={two.grpc}", f"--repository={two_repository}",
                      f"--data={data}", *SHORT)  # fmt: skip
    assert done.returncode == 0, done.stderr
    text = (tmp_path / "out/report.md").read_text()
    assert "answers that were checked belong to their images." in text
    assert "Wrong answers" not in text


@pytest.mark.triton
def test_what_cannot_be_measured_leaves_the_rest(run_client, two, two_repository, tmp_path):
    """There is no dataset at that place: accuracy and what else needs it fail, the check does not."""
    (tmp_path / "out").mkdir()
    (tmp_path / "out/accuracy.json").write_text('{"of": "an earlier comparison"}')
    done = run_client("compare", "--model=healthy", f"--url={two.grpc}", f"--repository={two_repository}",
                      "--data=/no/such", *SHORT)  # fmt: skip
    assert done.returncode == 1
    failed = "(accuracy, end-to-end, latency failed too)"
    assert f"error: probe: the data directory /no/such does not exist {failed}" in done.stderr
    assert made(tmp_path) == sorted(["check.json", *REPORTS])


@pytest.mark.triton
def test_steps_can_be_left_out(run_client, two, two_repository, data, tmp_path):
    done = run_client("compare", "--model=healthy", f"--url={two.grpc}", f"--repository={two_repository}",
                      f"--data={data}", "--skip=end-to-end", "--skip=latency", "--skip=probe", *SHORT)  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert made(tmp_path) == sorted(["check.json", "accuracy.json", *REPORTS])


@pytest.mark.triton
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--model=typo"], "it serves: doubler, healthy, swapping"),
        (["--batch-sizes=65"], "a batch of 65 is more than the 64 images"),
        (["--skip=nothing"], "invalid choice: 'nothing'"),
        (["--output=/proc/results"], "cannot write /proc/results/report.html"),
    ],
)
def test_bad_options_are_said_before_anything_is_measured(run_client, two, tmp_path, arguments, text):
    done = run_client("compare", f"--url={two.grpc}", *arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


def test_a_server_that_dies_ends_it_with_what_there_is(run_client, data, tmp_path):
    reference = write_reference(tmp_path)
    repository = tmp_path / "models/classifier/1"
    repository.mkdir(parents=True)
    reference.rename(repository / "reference.npz")
    with fake_triton(Behaviour(fail_after=40)) as url:
        done = run_client("compare", "--model=classifier", f"--url={url}", f"--repository={tmp_path / 'models'}",
                          f"--data={data}", "--skip=probe", *SHORT)  # fmt: skip
    assert "Traceback" not in done.stderr
    assert done.returncode == 2  # constant answers until it died
    assert "check.json" in made(tmp_path)
    assert not json.loads((tmp_path / "out/check.json").read_text())["complete"]
    assert "Incomplete" in (tmp_path / "out/report.md").read_text()
