"""Dashboard, rules and autoscaler's metric, run by a real Prometheus against the real server under load."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import threading
from contextlib import contextmanager

import numpy as np
import psutil
import pytest
import yaml

from client.connection import Connection, Endpoint
from console.nvidia import find_gpus
from tests.support import models
from tests.support.containers import free_ports
from tests.support.prometheus import MONITORING, Prometheus, require_prometheus, watch
from tests.support.triton import ROOT, start_server, wait_for

DASHBOARD = json.loads((MONITORING / "grafana/dashboards/triton.json").read_text())
RULES = yaml.safe_load((MONITORING / "rules.yml").read_text())["groups"][0]["rules"]
ADAPTER = yaml.safe_load((ROOT / "deploy/kubernetes/monitoring/prometheus-adapter.yaml").read_text())["rules"]["custom"]
BOUNDED = "dynamic_batching { default_queue_policy { timeout_action: REJECT default_timeout_microseconds: 50000 } }\n"


def filled_in(expression: str) -> str:
    """As Grafana sends it with every model and instance chosen."""
    return expression.replace("$__rate_interval", "30s").replace("$instance", ".*").replace("$model", ".*")


def panels() -> dict[str, str]:
    """Every expression of the dashboard, by its panel and letter, with the annotation's and variables'."""
    found = {
        f"{panel['title']} {target['refId']}": target["expr"]
        for panel in DASHBOARD["panels"]
        for target in panel.get("targets", [])
    }
    for variable in DASHBOARD["templating"]["list"]:
        if variable["type"] == "query":
            found[f"variable {variable['name']}"] = re.fullmatch(r"label_values\((.*), \w+\)", variable["definition"])[
                1
            ]
    found |= {f"annotation {entry['name']}": entry["expr"] for entry in DASHBOARD["annotations"]["list"]}
    return {name: filled_in(expression) for name, expression in found.items()}


PANELS = panels()
ON_A_GPU = {name: expression for name, expression in PANELS.items() if "nv_gpu_" in expression}
ELSEWHERE = {name: expression for name, expression in PANELS.items() if name not in ON_A_GPU}


def conditions() -> dict[str, str]:
    """The parts of the alerts that hold data whether they fire or not: every selection and rate in them."""
    return {
        f"{rule['alert']} {number}": part
        for rule in RULES
        for number, part in enumerate(_selections(rule["expr"]))
    }  # fmt: skip


def _selections(expression: str) -> list[str]:
    found = re.findall(r"((?:rate|last_over_time)\(\w+\{[^}]*\}\[\w+\]\)|\b\w+\{[^}]*\}(?!\[))", expression)
    return list(dict.fromkeys(found))


def autoscaler() -> dict[str, str]:
    (rule,) = ADAPTER
    query = rule["metricsQuery"].replace("<<.GroupBy>>", "pod")
    query = query.replace("<<.LabelMatchers>>", 'namespace="triton",pod=~"triton-0"')
    return {"autoscaler's metric": query, "autoscaler's series": rule["seriesQuery"]}


@pytest.fixture(scope="module")
def repository(tmp_path_factory):
    path = tmp_path_factory.mktemp("watched")
    models.add_classifier(path)
    models.add_doubler(path, "passing")
    models.add_sleeper(path, "slow", seconds=0.2)
    models.add_sleeper(path, "bounded", seconds=0.2, config=BOUNDED)
    return path


@contextmanager
def load(url: str, concurrency: dict[str, int]):
    """Keep so many requests in flight for each model, from the start to the end."""
    sending = threading.Lock()
    ended = False
    with Connection(Endpoint(url, timeout=30)) as connection:
        image = np.zeros((1, 32, 32, 3), np.uint8)

        def again(request):
            with sending:
                if not ended:
                    connection.send(request, lambda _: threading.Timer(0.01, again, [request]).start())

        for name, count in concurrency.items():
            for _ in range(count):
                again(connection.prepare(connection.control.model(name), image))
        try:
            yield
        finally:
            with sending:  # from here on nothing uses the connection, which is about to close
                ended = True


@pytest.fixture(scope="module")
def under_load(repository, tmp_path_factory):
    """A Prometheus that has watched the server under load for some seconds, and goes on."""
    require_prometheus()
    with (
        start_server(repository) as served,
        watch(served, tmp_path_factory.mktemp("prometheus")) as prometheus,
        load(served.grpc, {"classifier": 4, "slow": 8, "bounded": 8}),
    ):
        wait_for(lambda: prometheus.query(PANELS["Failures by reason A"] + " > 0") and prometheus.firing(), 60)
        yield served, prometheus


@pytest.mark.triton
@pytest.mark.slow
@pytest.mark.parametrize("expression", (every := ELSEWHERE | conditions() | autoscaler()).values(), ids=every)
def test_every_expression_has_data_under_load(under_load, expression):
    _, prometheus = under_load
    found = prometheus.query(expression)
    assert found
    assert any(sample["value"][1] != "NaN" for sample in found)


@pytest.mark.gpu
@pytest.mark.skipif(not find_gpus().gpus, reason="this machine has no NVIDIA GPU")
@pytest.mark.triton
@pytest.mark.parametrize("expression", ON_A_GPU.values(), ids=ON_A_GPU)
def test_every_expression_of_a_gpu_has_data_on_one(under_load, expression):
    assert under_load[1].query(expression)


@pytest.mark.triton
@pytest.mark.slow
def test_the_figures_are_the_load_s(under_load):
    _, prometheus = under_load

    def of(name: str) -> dict[str, float]:
        return {sample["metric"]["model"]: float(sample["value"][1]) for sample in prometheus.query(PANELS[name])}

    assert of("Mean batch A")["slow"] == 1  # it has no dynamic batching
    assert of("Queue against computation A")["slow"] > 2
    assert set(of("Failures by reason A")) >= {"bounded"}
    reasons = {sample["metric"]["reason"] for sample in prometheus.query(PANELS["Failures by reason A"] + " > 0")}
    assert reasons == {"REJECTED"}
    (waits,) = prometheus.query(autoscaler()["autoscaler's metric"])
    assert waits["metric"] == {"pod": "triton-0"}
    assert float(waits["value"][1]) > 0


@pytest.mark.triton
@pytest.mark.slow
def test_every_alert_fires_by_its_cause(under_load):
    """One after the other, on one server; the last two leave nothing of it."""
    served, prometheus = under_load
    fired: dict[str, set[str]] = {}

    def fires(alert: str, what: str) -> None:
        wait_for(lambda: what in prometheus.firing().get(alert, ()), 60)
        fired.setdefault(alert, set()).add(what)

    fires("TritonRequestsFailing", "bounded")  # what waits too long is refused
    fires("TritonQueueing", "slow")
    assert "classifier" not in prometheus.firing()["TritonRequestsFailing"] | prometheus.firing()["TritonQueueing"]
    assert not {"TritonDown", "TritonNotReady", "TritonModelGone"} & set(prometheus.firing())
    with Connection(Endpoint(served.grpc)) as connection:
        connection.control.call("unload_model", "passing")
    fires("TritonModelGone", "passing")
    assert prometheus.firing()["TritonModelGone"] == {"passing"}
    os.kill(served.server_pid, signal.SIGSTOP)
    (down,) = prometheus.query('up{job="triton"}')
    instance = down["metric"]["instance"]
    fires("TritonNotReady", instance)  # the two jobs name the server alike
    os.kill(served.server_pid, signal.SIGKILL)
    fires("TritonDown", instance)
    assert set(fired) == {rule["alert"] for rule in RULES}


COMMANDS = {
    "unit tests": ("test", "rules", "rules_test.yml"),
    "rules": ("check", "rules", "rules.yml"),
    "compose": ("check", "config", "prometheus.yml"),
    "local": ("check", "config", "prometheus.local.yml"),
}


@pytest.mark.parametrize("command", COMMANDS.values(), ids=COMMANDS)
def test_promtool_is_content(command):
    promtool = shutil.which("promtool")
    if promtool is None:
        pytest.skip("promtool is not installed (Debian: apt install prometheus)")
    done = subprocess.run([promtool, *command], cwd=MONITORING, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_monitor_ends_what_it_started_when_it_is_ended(tmp_path):
    require_prometheus()
    (port,) = free_ports(1)
    settings = os.environ | {"PORT": str(port), "DATA": str(tmp_path / "with space")}
    monitor = subprocess.Popen(["bash", str(MONITORING / "monitor.sh")], env=settings, stderr=subprocess.DEVNULL)
    try:
        wait_for(Prometheus(f"127.0.0.1:{port}").is_ready, 60)
        children = psutil.Process(monitor.pid).children()
        assert "prometheus" in {child.name() for child in children}
    finally:
        monitor.terminate()
        assert monitor.wait(30) == 143
    psutil.wait_procs(children, 30)
    assert not any(child.is_running() for child in children)


def test_monitor_without_prometheus_is_one_clear_line(tmp_path):
    for program in ("bash", "dirname"):
        (tmp_path / program).symlink_to(shutil.which(program))
    command = ["bash", str(MONITORING / "monitor.sh")]
    done = subprocess.run(command, env={"PATH": str(tmp_path)}, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: Prometheus is not installed; on Debian and Ubuntu: apt install prometheus prometheus-blackbox-exporter"
    ]


def test_every_alert_has_a_unit_test():
    tested = re.findall(r"alertname: (\w+)", (MONITORING / "rules_test.yml").read_text())
    assert set(tested) == {rule["alert"] for rule in RULES}


def test_both_configurations_ask_the_same_questions():
    local, compose = (
        yaml.safe_load((MONITORING / name).read_text()) for name in ("prometheus.local.yml", "prometheus.yml")
    )
    for content in (local, compose):
        for job in content["scrape_configs"]:
            del job["static_configs"]
            if "relabel_configs" in job:
                del job["relabel_configs"][-1]["replacement"]
    assert local == compose
