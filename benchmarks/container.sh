#!/usr/bin/env bash
# NVIDIA's container on this machine's GPU, measured: both engines, side by side, and one file to send.
#
#   benchmarks/container.sh [OUTPUT.tar.gz]
#
# It needs Docker with NVIDIA's container toolkit, a GPU, and before it `make setup`, and
# `make build-repo-docker MODELS=resnet18_onnx_fp16,resnet18_tensorrt` (built inside the image that serves them). It takes some ten minutes.
#
#   REPOSITORY=DIR       the model repository (default: model_repository)
#   TRITON_RELEASE=YY.MM another release than docker/.env's
#   MODELS=A,B           other models than resnet18_onnx_fp16,resnet18_tensorrt
#   PLACES=A,B           configurations to compare (default: gpu_container, and the plain config.pbtxt as "plain")
#   ROUNDS=N DURATION=S  of the client's windows (default: 5 of 2 s)
#   CIFAR10_DIR=DIR      the test images, for accuracy (default: where the client finds them, else synthetic ones)
#
# Whatever happens, no container is left running; results so far are packed even when a step fails.
set -fuo pipefail  # names are split at commas, never taken for patterns

cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
readonly REPOSITORY=${REPOSITORY:-model_repository} MODELS=${MODELS:-resnet18_onnx_fp16,resnet18_tensorrt}
readonly PLACES=${PLACES:-gpu_container,plain} ROUNDS=${ROUNDS:-5} DURATION=${DURATION:-2}
readonly PYTHON=${PYTHON:-.venv/bin/python} READY_SECONDS=${READY_SECONDS:-300}
readonly NAME=triton-measured-$$
output=${1:-container-results-$(date -u +%Y%m%d-%H%M%S).tar.gz}

fail() {
  echo "error: $1" >&2
  [ -z "${2:-}" ] || echo "hint: $2" >&2
  exit 1
}

stop_container() { docker rm --force "$NAME" >/dev/null 2>&1 || true; }

release() {
  local file
  file=$(sed -n 's/^TRITON_RELEASE=//p' docker/.env)
  echo "${TRITON_RELEASE:-$file}"
}

