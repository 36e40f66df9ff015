#!/usr/bin/env bash
# Inside the builder image: build for the TensorRT that the image holds, and fail rather than leave the plan out.
set -euo pipefail
exec python -m builder build --require-tensorrt --serving-tensorrt "$(</opt/builder/tensorrt-version)" "$@"
