"""`python -m client check` against the real Triton, with models that answer wrong in every way that we know of."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import sys
import time

import numpy as np
import pytest

from tests.client.conftest import ROOT, regions
from tests.client.fake_triton import Behaviour, fake_triton
from tests.support import models
from tests.support.faults import add_faulty, write_reference
from tests.support.triton import start_server

FAULTS = {
    # the six of the bar
    "every_second": r"belong to other requests: [\d,]+ of [\d,]+ requests; .* the request before, every second time",
    "one_size": r"belong to other requests: \d+ of \d+ at batch 32; .* the request before",
    "concurrency": r"belong to other requests: .* with several in flight, none one after the other",
    "one_before": r"belong to other requests: .* the request before$",
    "two_before": r"belong to other requests: .* the request two before$",
    "rows": r"rows change places within a request: [\d,]+ of [\d,]+ requests$",
    # and more
    "every_second_two_before": r"belong to other requests: .* the request two before, every second time",
    "one_odd_size": r"belong to other requests: \d+ of \d+ at batch 33; .* the request before",
    "same_class": r"belong to other requests",
    "nan": r"NaN or infinity: \d+ of [\d,]+",
    "constant": r"the same answer to every image",
    "first_for_ever": r"the same answer to every image",
    "boundary": r"belong to other requests: .* the request before",
    "shifted": r"rows change places within a request",
    "padding": r"wrong values, up to [\d.]+ away",
    "scaled": r"wrong values, up to [\d.]+ away \(10.0 % of the largest logit; 3.0 % is allowed\)",
    "one_value": r"wrong values, up to [\d.]+ away \(100.0 % of the largest logit",
    "rare": r"belong to other requests: .* the request before",
    "later": r"belong to other requests: .* the request before",
}
HEALTHY = ("none", "half")
UNSEEN_ALONE = {"scaled"}
"""What no one can find who has the model's own answers only."""

SAID_ALONE = {
    # half of what is known is wrong itself: that right and wrong take turns cannot always be seen
    "every_second": r"belong to other requests: .* the request before",
    "every_second_two_before": r"belong to other requests: .* the request two before",
    "concurrency": r"belong to other requests: .* with several in flight, none one after the other",
    "padding": r"asked alone, \d+ images have answers that cannot be told apart",
    "one_value": r"wrong values",
    "same_class": r"belong to other requests|different answer each time",
    "nan": r"NaN or infinity|different answer each time",
}


@pytest.fixture(scope="module")
def faulty_repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("faulty")
    for name in (*FAULTS, *HEALTHY, "quantised"):
        write_reference(add_faulty(path, name, name))
    directory = add_faulty(path, "int8", "quantised")
    write_reference(directory)
    (directory / "provenance.json").write_text('{"sha256": "abc", "precision": "int8"}')
    models.add_doubler(path)
    return path


@pytest.fixture(scope="module")
def faulty(faulty_repository):
    with start_server(faulty_repository) as server:
        yield server


def checked(url: str, path, *options: str) -> tuple[subprocess.CompletedProcess[str], dict]:
    """Check every model of the server at once; returns the process and what was found of each model."""
    command = [sys.executable, "-m", "client", "check", f"--url={url}", f"--output={path}", "--duration=60", *options]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)
    assert path.exists(), done.stderr
    return done, {check["model"]: check for check in json.loads(path.read_text())["checks"]}


@pytest.fixture(scope="module")
def with_reference(faulty, faulty_repository, tmp_path_factory):
    path = tmp_path_factory.mktemp("check") / "check.json"
    return checked(faulty.grpc, path, f"--repository={faulty_repository}")


@pytest.fixture(scope="module")
def without_reference(faulty, tmp_path_factory):
    return checked(faulty.grpc, tmp_path_factory.mktemp("check") / "check.json")


