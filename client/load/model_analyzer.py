"""NVIDIA's Model Analyzer, by subprocess: told what to search, watched to its end, its measurements read back.

It loads one configuration after the other into a server in explicit model control (its "remote" mode), and has
perf_analyzer measure each. Nothing here comes near a shell: its options go into a file, as JSON, which YAML contains.
"""

from __future__ import annotations

import csv
import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from client.connection import Endpoint, Model
from client.connection.explain import one_line
from client.connection.versions import load_hint
from client.errors import ClientError
from client.load.perf_analyzer import Binary

ENVIRONMENT = Path(__file__).parents[2] / ".cache/analyzer"
"""Made by `make analyze`, from requirements/analyzer.txt."""

STABILITY = 20
"""In %: how far the three windows that count may lie apart. Its own 10 % is more than a shared machine keeps to."""

MEASUREMENT_LIMIT = 300
"""Seconds after which one run of perf_analyzer is given up, and the search goes on without it."""

_GRACE = 10
_PREFIX = "[Model Analyzer] "
_CUT = re.compile(r"[\s=]")
"""Where Model Analyzer cuts perf_analyzer's options into words, and with them a name."""

_VARIANT = "_config_"
"""What it puts between a model's name and a number, and looks for to find the name again."""


@dataclass(frozen=True)
class Search:
    """What is tried.

    Attributes:
        max_batch_size: largest `max_batch_size`; powers of two up to it are tried.
        max_instances: most instances.
        max_concurrency: most requests in flight, the configuration as it is built aside: that one gets two for each
            image of its largest batch.
        window: seconds of a window of perf_analyzer's.
        sweep: whether the best configurations are then measured at every concurrency, for the report's curves.
    """

    max_batch_size: int
    max_instances: int
    max_concurrency: int
    window: float
    sweep: bool


def located(environment: Path = ENVIRONMENT) -> Path:
    """The `model-analyzer` program.

    Raises:
        ClientError: it is not installed.
    """
    program = environment / "bin/model-analyzer"
    if not os.access(program, os.X_OK):
        raise ClientError(
            f"Model Analyzer is not installed: {program} is not there",
            "make analyze installs it (requirements/analyzer.txt)",
        )
    return program


def check_name(model: Model) -> None:
    """See that Model Analyzer can hand the name on.

    Raises:
        ClientError: it would cut it into pieces, or the model is one version of several.
    """
    if model.label != model.name:
        raise ClientError(
            f"Model Analyzer cannot be told a version; found {model.label!r}", f"--model {model.name}: its newest"
        )
    if _CUT.search(model.name) or _VARIANT in model.name:
        raise ClientError(
            f"Model Analyzer cuts a model's name at spaces, '=' and '{_VARIANT}'; found {model.name!r}",
            "serve it under another name",
        )


def batch_sizes(model: Model, most: int) -> tuple[int, int]:
    """The smallest and the largest `max_batch_size` to try: below a warm-up's batch size Triton loads no model."""
    warm_up = max(model.configuration.get("warm_up", ()), default=1)
    least = 1 << max(warm_up - 1, 0).bit_length()
    return least, max(least, 1 << max(most.bit_length() - 1, 0))


def configuration(
    model: Model, endpoint: Endpoint, metrics_url: str, binary: Binary, search: Search, directory: Path
) -> dict[str, Any]:
    """What Model Analyzer reads; all its files go into `directory`."""
    least, most = batch_sizes(model, search.max_batch_size)
    return {
        "profile_models": {model.name: {"cpu_only": "GPU" not in model.configuration.get("instances", {})}},
        "triton_launch_mode": "remote",
        "client_protocol": "grpc",
        "triton_grpc_endpoint": endpoint.url,
        "triton_metrics_url": metrics_url,
        "dcgm_disable": True,  # which it asks on its own machine; the server's is another's business
        "run_config_search_mode": "quick",
        "run_config_search_min_model_batch_size": least,
        "run_config_search_max_model_batch_size": most,
        "run_config_search_max_instance_count": search.max_instances,
        "run_config_search_max_concurrency": search.max_concurrency,
        "concurrency_sweep_disable": not search.sweep,
        "perf_analyzer_path": binary.command[0],
        "perf_analyzer_timeout": MEASUREMENT_LIMIT,
        "perf_analyzer_cpu_util": 100.0 * (os.cpu_count() or 1),  # it kills one that uses more
        "perf_analyzer_flags": {
            "measurement-mode": "time_windows",
            "measurement-interval": round(1000 * search.window),
            "stability-percentage": STABILITY,
        },
        "output_model_repository_path": str(directory / "configurations"),
        "override_output_model_repository": True,
        "export_path": str(directory),
        "checkpoint_directory": str(directory / "checkpoints"),
    }


