"""`python -m client analyze`: the real Model Analyzer where it is installed, and programs that fail as it can."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from client.connection import Control, Endpoint, Model
from client.errors import ClientError
from client.load import model_analyzer
from client.load.model_analyzer import Search
from client.load.perf_analyzer import Binary
from tests.client.fake_triton import Behaviour, fake_triton
from tests.support import models
from tests.support.hostile import NAMES
from tests.support.triton import ROOT, start_server, wait_for

SEARCH = Search(max_batch_size=64, max_instances=2, max_concurrency=32, window=2.0, sweep=False)


def model(name: str = "m", **configuration) -> Model:
    return Model(name, "1", "onnxruntime_onnx", 256, {"instances": {"CPU": 1}, "warm_up": [1], **configuration})


def options(found: Model, directory: Path) -> dict:
    endpoint = Endpoint("127.0.0.1:1")
    return model_analyzer.configuration(found, endpoint, "http://127.0.0.1:2/metrics", Binary(("pa",)), SEARCH,
                                        directory)  # fmt: skip


@pytest.mark.parametrize(
    ("instances", "cpu_only"),
    [({"CPU": 2}, True), ({"GPU": 1}, False), ({"GPU": 1, "CPU": 1}, False), ({}, True)],
)
def test_a_model_without_an_instance_on_a_gpu_is_searched_on_the_cpu(tmp_path, instances, cpu_only):
    assert options(model(instances=instances), tmp_path)["profile_models"] == {"m": {"cpu_only": cpu_only}}


@pytest.mark.parametrize(
    ("warm_up", "most", "expected"),
    [([], 64, (1, 64)), ([1], 64, (1, 64)), ([1, 8], 64, (8, 64)), ([5], 64, (8, 64)), ([256], 64, (256, 256)),
     ([1], 100, (1, 64)), ([1], 1, (1, 1))],
)  # fmt: skip
def test_no_batch_size_below_a_warm_up_s_is_tried(warm_up, most, expected):
    assert model_analyzer.batch_sizes(model(warm_up=warm_up), most) == expected


def test_a_cpu_s_configuration_lets_every_batch_size_be_tried():
    """What the builder writes for a CPU has a single warm-up, of one image."""
    from google.protobuf.json_format import MessageToDict
    from google.protobuf.text_format import Parse
    from tritonclient.grpc.model_config_pb2 import ModelConfig

    from console.triton_configuration import summary

    goldens = Path(__file__).parents[2] / "builder/triton_config/goldens"
    paths = sorted(goldens.glob("*/configs/cpu.pbtxt"))
    assert paths
    for path in paths:
        config = MessageToDict(Parse(path.read_text(), ModelConfig()), preserving_proto_field_name=True)
        assert model_analyzer.batch_sizes(model(**summary(config)), 64) == (1, 64), path


@pytest.mark.parametrize(
    ("found", "said"),
    [
        (model("a b"), "cuts a model's name at spaces, '=' and '_config_'; found 'a b'"),
        (model("a=b"), "found 'a=b'"),
        (model("a\nb"), r"found 'a\\nb'"),
        (model("m_config_3"), "found 'm_config_3'"),
        (Model("m", "3", "", 8, label="m:3"), "cannot be told a version; found 'm:3'"),
    ],
)
def test_a_name_that_it_would_cut_is_refused(found, said):
    with pytest.raises(ClientError, match=said):
        model_analyzer.check_name(found)


def test_a_name_that_is_not_utf_8_is_refused(tmp_path):
    with pytest.raises(ClientError, match="takes names and paths in UTF-8") as raised:
        run(tmp_path, "exit 0", model(NAMES["not_utf8"]))
    assert str(raised.value).isprintable()


@pytest.mark.parametrize("key", sorted(set(NAMES) - {"not_utf8"}))
def test_its_options_hold_any_name_as_it_stands(key, tmp_path):
    yaml = pytest.importorskip("yaml")
    run(tmp_path, "exit 0", model(NAMES[key]))
    written = yaml.safe_load((tmp_path / "out/options.yaml").read_text())
    assert list(written["profile_models"]) == [NAMES[key]]


def program(tmp_path: Path, script: str) -> Path:
    path = tmp_path / "model-analyzer"
    path.write_text(f"#!/bin/bash\n{script}\n")
    path.chmod(0o755)
    return path


def run(tmp_path: Path, script: str, found: Model | None = None, limit: float = 30) -> list[str]:
    said: list[str] = []
    directory = tmp_path / "out"
    model_analyzer.run(program(tmp_path, script), Binary(("pa",)), options(found or model(), directory), directory,
                       limit, said.append)  # fmt: skip
    return said


HEADER = (
    "Model,Batch,Concurrency,Model Config Path,Instance Group,Max Batch Size,Satisfies Constraints,"
    "Throughput (infer/sec),p99 Latency (ms)"
)
CSV = f"{HEADER}\nm,1,2,m_config_default,1:CPU,256,Yes,90.5,7\nm,1,8,m_config_3,2:CPU,4,Yes,100.1,9\n"


def wrote(text: str) -> str:
    """What a shell does to leave this for a report."""
    return f"mkdir -p results; printf %s '{text}' > results/metrics-model-inference.csv"


def test_what_it_says_comes_as_it_comes_and_what_it_measured_is_read_the_best_first(tmp_path):
    assert run(tmp_path, f"echo '[Model Analyzer] Profiling m_config_0'; {wrote(CSV)}") == ["Profiling m_config_0"]
    rows = model_analyzer.measurements(tmp_path / "out", model())
    assert [row["Model Config Path"] for row in rows] == ["m_config_3", "m_config_default"]


@pytest.mark.parametrize(
    ("script", "said"),
    [
        ("echo 'model_analyzer.Error: no such flag'; exit 3", "exit code 3: model_analyzer.Error: no such flag"),
        ("exit 1", "exit code 1: it said nothing"),
        ("kill -9 $$", "exit code -9"),
        ("echo '[Model Analyzer] perf_analyzer failed'", "measured nothing: perf_analyzer failed"),
        (wrote("Other\n1\n"), "is not what Model Analyzer writes: KeyError"),
        (wrote(CSV.replace("90.5", "fast")), "is not what Model Analyzer writes: ValueError"),
    ],
)
def test_a_failure_is_one_line(tmp_path, script, said):
    def analyzed() -> None:
        run(tmp_path, script)
        model_analyzer.measurements(tmp_path / "out", model())

    with pytest.raises(ClientError) as raised:
        analyzed()
    assert said in str(raised.value)
    assert "\n" not in str(raised.value)


def test_what_an_earlier_run_left_is_not_taken_for_this_one_s(tmp_path):
    left = tmp_path / "out/results/metrics-model-inference.csv"
    left.parent.mkdir(parents=True)
    left.write_text(CSV)
    run(tmp_path, "exit 0")
    with pytest.raises(ClientError, match="measured nothing"):
        model_analyzer.measurements(tmp_path / "out", model())


def test_one_that_never_ends_is_stopped_with_what_it_started(tmp_path):
    pid = tmp_path / "pid"
    with pytest.raises(ClientError, match="did not end in time"):
        run(tmp_path, f"setsid sleep 300 & echo $! > {pid}; wait", limit=2)
    number = int(pid.read_text())
    for _ in range(100):
        if not psutil.pid_exists(number) or psutil.Process(number).status() == psutil.STATUS_ZOMBIE:
            return
        time.sleep(0.1)
    pytest.fail("the child that it started in a session of its own is still there")


def test_without_it_the_way_to_get_it_is_said(tmp_path):
    with pytest.raises(ClientError, match="Model Analyzer is not installed") as raised:
        model_analyzer.located(tmp_path)
    assert "make analyze installs it" in raised.value.hint


@pytest.fixture
def installed(monkeypatch, tmp_path):
    """A Model Analyzer that does nothing, for what is said before it is started."""
    binary = tmp_path / "environment/bin/model-analyzer"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/bash\nexit 7\n")
    binary.chmod(0o755)
    monkeypatch.setattr(model_analyzer.located, "__defaults__", (tmp_path / "environment",))


def analyze(url: str, tmp_path: Path, name: str = "classifier", *more: str) -> None:
    from client.commands.command_line import parser

    pretended = tmp_path / "perf_analyzer"
    pretended.touch(0o755)
    arguments = parser().parse_args(["analyze", f"--model={name}", f"--url={url}", f"--binary={pretended}",
                                     f"--output={tmp_path / 'analysis'}", *more])  # fmt: skip
    arguments.run(arguments)


@pytest.mark.usefixtures("installed")
@pytest.mark.parametrize(
    ("more", "said"),
    [
        (("--header=a:b",), "is not told headers and certificates"),
        (("--binary=/no/such",), "--binary /no/such is not an executable file"),
        (("--output=/proc/results",), "cannot write /proc/results/options.yaml"),
    ],
)
def test_bad_options_are_said_before_anything_is_loaded(tmp_path, more, said):
    with fake_triton(Behaviour()) as url, pytest.raises(ClientError, match=said):
        analyze(url, tmp_path, "classifier", *more)


@pytest.mark.usefixtures("installed")
def test_a_server_that_lets_nobody_load_models_is_one_line(tmp_path):
    polling = "explicit model load / unload is not allowed if polling is enabled"
    with fake_triton(Behaviour(load_error=polling)) as url, pytest.raises(ClientError) as raised:
        analyze(url, tmp_path)
    assert "takes no loads: it is in the model control mode NONE or POLL" in str(raised.value)
    assert "--model-control-mode=explicit" in raised.value.hint
    assert "make analyze without URL" in raised.value.hint


@pytest.mark.triton
@pytest.mark.usefixtures("installed")
def test_a_failed_analysis_leaves_the_model_served_as_before(tmp_path):
    models.add_classifier(tmp_path / "models")
    with start_server(tmp_path / "models") as server:
        with pytest.raises(ClientError, match="left with exit code 7"):
            analyze(server.grpc, tmp_path)
        control = Control(Endpoint(server.grpc))
        assert control.model("classifier").max_batch_size == 64
        control.close()


@pytest.mark.triton
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_with_what_it_started_and_the_model_is_served_as_before(tmp_path, number):
    models.add_classifier(tmp_path / "models")
    environment = tmp_path / "environment"
    (environment / "bin").mkdir(parents=True)
    pids = tmp_path / "pids"
    program(environment / "bin", f"setsid sleep 300 & echo $$ $! > {pids}.new; mv {pids}.new {pids}; wait")
    code = (
        "import sys; from pathlib import Path; from client.load import model_analyzer; from console import run\n"
        "from client.commands.command_line import parser\n"
        "model_analyzer.located.__defaults__ = (Path(sys.argv.pop(1)),)\n"
        "sys.exit(run(parser()))"
    )
    pretended = tmp_path / "perf_analyzer"
    pretended.touch(0o755)
    with start_server(tmp_path / "models") as server:
        client = subprocess.Popen(
            [sys.executable, "-c", code, environment, "analyze", "--model=classifier", f"--url={server.grpc}",
             f"--binary={pretended}", f"--output={tmp_path / 'analysis'}"],
            cwd=ROOT, stderr=subprocess.PIPE, text=True,
        )  # fmt: skip
        wait_for(pids.exists, 60)
        client.send_signal(number)
        _, said = client.communicate(timeout=60)
        assert client.returncode == 130, said
        assert said.splitlines()[-1] == "interrupted"
        control = Control(Endpoint(server.grpc))
        assert control.model("classifier").max_batch_size == 64
        control.close()
    for pid in map(int, pids.read_text().split()):
        wait_for(lambda pid=pid: not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE, 30)


@pytest.mark.triton
@pytest.mark.slow
def test_the_real_one_searches_and_the_model_is_served_as_before(tmp_path, run_client):
    if not os.access(model_analyzer.ENVIRONMENT / "bin/model-analyzer", os.X_OK):
        pytest.skip("Model Analyzer is not installed (`make analyze` installs it)")
    models.add_classifier(tmp_path / "models")
    with start_server(tmp_path / "models") as server:
        metrics = f"--metrics-url=http://{metrics_of(server)}/metrics"
        done = run_client("analyze", "--model=classifier", f"--url={server.grpc}", metrics, "--max-batch-size=2",
                          "--max-instances=1", "--max-concurrency=4", "--window=0.3")  # fmt: skip
        assert done.returncode == 0, done.stderr
        control = Control(Endpoint(server.grpc))
        served = control.model("classifier")
        control.close()
    assert served.max_batch_size == 64
    assert "most images a second: " in done.stderr
    assert "as it is built: " in done.stderr
    rows = model_analyzer.measurements(tmp_path / "results/analyze-classifier", served)
    assert {row["Max Batch Size"] for row in rows} >= {"1", "2", "64"}
    assert (
        json.loads((tmp_path / "results/analyze-classifier/options.yaml").read_text())["triton_launch_mode"] == "remote"
    )
    assert list((tmp_path / "results/analyze-classifier/reports").rglob("*.html"))


def metrics_of(server) -> str:
    """HOST:PORT of the metrics of a server that the tests started, as its launcher's ready file would say."""
    command = psutil.Process(server.server_pid).cmdline()
    values = dict(option.split("=", 1) for option in command if "=" in option)
    return f"{values['--metrics-address']}:{values['--metrics-port']}"
