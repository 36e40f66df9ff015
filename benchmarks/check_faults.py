"""Does `client check` find what is wrong, and nothing where nothing is? Six planted faults and a healthy server.

    .venv/bin/python benchmarks/check_faults.py --output benchmarks/results/check-faults.json

Each faulty model runs the published network itself and then gives answers to the wrong request: every second one, those
of one batch size, those that came together, that of the request before, of the one two before, rows within a request.
The healthy one is `resnet18_onnx` as published. A fault counts as found only if it is called by its name. Needs
the repository that `make build-repo` writes.
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import embedded_server, machine  # noqa: E402  run from its folder, not installed
from client.results import environment  # noqa: E402
from tests.support.faults import add_faulty  # noqa: E402

HEALTHY = "resnet18_onnx"
FAULTS = {
    "every_second": r"belong to other requests: .* every second time",
    "one_size": r"belong to other requests: .* at batch 32;",
    "concurrency": r"belong to other requests: .* with several in flight, none one after the other",
    "one_before": r"belong to other requests: .* those of the request before$",
    "two_before": r"belong to other requests: .* those of the request two before$",
    "rows": r"rows change places within a request",
}
"""Each fault of `tests/support/faulty_model.py`, and what must be said of it."""


def main() -> None:
    """Plant, check, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--runs", type=int, default=20, help="checks of the healthy server (default: %(default)s)")
    parser.add_argument("--duration", type=float, default=8, help="seconds a check, at most (default: %(default)s)")
    parser.add_argument("--output", type=Path)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as directory:
        repository = planted(given.repository, Path(directory))
        with embedded_server(repository) as url:
            options = [f"--url={url}", f"--repository={repository}", f"--duration={given.duration}"]
            faults = [check(name, [*options]) for name in FAULTS]
            healthy = [check(HEALTHY, [*options, f"--seed={seed}"]) for seed in range(given.runs)]
            default = check(HEALTHY, options[:2])
    for run in faults:
        run["found"] = run["exit_code"] == 2 and any(re.search(FAULTS[run["model"]], text) for text in run["findings"])
    result = {
        "command": f"benchmarks/check_faults.py --runs {given.runs} --duration {given.duration:g}",
        "date": str(date.today()),
        "faults": faults,
        "healthy": healthy,
        "healthy_with_the_default_duration": default,
        "environment": environment(),
    }
    show(result)
    if given.output:
        given.output.write_text(json.dumps(result, indent=2) + "\n")


def planted(source: Path, repository: Path) -> Path:
    """A repository with the healthy model and the faulty ones that run its network."""
    shutil.copytree(source / HEALTHY, repository / HEALTHY)
    version = next((repository / HEALTHY).glob("[0-9]*"))
    for name in FAULTS:
        directory = add_faulty(repository, name, name, network=version / "model.onnx", max_batch_size=256)
        for file in ("reference.npz", "provenance.json"):
            shutil.copy(version / file, directory)
    return repository


def check(model: str, options: list[str]) -> dict:
    """Run the command as a user does; returns its exit code, how long it took in s, and what it found."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "check.json"
        begin = time.perf_counter()
        command = [sys.executable, "-m", "client", "check", f"--model={model}", f"--output={path}", *options]
        done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
        seconds = time.perf_counter() - begin
        if not path.exists():
            sys.exit(f"{model}: nothing was measured: {done.stderr}")
        found = json.loads(path.read_text())["checks"][0]
    print(f"{model:14} {seconds:5.1f} s, exit code {done.returncode}, {found['requests']:,} requests, "
          f"{found['images']:,} images, not reached: {found['not_reached']}; "
          + ("; ".join(finding["text"] for finding in found["findings"]) or "right"), flush=True)  # fmt: skip
    return {
        "model": model,
        "seconds": round(seconds, 2),
        "exit_code": done.returncode,
        "findings": [finding["text"] for finding in found["findings"]],
        **{name: found[name] for name in ("requests", "images", "wrong_images", "max_abs_difference", "not_reached")},
    }


def show(result: dict) -> None:
    """The line that counts."""
    found = sum(run["found"] for run in result["faults"])
    alarms = sum(run["exit_code"] != 0 for run in result["healthy"])
    longest = max(run["seconds"] for run in (*result["faults"], *result["healthy"]))
    default = result["healthy_with_the_default_duration"]["seconds"]
    print(f"{found} of {len(FAULTS)} found, {alarms} of {len(result['healthy'])} false alarms, {longest:.1f} s at most")
    print(f"{default:.1f} s with the default duration")
    print(machine())


if __name__ == "__main__":
    main()