check_machine() {
  command -v docker >/dev/null || fail "Docker is not installed" "docs.docker.com/engine/install"
  command -v curl >/dev/null || fail "curl is not installed" "apt install curl"
  timeout 20 docker info >/dev/null 2>&1 || fail "Docker's engine does not answer" "start it: sudo systemctl start docker"
  command -v nvidia-smi >/dev/null || fail "there is no nvidia-smi: no GPU, or no driver" "the driver comes first"
  timeout 60 nvidia-smi >/dev/null 2>&1 || fail "nvidia-smi finds no GPU that works" "run it by hand: it says why"
  [ -x "$PYTHON" ] || fail "$PYTHON is missing" "make setup"
  local model
  case "$(realpath -ms -- "$REPOSITORY")" in *:*) fail "Docker cannot mount '$REPOSITORY': its path holds ':'" "move it" ;; esac
  case "$MODELS,$PLACES" in */*) fail "MODELS and PLACES are names; found '$MODELS' and '$PLACES'" "without a path" ;; esac
  for model in ${MODELS//,/ }; do
    [ -f "$REPOSITORY/$model/config.pbtxt" ] ||
      fail "$REPOSITORY holds no $model" "make build-repo-docker MODELS=$MODELS"
  done
  docker image inspect "$IMAGE" >/dev/null 2>&1 || docker pull "$IMAGE" ||
    fail "there is no image $IMAGE here, and it cannot be pulled" "another release: TRITON_RELEASE=YY.MM"
  timeout 300 docker run --rm --gpus all --entrypoint nvidia-smi "$IMAGE" >"$work/nvidia-smi.txt" 2>"$work/toolkit.log" ||
    fail "a container gets no GPU: $(tail -1 "$work/toolkit.log")" \
      "install NVIDIA's container toolkit: docs.nvidia.com/datacenter/cloud-native/container-toolkit"
}

# A free port of this machine, three times: the standard ones may be taken.
free_ports() {
  "$PYTHON" - <<'PYTHON'
import socket
sockets = [socket.socket() for _ in range(3)]
for each in sockets:
    each.bind(("127.0.0.1", 0))
print(*(each.getsockname()[1] for each in sockets))
PYTHON
}

# $1: the name of the configuration, "plain" for none.
start_container() {
  local options=() loads=() model
  [ "$1" = plain ] || options=("--model-config-name=$1")
  for model in ${MODELS//,/ }; do loads+=("--load-model=$model"); done
  read -r http grpc metrics < <(free_ports)
  docker run --detach --name "$NAME" --gpus all --shm-size=1g --ulimit memlock=-1 --ulimit stack=67108864 \
    --network=host --volume "$(realpath "$REPOSITORY"):/models:ro" "$IMAGE" \
    tritonserver --model-repository=/models --disable-auto-complete-config --model-control-mode=explicit \
    --http-address=127.0.0.1 --grpc-address=127.0.0.1 --metrics-address=127.0.0.1 \
    "--http-port=$http" "--grpc-port=$grpc" "--metrics-port=$metrics" "${loads[@]}" "${options[@]}" \
    >/dev/null 2>"$work/$1/docker.log" || return 1
  local deadline=$((SECONDS + READY_SECONDS))
  until curl --fail --silent --max-time 2 --noproxy '*' "http://127.0.0.1:$http/v2/health/ready" >/dev/null; do
    [ "$(docker inspect --format '{{.State.Running}}' "$NAME" 2>/dev/null)" = true ] || return 1
    [ "$SECONDS" -lt "$deadline" ] || return 1
    sleep 1
  done
}

# $1: directory; $2: what it is called; the rest: the client's arguments. A step that fails does not end the others.
step() {
  local directory=$1 what=$2
  shift 2
  echo "  $what"
  "$PYTHON" -m client "$1" --help >/dev/null 2>&1 || { echo "  this checkout's client has no command $1"; return; }
  timeout --kill-after=10 1200 "$PYTHON" -m client "$@" >"$directory/$what.log" 2>&1
  local code=$?
  [ "$code" -eq 0 ] || echo "  $what left with exit code $code: $(tail -1 "$directory/$what.log")"
  echo "$what $code" >>"$directory/exit-codes.txt"
  [ "$code" -ne 130 ] || exit 130
}

# $1: the configuration's name.
measure() {
  local directory=$work/$1 model models=()
  mkdir -p "$directory"
  echo "configuration $1: starting $IMAGE"
  if ! start_container "$1"; then
    docker logs "$NAME" >"$directory/triton.log" 2>&1
    echo "  the server did not become ready: $(grep -m1 -h -E '^E|error' "$directory/triton.log" "$directory/docker.log")"
    echo "server 1" >>"$directory/exit-codes.txt"
    stop_container
    return 1
  fi
  for model in ${MODELS//,/ }; do models+=(--model "$model"); done
  local common=("${models[@]}" --url "127.0.0.1:$grpc" --repository "$REPOSITORY")
  for model in ${MODELS//,/ }; do
    curl --silent --max-time 10 --noproxy '*' "http://127.0.0.1:$http/v2/models/$model/config" \
      >"$directory/config-$model.json"
  done
  step "$directory" check check "${common[@]}" --output "$directory/check.json"
  step "$directory" probe probe "${common[@]}" --output "$directory/probe.json"
  step "$directory" accuracy accuracy "${common[@]}" --reference --fallback-synthetic --output "$directory/accuracy.json"
  step "$directory" latency-small latency "${common[@]}" --rounds "$ROUNDS" --duration "$DURATION" \
    --batch-sizes 1,8 --concurrency 1,8 --workers 2 --output "$directory/latency-small.json"
  step "$directory" latency-large latency "${common[@]}" --rounds "$ROUNDS" --duration "$DURATION" \
    --batch-sizes 64,256 --concurrency 4,8 --workers 2 --output "$directory/latency-large.json"
  step "$directory" end-to-end end-to-end "${common[@]}" --rounds "$ROUNDS" --output "$directory/end-to-end.json"
  local analyze=(perf-analyzer "${common[@]}" --rounds "$ROUNDS" --duration "$DURATION")
  step "$directory" perf-analyzer-small "${analyze[@]}" --batch-sizes 1,8 --concurrency 1,8 \
    --output "$directory/perf-analyzer-small.json"
  step "$directory" perf-analyzer-large "${analyze[@]}" --batch-sizes 64,256 --concurrency 4,8 \
    --output "$directory/perf-analyzer-large.json"
  curl --silent --max-time 10 --noproxy '*' "http://127.0.0.1:$metrics/metrics" >"$directory/metrics.txt"
  docker logs "$NAME" >"$directory/triton.log" 2>&1
  local found=()
  mapfile -t found < <(find "$directory" -maxdepth 1 \( -name check.json -o -name accuracy.json -o -name end-to-end.json \
    -o -name latency-large.json -o -name probe.json \))
  [ "${#found[@]}" -eq 0 ] || step "$directory" report report "${found[@]}" --output "$directory/report"
  stop_container
}

versions() {
  echo "date: $(date -u +%Y-%m-%dT%H:%M:%SZ)"
  echo "image: $IMAGE"
  docker image inspect --format 'digests: {{join .RepoDigests " "}}' "$IMAGE"
  echo "docker: $(docker --version)"
  echo "revision: $(git rev-parse HEAD 2>/dev/null || echo unknown)"
  uname -a
  nvidia-smi --query-gpu=name,driver_version,clocks.max.sm,power.limit,memory.total --format=csv
  docker run --rm --entrypoint bash "$IMAGE" -c "dpkg-query --show 'libnvinfer*' 'libcudnn*' 2>/dev/null; true"
}

packed=
# The trap below calls it.
# shellcheck disable=SC2317,SC2329
finish() {
  local code=$?
  trap - EXIT INT TERM HUP
  stop_container
  if [ -n "$packed" ]; then
    tar --create --gzip --file "$output.part" --directory "$work" . && mv "$output.part" "$output" &&
      echo "wrote $output: please send this file"
  fi
  rm -rf "$work"
  exit "$code"
}

work=$(mktemp -d) || fail "no directory for temporary files"
trap finish EXIT
trap 'exit 130' INT TERM HUP
IMAGE=nvcr.io/nvidia/tritonserver:$(release)-py3
readonly IMAGE

touch "$output.part" 2>/dev/null || fail "cannot write $output"
rm -f "$output.part"
check_machine
packed=yes
versions >"$work/versions.txt" 2>&1
"$PYTHON" -m pip freeze >"$work/packages.txt" 2>/dev/null
bad=0
for place in ${PLACES//,/ }; do
  mkdir -p "$work/$place"
  measure "$place" || bad=1
done
if grep -r -s -h -v --include=exit-codes.txt ' 0$' "$work"; then bad=1; fi
[ "$bad" -eq 0 ] || echo "some steps failed; the file holds what was measured, and their logs" >&2
exit "$bad"