def said(check: dict) -> str:
    return "\n".join(finding["text"] for finding in check["findings"])


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_and_named(with_reference, fault):
    _, found = with_reference
    assert not found[fault]["passed"]
    assert re.search(FAULTS[fault], said(found[fault]), re.MULTILINE), said(found[fault])


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_found_without_reference_answers_too(without_reference, fault):
    _, found = without_reference
    assert found[fault]["reference"]["file"] is None
    assert found[fault]["passed"] == (fault in UNSEEN_ALONE), said(found[fault])
    if fault not in UNSEEN_ALONE:
        assert re.search(SAID_ALONE.get(fault, FAULTS[fault]), said(found[fault]), re.MULTILINE), said(found[fault])


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("model", HEALTHY)
def test_right_answers_pass_with_and_without_reference(with_reference, without_reference, model):
    for _, found in (with_reference, without_reference):
        check = found[model]
        assert check["passed"], said(check)
        assert check["wrong_images"] == 0
        assert check["not_reached"] == []
        assert check["reference"]["inseparable_pairs"] == 0


@pytest.mark.triton
@pytest.mark.slow
def test_wrong_answers_end_with_2_and_what_was_found_is_said_at_the_end(with_reference):
    done, found = with_reference
    wrong = sum(not check["passed"] for check in found.values())
    assert done.returncode == 2
    assert f"error: {wrong} of {len(found)} models answer wrong" in done.stderr
    assert "left out: model 'doubler' is not one of this project's" in done.stderr
    assert "Traceback" not in done.stderr
    assert "none: all " in done.stdout
    assert done.stdout.count("WRONG ANSWERS") >= wrong


@pytest.mark.triton
@pytest.mark.slow
def test_a_coarse_model_passes_and_what_cannot_be_told_apart_is_counted(with_reference, without_reference):
    _, found = with_reference
    coarse = found["int8"]
    assert coarse["passed"], said(coarse)
    assert 0.2 <= coarse["max_abs_difference"] <= 0.26  # a quarter of a logit: half of the step
    assert 0 < coarse["reference"]["inseparable_pairs"] < coarse["reference"]["pairs"]
    assert "the largest logit; 3.0 % is allowed" in said(found["quantised"])
    assert without_reference[1]["quantised"]["passed"], "its own answers are always the same"


@pytest.mark.triton
@pytest.mark.parametrize("transport", ["http", "system-shm"])
def test_every_transport_finds_the_same(run_client, faulty, faulty_repository, tmp_path, transport):
    url = faulty.http if transport == "http" else faulty.grpc
    common = (f"--url={url}", f"--transport={transport}", f"--repository={faulty_repository}", "--output=a.json")
    done = run_client("check", "--model=none", *common)
    assert done.returncode == 0, done.stderr
    for model in ("two_before", "rows"):
        done = run_client("check", f"--model={model}", *common)
        assert done.returncode == 2, done.stderr
        assert re.search(FAULTS[model], done.stderr.splitlines()[-2], re.MULTILINE), done.stderr
    assert not regions(faulty)


@pytest.mark.triton
def test_a_result_has_every_batch_size_and_its_environment(run_client, faulty, faulty_repository, tmp_path):
    done = run_client("check", "--model=one_size", f"--url={faulty.grpc}", f"--repository={faulty_repository}",
                      "--seed=3")  # fmt: skip
    assert done.returncode == 2
    result = json.loads((tmp_path / "results/check-one_size.json").read_text())
    in_turn = {row["batch_size"]: row for row in result["rows"] if row["phase"] == "one after the other"}
    assert {1, 2, 4, 8, 16, 32, 64, 3, 33, 63} <= set(in_turn)
    assert {size for size, row in in_turn.items() if row["wrong_requests"]} == {32}
    assert in_turn[32]["wrong_requests"] == in_turn[32]["requests"]
    assert result["environment"]["packages"]["tritonclient"]
    assert result["settings"]["seed"] == 3


@pytest.mark.triton
def test_a_server_with_other_models_only_is_refused_in_one_line(run_client, tmp_path):
    models.add_doubler(tmp_path / "repository")
    with start_server(tmp_path / "repository") as server:
        done = run_client("check", f"--url={server.grpc}")
        named = run_client("check", "--model=doubler", f"--url={server.grpc}")
    assert done.returncode == named.returncode == 1
    expected = "expected images UINT8 [-1, 32, 32, 3], found x FP32 [-1, -1]"
    assert f"left out: model 'doubler' is not one of this project's: {expected}" in done.stderr
    assert "serves no model of this project" in done.stderr
    assert f"error: model 'doubler' is not one of this project's: {expected}" in named.stderr


