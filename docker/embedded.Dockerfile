# The embedded Triton (release 24.10) with this project's ONNX backend, where NVIDIA's 9 GB image is too much: CI systems
# and laptops without a GPU. It takes the same flags, has the same folders and serves the same repository.
# Release 24.10 has known vulnerabilities: publish its ports on 127.0.0.1 only. `make serve-docker` does.
ARG BASE=python:3.12-slim
FROM ${BASE}
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# The health check's. A base that brings it needs no network here.
RUN command -v curl >/dev/null \
 || { apt-get update && apt-get install --yes --no-install-recommends curl && rm -r /var/lib/apt/lists/*; }

# pip reads these from its environment: where to find wheels, for machines that do not reach PyPI.
ARG PIP_NO_INDEX PIP_FIND_LINKS PIP_INDEX_URL PIP_EXTRA_INDEX_URL
RUN --mount=type=bind,source=.,target=/context cd /context \
 && python3 -m venv /opt/tritonserver/python \
 && /opt/tritonserver/python/bin/pip install --no-cache-dir --disable-pip-version-check --requirement requirements/server.txt

RUN --mount=type=bind,source=.,target=/context cd /context \
 && PYTHONDONTWRITEBYTECODE=1 PYTHONPATH=/context /opt/tritonserver/python/bin/python docker/embedded/lay_out.py /opt/tritonserver

RUN groupadd --gid 1000 triton-server && useradd --uid 1000 --gid 1000 --no-create-home triton-server
ENV PATH=/opt/tritonserver/bin:$PATH
USER 1000:1000
EXPOSE 8000 8001 8002
CMD ["tritonserver", "--model-repository=/models", "--disable-auto-complete-config"]
