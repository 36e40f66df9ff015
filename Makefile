# Every task of the project. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

PYTHON ?= python3
SERVER_PYTHON ?= $(PYTHON)
REPOSITORY ?= model_repository
MODEL ?= resnet18_onnx
RECIPE ?= best
URL ?= 127.0.0.1:8001
RESULTS ?= results
ROUNDS ?= 5

PY := .venv/bin/python
SERVER_PY := .venv-server/bin/python
BUILD := $(PY) -m builder build --repository $(REPOSITORY) $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(if $(MODELS),--models $(MODELS))
CLIENT := $(PY) -m client
compared = --repository $(REPOSITORY) --url $(URL) --output $(RESULTS)/compare
measured = --model $(MODEL) --repository $(REPOSITORY) --output $(RESULTS)/$(1)-$(MODEL).json
COMPOSE := docker compose --file docker/compose.yaml

##@ Start here
.PHONY: demo
demo: setup  ## Build the repository, serve it with the embedded Triton, measure it, stop. No GPU, no Docker.
	@$(PY) -m cifar10 --or-synthetic
	@$(BUILD)
	@$(SERVER_PY) -m server --repository $(REPOSITORY) --http-port 0 --grpc-port 0 --metrics-port 0 -- \
	  bash -eu -c '$(CLIENT) accuracy $(call measured,accuracy) --fallback-synthetic --reference; \
	    $(CLIENT) latency $(call measured,latency) --batch-sizes 1,64 --duration 1.5'
	@$(CLIENT) report $(RESULTS)/accuracy-$(MODEL).json $(RESULTS)/latency-$(MODEL).json --run builder/checkpoints/best.history.json --output $(RESULTS)/report
	@$(PY) -m cifar10 --or-synthetic --no-download

.PHONY: help
help:  ## Print this list.
	@awk 'BEGIN {FS = ":.*## *"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up
.PHONY: setup
setup: .venv/.ready .venv-server/.ready  ## Make both environments; a changed pin makes them again.

# torch comes first and alone: where pip is shown a CPU build, everything after it keeps that build.
.venv/.ready: requirements/main.txt requirements/dev.txt
	@$(call make-venv,$(PYTHON),.venv)
	@echo "installing the builder, the client and the tests (.venv; PyTorch is large)"
	@$(PY) -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements/main.txt)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/main.txt -r requirements/dev.txt
	@touch $@

.venv-server/.ready: requirements/server.txt
	@$(call make-venv,$(SERVER_PYTHON),.venv-server)
	@echo "installing the embedded Triton (.venv-server)"
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check -r requirements/server.txt
	@touch $@

.PHONY: setup-gpu
setup-gpu: setup .venv-server/.ready-gpu  ## Give the embedded Triton ONNX Runtime for GPUs, with CUDA and cuDNN (driver R580 or newer).

