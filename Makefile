# Every task of the project. `make` alone prints this list.
SHELL := bash
.SHELLFLAGS := -eu -o pipefail -c
.DEFAULT_GOAL := help
.DELETE_ON_ERROR:

URL_NAMED := $(filter-out undefined,$(origin URL))  # whether someone named a server
PYTHON ?= python3
# Before it has its default: some targets take all models unless one is named.
named_model := $(if $(value MODEL),--model="$$MODEL")
REPOSITORY ?= model_repository
MODEL ?= resnet18_onnx
RECIPE ?= best
URL ?= 127.0.0.1:8001
RESULTS ?= results
ROUNDS ?= 5
IMAGE ?= resnet18-repository

# Whatever these hold, quotes and $$( ) included, is taken as it stands, by make (value) and by the shell ("$$NAME").
GIVEN := REPOSITORY MODEL RECIPE URL RESULTS ROUNDS CHECKPOINT MODELS CIFAR10_DIR TRITON_RELEASE IMAGE BASE VERSION PYTHON SERVER_PYTHON
$(foreach name,$(GIVEN),$(if $(value $(name)),$(eval override $(name) := $$(value $(name)))))
ifndef SERVER_PYTHON
SERVER_PYTHON := $(PYTHON)
endif
export REPOSITORY MODEL RECIPE URL RESULTS ROUNDS CHECKPOINT MODELS IMAGE BASE VERSION PYTHON
# These have no default, and empty they would mean something else: part of the environment only where they were given.
$(foreach name,CIFAR10_DIR TRITON_RELEASE,$(if $(value $(name)),$(eval export $(name))))
export PYTHON_OF_SERVER := $(SERVER_PYTHON)
unexport SERVER_PYTHON  # the tests read that name, as a path

PY := .venv/bin/python
SERVER_PY := .venv-server/bin/python
built = --repository="$$REPOSITORY" $(if $(CHECKPOINT),--checkpoint="$$CHECKPOINT") $(if $(MODELS),--models="$$MODELS")
BUILD = $(PY) -m builder build $(built)
CLIENT := $(PY) -m client
measured = --model="$$MODEL" --repository="$$REPOSITORY" --output="$$RESULTS/$(1)-$$MODEL.json"
COMPOSE := docker compose --file docker/compose.yaml

##@ Start here
.PHONY: demo
demo: setup  ## Build the repository, serve it with the embedded Triton, measure it, stop. No GPU, no Docker.
	@$(PY) -m cifar10 --or-synthetic
	@$(BUILD)
	@$(SERVER_PY) -m server --repository="$$REPOSITORY" --http-port 0 --grpc-port 0 --metrics-port 0 -- \
	  $(CLIENT) compare --repository="$$REPOSITORY" --output="$$RESULTS"/report --fallback-synthetic --skip end-to-end --skip probe \
	    --check-duration 5 --batch-sizes 1,8,64 --concurrency 2 --duration 1 --run builder/network/checkpoints/best.history.json

# One instance of each of the four models fits a card of 8 GB; a roomy one gets two of each ONNX model. TensorRT's backend
# keeps three batches in flight by itself, so two of its instances would be slower than one.
override GPU_MODELS := resnet18_onnx resnet18_onnx_tf32 resnet18_onnx_fp16 resnet18_tensorrt_rtx
comma := ,
.PHONY: demo-gpu
demo-gpu: setup-gpu  ## The same on a GPU, with TensorRT beside ONNX Runtime: build, serve, compare, report. No Docker.
	@$(PY) -m cifar10 --or-synthetic
	@instances="$$($(SERVER_PY) -m server.memory --instances)"; \
	$(PY) -m builder build --repository="$$REPOSITORY" $(if $(CHECKPOINT),--checkpoint="$$CHECKPOINT") \
	  --models=$(subst $() ,$(comma),$(filter-out %_rtx,$(GPU_MODELS))) --instances="gpu_embedded=$$instances"
	@$(PY) -m builder build --repository="$$REPOSITORY" $(if $(CHECKPOINT),--checkpoint="$$CHECKPOINT") \
	  --models=$(filter %_rtx,$(GPU_MODELS))
	@$(SERVER_PY) -m server --repository="$$REPOSITORY" --repository="$${REPOSITORY%/}_rtx" --timeout 600 \
	  --load=$(firstword $(GPU_MODELS)) --http-port 0 --grpc-port 0 --metrics-port 0 -- \
	  bash -eu -c '$(SERVER_PY) -m server.memory $(GPU_MODELS); \
	    $(CLIENT) compare $(addprefix --model=,$(GPU_MODELS)) --repository="$$REPOSITORY" \
	      --rounds="$$ROUNDS" --fallback-synthetic --output="$$RESULTS"/demo-gpu'

