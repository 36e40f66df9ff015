# What builds the TensorRT plan: the very image that serves it, with the builder's packages beside.
# `make build-repo-docker` builds this image and runs it; the project itself is mounted, not copied.
ARG TRITON_RELEASE
FROM nvcr.io/nvidia/tritonserver:${TRITON_RELEASE}-py3
USER root
SHELL ["/bin/bash", "-euo", "pipefail", "-c"]

# An environment of its own keeps pip off the image's packages. Debian splits ensurepip off, so the image's pip fills it.
COPY requirements/main.txt /opt/builder/
RUN python3 -m venv --without-pip /opt/builder \
 && python3 -m pip --python /opt/builder/bin/python install --no-cache-dir --requirement /opt/builder/main.txt

# Only TensorRT's Python bindings come from outside, at the version that the image's own library says it has; they run on
# that library. So a plan is built by the code that will load it. Two versions end this build here.
COPY docker/tensorrt_of_image.py /opt/builder/
RUN python3 /opt/builder/tensorrt_of_image.py >/opt/builder/tensorrt-version \
 && version="$(</opt/builder/tensorrt-version)" \
 && python3 -m pip --python /opt/builder/bin/python install --no-cache-dir "tensorrt-cu${CUDA_VERSION%%.*}-bindings==${version}.*" \
 && bindings="$(/opt/builder/bin/python -c 'import tensorrt_bindings; print(tensorrt_bindings.__version__)')" \
 && { [[ "$bindings" == "$version".* ]] || { echo "error: bindings $bindings, libnvinfer $version" >&2; exit 1; }; }

COPY --chmod=755 docker/builder-entrypoint.sh /opt/builder/entrypoint.sh
ENV PATH=/opt/builder/bin:$PATH HOME=/tmp
ENTRYPOINT ["/opt/builder/entrypoint.sh"]