# The two packages share their files: what cannot be installed must be known before the other one is gone.
.venv-server/.ready-gpu: requirements/server-gpu.txt .venv-server/.ready
	@$(SERVER_PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: ONNX Runtime for GPUs needs\
	 Python 3.11 or newer; name one: rm -r .venv-server; make SERVER_PYTHON=python3.12 setup-gpu" >&2; exit 1; }
	@echo "installing ONNX Runtime for GPUs (.venv-server; CUDA and cuDNN are large)"
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check --dry-run -r requirements/server-gpu.txt
	@$(SERVER_PY) -m pip uninstall --quiet --quiet --disable-pip-version-check --yes onnxruntime onnxruntime-gpu
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check -r requirements/server-gpu.txt
	@touch $@

# $(1): interpreter, $(2): directory. Made anew, so that a half-made environment or another Python leaves nothing behind.
# Not through a link: it would empty the environment of whoever owns it.
define make-venv
	[ ! -L $(2) ] || { echo "error: $(2) is a link; remove it first" >&2; exit 1; }; \
	"$(1)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
	  { echo "error: '$(1)' is not a Python 3.10 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	"$(1)" -m venv --clear $(2) || \
	  { echo "error: '$(1)' cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

##@ Build
.PHONY: train
train: .venv/.ready  ## Train RECIPE (best or baseline) into runs/RECIPE.
	@$(PY) -m builder train --recipe $(RECIPE)

.PHONY: build-repo
build-repo: .venv/.ready  ## Export the checkpoint, verify it and publish it into the model repository.
	@$(BUILD)

# $(REPOSITORY) must lie inside the project, which is what the container sees, at its own path.
RELEASE = $(or $(TRITON_RELEASE),$(patsubst TRITON_RELEASE=%,%,$(filter TRITON_RELEASE=%,$(file < docker/.env))))
.PHONY: build-repo-docker
build-repo-docker:  ## The same and the TensorRT plan, inside the image that will serve it (Docker and a GPU).
	@command -v docker >/dev/null || \
	  { echo "error: Docker is not installed; 'make build-repo' builds the ONNX model without it" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || \
	  { echo "error: Docker is installed but its engine does not answer; start it, or use 'make build-repo'" >&2; exit 1; }
	@docker build --file docker/builder.Dockerfile --build-arg TRITON_RELEASE=$(RELEASE) --tag resnet18-builder:$(RELEASE) .
	@docker run --rm --init $$([ -t 0 ] && echo --tty --interactive) --gpus all --user "$$(id -u):$$(id -g)" \
	  --volume "$(CURDIR):$(CURDIR)" --workdir "$(CURDIR)" \
	  $(if $(CIFAR10_DIR),--volume "$(abspath $(CIFAR10_DIR)):$(abspath $(CIFAR10_DIR)):ro" --env CIFAR10_DIR="$(abspath $(CIFAR10_DIR))") \
	  resnet18-builder:$(RELEASE) --repository $(REPOSITORY) $(if $(CHECKPOINT),--checkpoint $(CHECKPOINT)) $(if $(MODELS),--models $(MODELS))

##@ Serve
.PHONY: serve
serve:  ## Serve the repository with NVIDIA's container (TRITON_RELEASE=YY.MM chooses another release).
	@command -v docker >/dev/null || \
	  { echo "error: Docker is not installed; 'make serve-local' serves the ONNX model without it" >&2; exit 1; }
	@docker info >/dev/null 2>&1 || \
	  { echo "error: Docker is installed but its engine does not answer; start it, or use 'make serve-local'" >&2; exit 1; }
	@docker compose version >/dev/null 2>&1 || \
	  { echo "error: Docker has no compose plugin; on Debian and Ubuntu: apt install docker-compose-plugin" >&2; exit 1; }
	@$(COMPOSE) up

.PHONY: serve-local
serve-local: .venv-server/.ready  ## Serve the repository with the embedded Triton in the foreground; Ctrl-C stops it.
	@exec $(SERVER_PY) -m server --repository $(REPOSITORY)

##@ Measure (a server must be up)
.PHONY: accuracy
accuracy: .venv/.ready  ## Accuracy of MODEL on all CIFAR-10 test images.
	@$(CLIENT) accuracy $(call measured,accuracy) --url $(URL)

.PHONY: latency
latency: .venv/.ready  ## Latency and throughput of MODEL at batch 1, 8 and 64.
	@$(CLIENT) latency $(call measured,latency) --url $(URL) --batch-sizes 1,8,64

.PHONY: perf
perf: .venv/.ready .venv-server/.ready  ## Measure MODEL with Triton's perf_analyzer, and with the client beside it.
	@$(CLIENT) perf-analyzer $(call measured,perf-analyzer) --url $(URL) --batch-sizes 1,8,64

.PHONY: compare
compare: .venv/.ready  ## Every model the server has ready: accuracy, latency and wall time, side by side, and the report.
	@$(CLIENT) accuracy $(compared)/accuracy.json
	@$(CLIENT) end-to-end $(compared)/end-to-end.json --rounds $(ROUNDS)
	@$(CLIENT) latency $(compared)/latency.json --rounds $(ROUNDS) --batch-sizes 1,8,64 --concurrency 1,4
	@$(MAKE) --no-print-directory report

.PHONY: report
report: .venv/.ready  ## Make the report again from the results of `make compare`: HTML, Markdown and CSV.
	@$(CLIENT) report $(wildcard $(addprefix $(RESULTS)/compare/,accuracy.json end-to-end.json latency.json)) \
	  --output $(RESULTS)/compare

##@ Develop
.PHONY: test
test: setup  ## Run the tests; those with the embedded Triton too.
	@$(PY) -m pytest

.PHONY: test-gpu
test-gpu: setup  ## Run the tests that need a GPU.
	@$(PY) -m pytest -m gpu

.PHONY: lint
lint: .venv/.ready  ## Check style and types.
	@.venv/bin/ruff check .
	@.venv/bin/ruff format --check .
	@.venv/bin/mypy

.PHONY: clean
clean:  ## Remove environments, caches, results and built models; data/ and runs/ stay.
	rm -rf .venv .venv-server .cache .pytest_cache .mypy_cache .ruff_cache $(RESULTS)
	find model_repository -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