.PHONY: help
help:  ## Print this list.
	@awk 'BEGIN {FS = ":.*## *"} /^##@/ {printf "\n%s\n", substr($$0, 5)} \
	  /^[a-z-]+:.*##/ {printf "  %-14s %s\n", $$1, $$2}' $(MAKEFILE_LIST)

##@ Set up
.PHONY: setup
setup: .venv/.ready .venv-server/.ready  ## Make both environments; a changed pin makes them again.

# torch comes first and alone: where pip is shown a CPU build, everything after it keeps that build.
.venv/.ready: requirements/main.txt requirements/dev.txt
	@$(call make-venv,PYTHON,.venv)
	@echo "installing the builder, the client and the tests (.venv; PyTorch is large)"
	@$(PY) -m pip install --quiet --disable-pip-version-check $$(grep '^torch==' requirements/main.txt)
	@$(PY) -m pip install --quiet --disable-pip-version-check -r requirements/main.txt -r requirements/dev.txt
	@touch $@

.venv-server/.ready: requirements/server.txt
	@$(call make-venv,PYTHON_OF_SERVER,.venv-server)
	@echo "installing the embedded Triton (.venv-server)"
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check -r requirements/server.txt
	@touch $@

.PHONY: setup-gpu
setup-gpu: setup .venv-server/.ready-gpu  ## Add what a GPU needs: ONNX Runtime with CUDA and cuDNN, TensorRT for RTX (driver R580 or newer).
	@for python in $(PY) $(SERVER_PY); do \
	  requirements="$$($(PY) -m console.tensorrt_rtx)"; \
	  echo "TensorRT for RTX of this GPU for $$python: $$requirements"; \
	  $$python -m pip install --quiet --disable-pip-version-check --no-deps $$requirements; \
	done

# The two packages share their files: what cannot be installed must be known before the other one is gone.
.venv-server/.ready-gpu: requirements/server-gpu.txt .venv-server/.ready
	@$(SERVER_PY) -c 'import sys; sys.exit(sys.version_info < (3, 11))' || { echo "error: ONNX Runtime for GPUs needs\
	 Python 3.11 or newer; name one: rm -r .venv-server; make SERVER_PYTHON=python3.12 setup-gpu" >&2; exit 1; }
	@echo "installing ONNX Runtime for GPUs (.venv-server; CUDA and cuDNN are large)"
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check --dry-run -r requirements/server-gpu.txt
	@$(SERVER_PY) -m pip uninstall --quiet --quiet --disable-pip-version-check --yes onnxruntime onnxruntime-gpu
	@$(SERVER_PY) -m pip install --quiet --disable-pip-version-check -r requirements/server-gpu.txt
	@touch $@

# $(1): the variable that names the interpreter, $(2): directory. Made anew, so that a half-made environment or another Python leaves nothing behind.
# Not through a link: it would empty the environment of whoever owns it.
define make-venv
	[ ! -L $(2) ] || { echo "error: $(2) is a link; remove it first" >&2; exit 1; }; \
	"$$$(1)" -c 'import sys; sys.exit(not (3, 10) <= sys.version_info[:2] <= (3, 13))' 2>/dev/null || \
	  { echo "error: '$$$(1)' is not a Python 3.10 to 3.13; name one: make PYTHON=python3.12 ..." >&2; exit 1; }; \
	"$$$(1)" -m venv --clear $(2) || \
	  { echo "error: '$$$(1)' cannot make a virtual environment; on Debian and Ubuntu: apt install python3-venv" >&2; exit 1; }
endef

# Apart from .venv, for it is large and pins what others need otherwise.
.cache/analyzer/.ready: requirements/analyzer.txt
	@mkdir -p .cache
	@$(call make-venv,PYTHON,.cache/analyzer)
	@echo "installing NVIDIA's Model Analyzer (.cache/analyzer)"
	@.cache/analyzer/bin/python -m pip install --quiet --disable-pip-version-check -r requirements/analyzer.txt
	@touch $@

##@ Build
.PHONY: train
train: .venv/.ready  ## Train RECIPE (best or baseline) into runs/RECIPE.
	@$(PY) -m builder train --recipe="$$RECIPE"

