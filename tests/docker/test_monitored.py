"""compose.monitoring.yaml on a real engine: Prometheus and the exporter see Triton. Grafana's image is not had here."""

from __future__ import annotations

import shutil
import subprocess

import pytest

from tests.support.containers import docker, free_ports, up
from tests.support.prometheus import Prometheus, require_prometheus
from tests.support.triton import wait_for

pytestmark = [pytest.mark.triton, pytest.mark.slow]

# As the projects' own images are: the program is the entry point, and an ordinary user's directory takes the data.
DOCKERFILE = """
FROM resnet18-embedded
USER root
COPY {program} /bin/{program}
RUN mkdir /prometheus && chown 65534:65534 /prometheus
USER 65534:65534
ENTRYPOINT ["/bin/{program}"]
"""


@pytest.fixture(scope="module")
def images(image, tmp_path_factory):
    """Compose's variables that name images with this machine's Prometheus and exporter."""
    names = {}
    for variable, program in zip(("PROMETHEUS_IMAGE", "BLACKBOX_IMAGE"), require_prometheus(), strict=True):
        context = tmp_path_factory.mktemp("image")
        shutil.copy(program, context)
        name = program.rpartition("/")[2]
        (context / "Dockerfile").write_text(DOCKERFILE.format(program=name))
        docker("build", "--tag", f"test-{name}", str(context))
        names[variable] = f"test-{name}"
    yield names
    subprocess.run(["docker", "rmi", *names.values()], capture_output=True, check=False)


def test_prometheus_reads_the_metrics_and_the_readiness_of_triton(images, repository):
    (port,) = free_ports(1)
    services = ("triton", "prometheus", "blackbox")
    with up(repository, "compose.monitoring.yaml", services=services, PROMETHEUS_PORT=str(port), **images) as project:
        prometheus = Prometheus(f"127.0.0.1:{port}")
        wait_for(prometheus.is_ready, 60)
        wait_for(lambda: values(prometheus, 'probe_success{job="triton-ready"}') == {"triton:8002": "1"}, 60)
        wait_for(lambda: values(prometheus, 'up{job="triton"}') == {"triton:8002": "1"}, 60)
        assert prometheus.query('nv_inference_count{job="triton", model="resnet18_onnx"}')
        assert len(prometheus.query("ALERTS")) == 0
        for service in ("prometheus", "blackbox"):
            host = project.inspect(service)["HostConfig"]
            assert host["ReadonlyRootfs"] is True
            assert host["CapDrop"] == ["ALL"]
            assert {entry["HostIp"] for ports in (host["PortBindings"] or {}).values() for entry in ports} <= {
                "127.0.0.1"
            }
        project.compose("stop", "triton")
        wait_for(lambda: values(prometheus, 'probe_success{job="triton-ready"}') == {"triton:8002": "0"}, 60)


def values(prometheus: Prometheus, expression: str) -> dict[str, str]:
    return {sample["metric"]["instance"]: sample["value"][1] for sample in prometheus.query(expression)}
