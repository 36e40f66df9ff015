"""`python -m client accuracy` against the real Triton, with a classifier whose answers are known."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import numpy as np
import pytest
from scipy.stats import binomtest

from cifar10 import CLASS_NAMES, Split, load
from tests.client.conftest import ROOT, regions, write_dataset, write_reference
from tests.support import models
from tests.support.triton import start_server

pytestmark = pytest.mark.triton


@pytest.fixture
def dataset(tmp_path):
    """200 images, of which the classifier gets 150 right; each batch holds both kinds."""
    rng = np.random.default_rng(0)
    pixels = rng.integers(0, 256, 200)
    labels = pixels % 10
    wrong = rng.permutation(200)[:50]
    labels[wrong] = (labels[wrong] + 1 + rng.integers(0, 9, 50)) % 10
    return write_dataset(tmp_path / "cifar", pixels, labels)


def test_accuracy_is_exactly_what_the_answers_say(run_client, served, dataset, tmp_path):
    done = run_client("accuracy", "--model=classifier", f"--url={served.grpc}", f"--data={dataset}", "--batch-size=7",
                      "--concurrency=5")  # fmt: skip
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/accuracy-classifier.json").read_text())
    interval = binomtest(150, 200).proportion_ci(method="wilson")
    (model,) = result["models"]
    assert model["accuracy"] == {
        "count": 150,
        "total": 200,
        "value": 0.75,
        "low": pytest.approx(interval.low),
        "high": pytest.approx(interval.high),
    }
    assert result["data"]["name"] == "CIFAR-10"
    assert result["server"]["version"] == "2.51.0"
    assert result["environment"]["packages"]["tritonclient"]
    assert "75.00 %" in done.stdout


def test_two_models_are_compared_image_by_image(run_client, served, dataset, tmp_path):
    done = run_client("accuracy", "--model=classifier", "--model=ninths", f"--url={served.grpc}", f"--data={dataset}")
    assert done.returncode == 0, done.stderr
    result = json.loads((tmp_path / "results/accuracy-classifier-vs-ninths.json").read_text())
    images = load(Split.TEST, dataset)
    red, labels = images.images[:, 0, 0, 0].astype(int), images.labels
    first, second = red % 10 == labels, red % 9 == labels
    paired = result["models"][1]["paired"]
    assert (paired["wins"], paired["losses"]) == ((second & ~first).sum(), (first & ~second).sum())
    assert paired["p_value"] == pytest.approx(binomtest(paired["wins"], paired["wins"] + paired["losses"]).pvalue)
    assert paired["top1_agreement"]["count"] == (red % 10 == red % 9).sum()
    assert paired["difference"]["value"] == pytest.approx(second.mean() - first.mean())
    assert paired["difference"]["low"] < second.mean() - first.mean() < paired["difference"]["high"] < 0
    confusion = np.array(result["models"][1]["confusion"])
    expected = np.zeros((10, 10), int)
    np.add.at(expected, (labels, red % 9), 1)
    assert (confusion == expected).all()


@pytest.mark.parametrize(("gate", "code"), [("--max-accuracy-drop=5", 2), ("--max-accuracy-drop=99", 0),
                                            ("--min-agreement=0.99", 2)])  # fmt: skip
def test_gates_hold_models_against_the_first(run_client, served, dataset, tmp_path, gate, code):
    done = run_client("accuracy", "--model=classifier", "--model=ninths", f"--url={served.grpc}", f"--data={dataset}",
                      gate)  # fmt: skip
    assert done.returncode == code
    assert ("ninths" in done.stderr.splitlines()[-1] and gate.split("=")[0] in done.stderr) == (code == 2)
    assert (tmp_path / "results/accuracy-classifier-vs-ninths.json").exists()


def test_without_a_name_all_models_of_the_project_are_measured(run_client, served, dataset, tmp_path):
    done = run_client("accuracy", f"--url={served.grpc}", f"--data={dataset}", "--output=a.json")
    assert done.returncode == 0, done.stderr
    assert "left out: model 'doubler' is not one of this project's" in done.stderr
    models = json.loads((tmp_path / "a.json").read_text())["models"]
    assert [model["name"] for model in models] == ["classifier", "ninths"]


@pytest.mark.parametrize(("model", "said"), [("classifier", ""), ("ninths", "0 is 'truck' instead of 'airplane'")])
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_class_names_of_the_server_are_checked(run_client, served, dataset, transport, model, said):
    url = served.http if transport == "http" else served.grpc
    done = run_client("accuracy", f"--model={model}", f"--url={url}", f"--data={dataset}", "--labels-from-server",
                      f"--transport={transport}")  # fmt: skip
    assert done.returncode == (1 if said else 0), done.stderr
    assert said in done.stderr


@pytest.fixture(scope="module")
def oddly_labelled(tmp_path_factory):
    """Models whose label files an editor elsewhere has saved."""
    path = tmp_path_factory.mktemp("labels")
    models.add_classifier(path, "returns", labels=tuple(f"{name}\r" for name in CLASS_NAMES))
    models.add_classifier(path, "marked", labels=(f"\ufeff{CLASS_NAMES[0]}", *CLASS_NAMES[1:]))
    models.add_classifier(
        path, "both", labels=(f"\ufeff{CLASS_NAMES[0]}\r", *(f"{name}\r" for name in CLASS_NAMES[1:]))
    )
    models.add_classifier(path, "bell", labels=("\a\x1b[31mred", *CLASS_NAMES[1:]))
    models.add_classifier(path, "colons", labels=("a:b:c", *CLASS_NAMES[1:]))
    for name, encoding in (("latin", "latin-1"), ("wide", "utf-16")):
        models.add_classifier(path, name)
        text = "".join(f"{name}\n" for name in ("Mähdrescher", *CLASS_NAMES[1:]))
        (path / name / "labels.txt").write_bytes(text.encode(encoding))
    with start_server(path) as server:
        yield server


@pytest.mark.parametrize(
    ("model", "said", "saved_elsewhere"),
    [
        ("returns", r"0 is 'airplane\r' instead of 'airplane', 1 is 'automobile\r'", True),
        ("marked", r"0 is '\ufeffairplane' instead of 'airplane'", True),
        ("both", r"0 is '\ufeffairplane\r' instead of 'airplane', 1 is 'automobile\r'", True),
        ("bell", r"0 is '\x07\x1b[31mred' instead of 'airplane'", False),
        ("colons", "0 is 'a:b:c' instead of 'airplane'", False),
        ("latin", r"0 is 'M\udce4hdrescher' instead of 'airplane'", False),
        ("wide", r"0 is '\udcff\udcfeM", False),
    ],
)
@pytest.mark.parametrize("transport", ["grpc", "http"])
def test_labels_that_cannot_be_seen_are_shown(
    run_client, oddly_labelled, dataset, transport, model, said, saved_elsewhere
):
    done = run_client("accuracy", f"--model={model}", f"--url={getattr(oddly_labelled, transport)}",
                      f"--data={dataset}", f"--transport={transport}", "--labels-from-server")  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 2
    assert all(line.isprintable() for line in done.stderr.splitlines())
    assert ("save that file as UTF-8 without byte-order mark" in done.stderr) == saved_elsewhere
    assert ("that file is not UTF-8" in done.stderr) == (model in ("latin", "wide"))


@pytest.mark.parametrize("transport", ["grpc", "http"])
@pytest.mark.parametrize("command", ["accuracy", "probe", "check", "reload"])
def test_a_name_that_is_not_utf_8_is_one_line(run_client, served, command, transport):
    url = getattr(served, transport)
    done = run_client(command, "--model=\udcff", f"--url={url}", f"--transport={transport}")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert r"\udcff" in done.stderr.splitlines()[-2]


@pytest.mark.parametrize("transport", ["http", "system-shm"])
def test_every_transport_gives_the_same_answers_and_leaves_nothing(run_client, served, dataset, tmp_path, transport):
    url = served.http if transport == "http" else served.grpc
    for name, address in (("grpc", served.grpc), (transport, url)):
        done = run_client("accuracy", "--model=ninths", f"--url={address}", f"--data={dataset}", "--batch-size=7",
                          "--concurrency=5", f"--transport={name}", f"--output={name}.json")  # fmt: skip
        assert done.returncode == 0, done.stderr
    one, other = (json.loads((tmp_path / f"{name}.json").read_text())["models"][0] for name in ("grpc", transport))
    assert one["confusion"] == other["confusion"]
    assert not regions(served)


def test_limit_takes_the_first_images(run_client, served, dataset, tmp_path):
    done = run_client("accuracy", "--model=classifier", f"--url={served.grpc}", f"--data={dataset}", "--limit=30",
                      "--output=a.json")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "a.json").read_text())["models"][0]["accuracy"]["total"] == 30


def test_synthetic_images_are_compared_with_pytorch_and_never_called_accuracy(run_client, served, tmp_path):
    reference = write_reference(tmp_path / "reference.npz", np.arange(100), wrong=5)
    common = ("accuracy", "--model=classifier", f"--url={served.grpc}", f"--reference={reference}")
    done = run_client(*common, "--synthetic")
    assert done.returncode == 0, done.stderr
    lines = done.stderr.splitlines()
    assert "SYNTHETIC" in lines[0]
    assert "SYNTHETIC" in lines[-1]
    assert "95.00 %" in done.stdout
    assert "accuracy" not in done.stdout
    assert json.loads((tmp_path / "results/accuracy-classifier.json").read_text())["models"][0]["accuracy"] is None
    gated = run_client(*common, "--synthetic", "--min-agreement=0.96")
    assert gated.returncode == 2
    assert "95.00 %" in gated.stderr


def test_what_the_model_was_made_from_is_recorded(run_client, served, repository, tmp_path):
    # A copy: the launcher refuses a model that is not what provenance says, and other tests serve the original.
    copy = shutil.copytree(repository, tmp_path / "copy")
    write_reference(copy / "classifier/1/reference.npz", np.arange(20))
    (copy / "classifier/1/provenance.json").write_text('{"sha256": "abc", "precision": "fp32"}')
    done = run_client("accuracy", "--model=classifier", f"--url={served.grpc}", "--synthetic", "--reference",
                      f"--repository={copy}")  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert json.loads((tmp_path / "results/accuracy-classifier.json").read_text())["models"][0]["sha256"] == "abc"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--model=typo"], "'typo'"),
        (["--model=typo"], "hint: it serves: classifier, doubler, ninths"),
        (["--model=classifier", "--version=9"], "version 9 is not found"),
        (
            ["--model=classifier", "--version=new"],
            "a version of model 'classifier' must be a whole number; found 'new', and version 1 is ready",
        ),
        (["--model=doubler"], "expected images UINT8 [-1, 32, 32, 3], found x FP32 [-1, -1]"),
        (["--model=classifier", "--batch-size=65"], "a batch of 65 is more than the 64 images"),
        (["--model=classifier", "--batch-size=0"], "a whole number of 1 or more, found '0'"),
        (["--model=classifier", "--concurrency=-1"], "a whole number of 1 or more, found '-1'"),
        (["--model=classifier", "--limit=0"], "a whole number of 1 or more, found '0'"),
        (["--model=classifier", "--timeout=nan"], "seconds, more than 0 and at most 31536000 (a year), found 'nan'"),
        (
            ["--model=classifier", "--url=http://127.0.0.1:8001"],
            "with a port of 1 to 65535; found 'http://127.0.0.1:8001'",
        ),
        (["--model=classifier", "--url=127.0.0.1:1"], "no Triton answers at 127.0.0.1:1"),
        (["--model=classifier", "--model=classifier"], "named twice"),
        (["--model=classifier", "--model=ninths", "--version=1"], "--version is for a single --model"),
        (["--model=classifier", "--max-accuracy-drop=1"], "name a second --model"),
        (["--model=classifier", "--tls-ca=/no/such.pem"], "cannot use the certificates in /no/such.pem"),
        (["--model=classifier", "--tls-cert=/no/such.pem"], "need --tls-ca"),
        (["--model=classifier", "--header=nothing"], "expected NAME:VALUE in printable ASCII, found 'nothing'"),
        (["--model=classifier", "--data=/no/such"], "/no/such does not exist"),
        (["--model=classifier", "--output=/proc/results/a.json"], "cannot write /proc/results/a.json"),
        (["--model=classifier", "--synthetic"], "add --reference"),
        (["--model=classifier", "--synthetic", "--reference"], "--reference needs a file, or --repository"),
        (["--model=classifier", "--synthetic", "--reference=/no/such.npz"], "no reference answers at /no/such.npz"),
    ],
)
def test_bad_input_is_one_line_and_exit_code_1(run_client, served, tmp_path, arguments, said):
    done = run_client("accuracy", f"--url={served.grpc}", *arguments)
    assert done.returncode == 1
    assert said in done.stderr
    assert "Traceback" not in done.stderr
    assert not list(tmp_path.rglob("*.json"))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", None])
def test_a_damaged_reference_names_the_file(run_client, served, tmp_path, content):
    path = tmp_path / "reference.npz"
    if content is None:
        np.savez(path, images=np.zeros((2, 32, 32, 3), np.float32), logits=np.zeros((2, 10), np.float32))
    else:
        path.write_bytes(content)
    done = run_client("accuracy", "--model=classifier", f"--url={served.grpc}", "--synthetic", f"--reference={path}")
    assert done.returncode == 1
    assert str(path) in done.stderr
    assert "hint: build the model again" in done.stderr


@pytest.fixture
def long_run(repository, tmp_path):
    """A server, and a client in the middle of 20,000 requests."""
    pixels = np.zeros(20_000, np.int64)
    data = write_dataset(tmp_path / "cifar", pixels, pixels)
    with start_server(repository) as server:
        command = [sys.executable, "-m", "client", "accuracy", "--model=classifier", f"--url={server.grpc}",
                   f"--data={data}", "--batch-size=1", f"--output={tmp_path / 'a.json'}", "--timeout=20"]  # fmt: skip
        client = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.PIPE, stdout=subprocess.DEVNULL, text=True)
        try:
            _wait_for_requests(server)
            yield server, client
        finally:
            client.kill()
            client.wait()
            client.stderr.close()


def _wait_for_requests(server) -> None:
    import tritonclient.grpc as grpcclient

    with grpcclient.InferenceServerClient(server.grpc) as client:
        for _ in range(600):
            if client.get_inference_statistics("classifier").model_stats[0].inference_count > 50:
                return
            time.sleep(0.1)
    pytest.fail("the client never sent anything")


def test_a_server_killed_mid_run_ends_the_client_with_a_clear_error(long_run, tmp_path):
    server, client = long_run
    os.kill(server.server_pid, signal.SIGKILL)
    _, said = client.communicate(timeout=60)
    assert client.returncode == 1
    assert "no Triton answers at" in said
    assert "of 20,000 images; no result was written" in said
    assert not (tmp_path / "a.json").exists()


def test_interrupted_mid_run_leaves_no_file(long_run, tmp_path):
    _, client = long_run
    client.send_signal(signal.SIGINT)
    _, said = client.communicate(timeout=60)
    assert client.returncode == 130
    assert "Traceback" not in said
    assert not (tmp_path / "a.json").exists()
