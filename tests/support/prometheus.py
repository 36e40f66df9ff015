"""A real Prometheus, and the exporter that probes readiness, beside a running Triton."""

from __future__ import annotations

import json
import shutil
import subprocess
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
import yaml

from tests.support.containers import free_ports
from tests.support.triton import ROOT, Served, wait_for

MONITORING = ROOT / "deploy" / "monitoring"
EXPORTERS = ("prometheus-blackbox-exporter", "blackbox_exporter")  # Debian's name, and the project's own
_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class Prometheus:
    """Questions to a Prometheus.

    Args:
        address: HOST:PORT.
    """

    def __init__(self, address: str) -> None:
        self._address = address

    def query(self, expression: str) -> list[dict]:
        """The samples that an expression returns now."""
        answer = self._get("/api/v1/query", query=expression)
        return answer["data"]["result"]

    def firing(self) -> dict[str, set[str]]:
        """Alert's name -> the models, or instances where there is no model, for which it fires."""
        found: dict[str, set[str]] = {}
        for alert in self._get("/api/v1/alerts")["data"]["alerts"]:
            if alert["state"] == "firing":
                labels = alert["labels"]
                found.setdefault(labels["alertname"], set()).add(labels.get("model", labels["instance"]))
        return found

    def is_ready(self) -> bool:
        """Whether it answers."""
        try:
            with _direct.open(f"http://{self._address}/-/ready", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    def _get(self, path: str, **parameters: str) -> dict:
        url = f"http://{self._address}{path}?{urllib.parse.urlencode(parameters)}"
        try:
            with _direct.open(url, timeout=10) as answer:
                return json.load(answer)
        except urllib.error.HTTPError as error:
            pytest.fail(f"{parameters}: {error.read().decode()}")


def require_prometheus() -> tuple[str, str]:
    """The programs' paths; skips, with the reason, where one is missing."""
    prometheus = shutil.which("prometheus")
    if prometheus is None:
        pytest.skip("prometheus is not installed (Debian: apt install prometheus)")
    exporter = next(filter(None, map(shutil.which, EXPORTERS)), None)
    if exporter is None:
        pytest.skip("blackbox_exporter is not installed (Debian: apt install prometheus-blackbox-exporter)")
    return prometheus, exporter


@contextmanager
def watch(served: Served, directory: Path) -> Iterator[Prometheus]:
    """Start both for a server, with the committed configuration and rules; only times are shorter.

    The server's labels are those that a Kubernetes pod's metrics have, for the autoscaler's rule.
    """
    prometheus, exporter = require_prometheus()
    own, probing = free_ports(2)
    _write_configuration(served, directory, probing)
    started = [
        subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=(directory / name).open("wb"))
        for name, command in {
            "exporter.log": [
                exporter,
                f"--config.file={MONITORING}/blackbox.yml",
                f"--web.listen-address=127.0.0.1:{probing}",
            ],
            "prometheus.log": [
                prometheus,
                f"--config.file={directory}/prometheus.yml",
                f"--storage.tsdb.path={directory}/data",
                f"--web.listen-address=127.0.0.1:{own}",
            ],
        }.items()
    ]
    try:
        answers = Prometheus(f"127.0.0.1:{own}")
        wait_for(lambda: answers.is_ready() or any(process.poll() is not None for process in started), 60)
        assert answers.is_ready(), (directory / "prometheus.log").read_text()[-2000:]
        yield answers
    finally:
        for process in started:
            process.terminate()
        for process in started:
            process.wait(30)


def _write_configuration(served: Served, directory: Path, probing: int) -> None:
    content = yaml.safe_load((MONITORING / "prometheus.local.yml").read_text())
    content["global"] = {"scrape_interval": "1s", "scrape_timeout": "1s", "evaluation_interval": "1s"}
    triton, ready = content["scrape_configs"]
    labels = {"namespace": "triton", "pod": "triton-0"}
    triton["static_configs"] = [{"targets": [metrics_address(served)], "labels": labels}]
    ready["static_configs"] = [{"targets": [f"http://{served.http}/v2/health/ready"]}]
    _, instance, exporter = ready["relabel_configs"]
    instance["replacement"] = metrics_address(served)  # its port is not 8002 here
    exporter["replacement"] = f"127.0.0.1:{probing}"
    (directory / "prometheus.yml").write_text(yaml.safe_dump(content))
    rules = yaml.safe_load((MONITORING / "rules.yml").read_text())
    for rule in rules["groups"][0]["rules"]:
        rule["for"] = "2s"
    (directory / "rules.yml").write_text(yaml.safe_dump(rules))


def metrics_address(served: Served) -> str:
    """HOST:PORT of a server's metrics."""
    command = psutil.Process(served.server_pid).cmdline()
    port = next(word.partition("=")[2] for word in command if word.startswith("--metrics-port="))
    return f"127.0.0.1:{port}"