.PHONY: build-repo
build-repo: .venv/.ready  ## Export the checkpoint, verify it and publish it into the model repository.
	@$(BUILD)

# The repository must lie inside the project, which is what the container sees, at its own path.
export RELEASE = $(or $(TRITON_RELEASE),$(patsubst TRITON_RELEASE=%,%,$(filter TRITON_RELEASE=%,$(file < docker/.env))))
.PHONY: build-repo-docker
build-repo-docker:  ## The same and the TensorRT plan, inside the image that will serve it (Docker and a GPU).
	@command -v docker >/dev/null || \
	  { echo "error: Docker is not installed; 'make build-repo' builds the ONNX model without it" >&2; exit 1; }
	@timeout 20 docker info >/dev/null 2>&1 || \
	  { echo "error: Docker is installed but its engine does not answer; start it, or use 'make build-repo'" >&2; exit 1; }
	@case "$$PWD" in *:*) echo "error: Docker cannot mount '$$PWD': its path holds ':'; move the project" >&2; exit 1;; esac
	@case "$${CIFAR10_DIR-}" in *:*) echo "error: Docker cannot mount '$$CIFAR10_DIR': its path holds ':'; move the images" >&2; exit 1;; esac
	@docker build --file docker/builder.Dockerfile --build-arg "TRITON_RELEASE=$$RELEASE" --tag "resnet18-builder:$$RELEASE" .
	@docker run --rm --init $$([ -t 0 ] && echo --tty --interactive) --gpus all --user "$$(id -u):$$(id -g)" \
	  --volume "$$PWD:$$PWD" --workdir "$$PWD" \
	  $(if $(CIFAR10_DIR),--volume "$$(realpath -ms -- "$$CIFAR10_DIR"):$$(realpath -ms -- "$$CIFAR10_DIR"):ro" --env CIFAR10_DIR="$$(realpath -ms -- "$$CIFAR10_DIR")") \
	  "resnet18-builder:$$RELEASE" $(built)

.PHONY: versions
versions: .venv/.ready  ## List the repository's models and versions: which is served, how good, how old.
	@$(PY) -m builder versions --repository="$$REPOSITORY"

.PHONY: verify
verify: .venv/.ready  ## Whether what lies in the repository is what was published, and answers as it did.
	@$(PY) -m builder verify --repository="$$REPOSITORY"

.PHONY: rollback
rollback: .venv/.ready  ## Have MODEL's version before served again, or VERSION; then make reload.
	@$(PY) -m builder rollback --repository="$$REPOSITORY" $(if $(VERSION),--to="$$VERSION") -- "$$MODEL"

.PHONY: repository-image
repository-image:  ## Put the repository into an image, IMAGE, for deploy/kubernetes (Docker).
	@command -v docker >/dev/null || { echo "error: Docker is not installed; deploy/kubernetes can take a volume" >&2; exit 1; }
	@find "$$(realpath -ms -- "$$REPOSITORY")" -mindepth 2 -maxdepth 2 -name config.pbtxt 2>/dev/null | grep -q . || \
	  { echo "error: $$REPOSITORY holds no models; make build-repo fills it" >&2; exit 1; }
	@docker build --file docker/repository.Dockerfile $(if $(BASE),--build-arg BASE="$$BASE") --tag="$$IMAGE" "$$(realpath -ms -- "$$REPOSITORY")"

##@ Serve
# What both of Docker's targets need; each error is one line.
define need-compose
	command -v docker >/dev/null || \
	  { echo "error: Docker is not installed; 'make serve-local' serves the ONNX model without it" >&2; exit 1; }; \
	timeout 20 docker info >/dev/null 2>&1 || \
	  { echo "error: Docker is installed but its engine does not answer; start it, or use 'make serve-local'" >&2; exit 1; }; \
	docker compose version >/dev/null 2>&1 || \
	  { echo "error: Docker has no compose plugin; on Debian and Ubuntu: apt install docker-compose-plugin" >&2; exit 1; }
endef

.PHONY: serve
serve:  ## Serve the repository with NVIDIA's container (TRITON_RELEASE=YY.MM chooses another release).
	@$(need-compose)
	@$(COMPOSE) up

.PHONY: serve-docker
serve-docker:  ## Serve the ONNX model with the embedded Triton in a container: Docker, without a GPU and NVIDIA's image.
	@$(need-compose)
	@$(COMPOSE) --file docker/compose.cpu.yaml --file docker/compose.embedded.yaml up --build