def run(program: Path, binary: Binary, options: dict[str, Any], directory: Path, limit: float,
        say: Callable[[str], None]) -> None:  # fmt: skip
    """Run it to its end.

    Args:
        program: `located`'s.
        binary: perf_analyzer.
        options: `configuration`'s.
        directory: for its files; what an earlier run left there is removed.
        limit: seconds after which it is stopped.
        say: takes each line that it says, as it comes.

    Raises:
        ClientError: it failed, or did not end in time.
    """
    for name in ("configurations", "checkpoints", "results", "reports", "plots"):
        shutil.rmtree(directory / name, ignore_errors=True)  # a checkpoint of another server would be taken for ours
    for name in ("checkpoints", "reports"):
        (directory / name).mkdir(parents=True)
    try:
        # no escapes: YAML has no surrogate pairs, by which JSON writes what lies beyond 16 bits
        (directory / "options.yaml").write_text(json.dumps(options, indent=2, ensure_ascii=False) + "\n", "utf-8")
    except UnicodeEncodeError as error:
        near = error.object[max(error.start - 20, 0) : error.end + 20]
        raise ClientError(
            f"Model Analyzer takes names and paths in UTF-8; found {near!r}", "name another model, or --output DIR"
        ) from None
    environment = dict(os.environ)
    paths = [*map(str, binary.libraries), environment.get("LD_LIBRARY_PATH", "")]
    environment["LD_LIBRARY_PATH"] = ":".join(path for path in paths if path)
    log = directory / "model-analyzer.log"
    with log.open("w") as output:
        process = subprocess.Popen(  # noqa: S603  an argument list, no shell
            [program, "profile", "--config-file", "options.yaml"],
            cwd=directory,
            env=environment,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
        try:
            _watch(process, log, time.monotonic() + limit, say)
        except BaseException:
            _stop(process)
            raise
    if process.returncode:
        words = _last_words(log)
        hint = "; ".join(filter(None, (load_hint(words), f"all it said: {log}")))
        raise ClientError(f"Model Analyzer left with exit code {process.returncode}: {words}", hint)


def measurements(directory: Path, model: Model) -> list[dict[str, str]]:
    """Its measurements of a model, a row each, by its own column names, the most images a second first.

    Raises:
        ClientError: there are none, or they cannot be read.
    """
    path = directory / "results/metrics-model-inference.csv"
    try:
        with path.open(newline="") as file:
            rows = [row for row in csv.DictReader(file) if row["Model"] == model.name]
        return sorted(rows, key=lambda row: -float(row["Throughput (infer/sec)"]))
    except FileNotFoundError:
        raise ClientError(
            f"Model Analyzer measured nothing: {_last_words(directory / 'model-analyzer.log')}",
            f"all it said: {directory / 'model-analyzer.log'}",
        ) from None
    except (KeyError, ValueError, TypeError) as error:
        raise ClientError(f"{path} is not what Model Analyzer writes: {type(error).__name__}: {error}") from None


def _watch(process: subprocess.Popen[bytes], log: Path, deadline: float, say: Callable[[str], None]) -> None:
    with log.open(errors="replace") as said:
        rest = ""
        while True:
            ended = process.poll() is not None
            *lines, rest = (rest + said.read()).split("\n")
            for line in lines:
                if words := one_line(line.removeprefix(_PREFIX)):
                    say(words)
            if ended:
                return
            if time.monotonic() > deadline:
                raise ClientError("Model Analyzer did not end in time", "give it longer: --limit MINUTES")
            time.sleep(0.2)


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End it and the perf_analyzer that it runs in a session of its own."""
    import psutil

    try:
        family = [*psutil.Process(process.pid).children(recursive=True), psutil.Process(process.pid)]
    except psutil.NoSuchProcess:
        family = []
    for member in family:
        try:
            member.kill()
        except psutil.NoSuchProcess:
            continue
    process.wait(_GRACE)


def _last_words(log: Path) -> str:
    try:
        lines = [line.removeprefix(_PREFIX).strip() for line in log.read_text(errors="replace").splitlines()]
    except OSError:
        lines = []
    telling = [line for line in lines if re.search("error|failed|exception", line, re.IGNORECASE)]
    return one_line(" ".join((telling or [line for line in lines if line])[-2:])) or "it said nothing"