@pytest.mark.triton
@pytest.mark.parametrize(
    ("arguments", "text"),
    [
        (["--concurrency=1"], "argument --concurrency: expected a whole number of 2 or more, found '1'"),
        (["--tolerance=0"], "a share of more than 0, up to 1, found '0'"),
        (["--duration=0"], "seconds, more than 0 and at most 31536000 (a year), found '0'"),
        (["--reference=/no/such.npz"], "no reference answers at /no/such.npz"),
        (["--seed=x"], "expected a whole number of 0 or more, found 'x'"),
    ],
)
def test_bad_options_are_one_line(run_client, faulty, tmp_path, arguments, text):
    done = run_client("check", "--model=none", f"--url={faulty.grpc}", *arguments)
    assert done.returncode == 1
    assert text in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.triton
def test_another_models_reference_is_told_from_a_fault(run_client, faulty, tmp_path):
    reference = write_reference(tmp_path)
    with np.load(reference) as arrays:
        np.savez(reference, images=arrays["images"], logits=arrays["logits"][:, ::-1])
    done = run_client("check", "--model=none", f"--url={faulty.grpc}", f"--reference={reference}")
    assert done.returncode == 2
    assert "is it the version that the reference answers were made for?" in done.stderr


@pytest.mark.parametrize(
    ("behaviour", "code", "text"),
    [
        (Behaviour(fail_after=0), 1, "no Triton answers"),
        (Behaviour(fail_after=150), 1, "no Triton answers"),
        (Behaviour(hang_on="ModelInfer"), 1, "no answer within 1 s"),
        (Behaviour(hang_on="ModelConfig"), 1, "no answer within 1 s"),
        (Behaviour(hang_on="ServerReady"), 1, "no answer within 1 s"),
        (Behaviour(hang_on="ModelMetadata"), 1, "no answer within 1 s"),
        (Behaviour(hang_on="ServerMetadata"), 1, "no answer within 1 s"),
        (Behaviour(answers=3), 2, "answers of another size"),
        (Behaviour(logit=float("nan")), 2, "NaN or infinity"),
        (Behaviour(logit=7), 2, "the same answer to every image"),
        (Behaviour(model_error="no such file"), 1, "does not serve it"),
    ],
    ids=["gone", "dies", "hangs", "config hangs", "ready hangs", "metadata hangs", "server hangs", "shape", "NaN",
         "constant", "no model"],
)  # fmt: skip
def test_a_server_that_misbehaves_ends_the_check_in_one_line(run_client, tmp_path, behaviour, code, text):
    with fake_triton(behaviour) as url:
        done = run_client("check", "--model=classifier", f"--url={url}", "--timeout=1", "--duration=3")
    assert done.returncode == code, done.stderr
    assert text in done.stderr
    assert "Traceback" not in done.stderr


def test_what_was_measured_before_a_server_died_is_kept(run_client, tmp_path):
    reference = write_reference(tmp_path)
    with fake_triton(Behaviour(fail_after=30)) as url:
        done = run_client("check", "--model=classifier", f"--url={url}", f"--reference={reference}", "--output=a.json")
    assert "INCOMPLETE: no Triton answers" in done.stdout
    result = json.loads((tmp_path / "a.json").read_text())
    assert not result["complete"]
    assert result["checks"][0]["requests"] == 30


@pytest.mark.triton
@pytest.mark.parametrize("transport", ["grpc", "http", "system-shm"])
def test_a_frozen_server_ends_the_check_in_time(faulty_repository, tmp_path, transport):
    with start_server(faulty_repository, "--load=none") as server:
        url = server.http if transport == "http" else server.grpc
        path = tmp_path / "a.json"
        command = [sys.executable, "-m", "client", "check", "--model=none", f"--url={url}", "--timeout=2",
                   f"--transport={transport}", "--duration=60", f"--output={path}",
                   f"--repository={faulty_repository}"]  # fmt: skip
        client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        assert "checking none" in client.stderr.readline()
        time.sleep(0.3)
        os.kill(server.server_pid, signal.SIGSTOP)
        try:
            _, text = client.communicate(timeout=60)
        finally:
            client.kill()
            os.kill(server.server_pid, signal.SIGCONT)
    assert client.returncode == 1, text
    assert "error: no answer within 2 s" in text
    assert json.loads(path.read_text())["complete"] is False