.PHONY: serve-local
serve-local: .venv-server/.ready  ## Serve the repository with the embedded Triton in the foreground; Ctrl-C stops it.
	@beside=(); [ ! -d "$${REPOSITORY%/}_rtx" ] || beside=(--repository="$${REPOSITORY%/}_rtx"); \
	  exec $(SERVER_PY) -m server --repository="$$REPOSITORY" "$${beside[@]}"

.PHONY: reload
reload: .venv/.ready  ## Have the server load what was published: MODEL, or every model it has ready. The old version serves meanwhile.
	@$(CLIENT) reload --url="$$URL" $(named_model)

.PHONY: monitor
monitor:  ## Watch `make serve-local`: Prometheus with the alerts at http://127.0.0.1:9090; Ctrl-C stops it.
	@exec bash deploy/monitoring/monitor.sh

##@ Measure (a server must be up)
.PHONY: check
check: .venv/.ready  ## Whether every answer of MODEL belongs to its image, in every batch size, with many requests in flight.
	@$(CLIENT) check $(call measured,check) --url="$$URL"

.PHONY: accuracy
accuracy: .venv/.ready  ## Accuracy of MODEL on all CIFAR-10 test images.
	@$(CLIENT) accuracy $(call measured,accuracy) --url="$$URL"

.PHONY: latency
latency: .venv/.ready  ## Latency and throughput of MODEL at batch 1, 8 and 64.
	@$(CLIENT) latency $(call measured,latency) --url="$$URL" --batch-sizes 1,8,64

.PHONY: perf
perf: .venv/.ready .venv-server/.ready  ## Measure MODEL with Triton's perf_analyzer, and with the client beside it.
	@$(CLIENT) perf-analyzer $(call measured,perf-analyzer) --url="$$URL" --batch-sizes 1,8,64

# It loads the model anew for each configuration, so it gets a server of its own unless URL names one.
ANALYZE = $(CLIENT) analyze --model="$$MODEL" --output="$$RESULTS/analyze-$$MODEL"
.PHONY: analyze
analyze: setup .cache/analyzer/.ready  ## Which configuration of MODEL is best, by NVIDIA's Model Analyzer; minutes, no server needed.
ifneq ($(strip $(URL_NAMED)),)
	@$(ANALYZE) --url="$$URL"
else
	@beside=(); [ ! -d "$${REPOSITORY%/}_rtx" ] || beside=(--repository="$${REPOSITORY%/}_rtx"); \
	  exec $(SERVER_PY) -m server --repository="$$REPOSITORY" "$${beside[@]}" --load="$$MODEL" \
	    --http-port 0 --grpc-port 0 --metrics-port 0 -- $(ANALYZE)
endif

.PHONY: compare
compare: .venv/.ready  ## Every model the server has ready: check, accuracy, latency and wall time, side by side, and the report.
	@$(CLIENT) compare --repository="$$REPOSITORY" --url="$$URL" --output="$$RESULTS"/compare --rounds="$$ROUNDS"

.PHONY: report
report: .venv/.ready  ## Make the report again from the results of `make compare`: HTML, Markdown and CSV.
	@for name in probe check accuracy end-to-end latency; do \
	  file="$$RESULTS/compare/$$name.json"; [ ! -e "$$file" ] || set -- "$$@" "$$file"; done; \
	[ $$# -gt 0 ] || { echo "error: $$RESULTS/compare holds no results; make compare makes them" >&2; exit 1; }; \
	$(CLIENT) report "$$@" --output="$$RESULTS"/compare

##@ Develop
.PHONY: test
test: setup  ## Run the tests; those with the embedded Triton too.
	@$(PY) -m pytest

.PHONY: test-gpu
test-gpu: setup-gpu  ## Run the tests that need a GPU.
	@$(PY) -m pytest -m gpu

.PHONY: lint
lint: .venv/.ready  ## Check style and types.
	@$(PY) -m ruff check .
	@$(PY) -m ruff format --check .
	@$(PY) -m mypy

.PHONY: clean
clean:  ## Remove environments, caches, results and built models; data/ and runs/ stay.
	rm -rf .venv .venv-server .cache .pytest_cache .mypy_cache .ruff_cache -- "$$RESULTS"
	find model_repository -mindepth 1 -maxdepth 1 -type d -exec rm -rf {} +
	rm -rf model_repository_rtx
