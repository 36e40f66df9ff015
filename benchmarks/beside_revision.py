"""The embedded server of this checkout beside another revision's, each with its own configuration, in one run.

    .venv/bin/python benchmarks/beside_revision.py --other ../at-19b2007 --model resnet18_onnx_fp16 --output result.json

Each checkout builds its own repository and starts its own server; the two stand side by side and take turns, window by
window, and the idle one costs nothing. The load is this client's, from processes of its own. What counts is the ratio
of the medians, `--bar` of it is asked for.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack, closing, contextmanager
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import machine  # noqa: E402  the project is run from its folder, not installed
from client.connection import Control, Endpoint, Transport  # noqa: E402
from client.images import unlabelled  # noqa: E402
from client.load import summary  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.sweep import sweep  # noqa: E402
from client.load.workers import LocalLoader, ProcessLoader  # noqa: E402
from client.results import environment  # noqa: E402

LOADS = "1x8,8x8,64x8,256x4"  # batch size x requests in flight
START_SECONDS = 300


def build(checkout: Path, python: Path, repository: Path, model: str, instances: int) -> None:
    """Build one model with a checkout's own builder."""
    command = [python, "-m", "builder", "build", f"--repository={repository}", f"--models={model}",
               f"--instances={instances}"]  # fmt: skip
    subprocess.run(command, cwd=checkout, check=True, timeout=900, env=_environment(checkout))


def _environment(checkout: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(checkout)}


@contextmanager
def serving(checkout: Path, python: Path, repository: Path, log: Path):
    """A checkout's own embedded server on free ports; yields its gRPC address."""
    ready = log.with_suffix(".ready")
    command = [python, "-m", "server", f"--repository={repository}", "--http-port=0", "--grpc-port=0",
               "--metrics-port=0", f"--ready-file={ready}", f"--timeout={START_SECONDS}"]  # fmt: skip
    with log.open("w") as file:
        process = subprocess.Popen(command, cwd=checkout, env=_environment(checkout), stdout=file, stderr=file,
                                   start_new_session=True)  # fmt: skip
    try:
        deadline = time.monotonic() + START_SECONDS
        while not ready.exists():
            if process.poll() is not None or time.monotonic() > deadline:
                sys.exit(f"the server of {checkout} did not start:\n{log.read_text()}")
            time.sleep(0.1)
        yield json.loads(ready.read_text())["grpc"]
    finally:
        process.terminate()
        try:
            process.wait(60)
        except subprocess.TimeoutExpired:
            process.kill()


def measure(urls: dict[str, str], arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Windows of every load on both servers in turn."""
    _, images = unlabelled(None)
    rows = []
    with ExitStack() as stack:
        sides = {}
        for name, url in urls.items():
            endpoint = Endpoint(url, Transport.GRPC)
            loader = (
                ProcessLoader(endpoint, images, arguments.workers)
                if arguments.workers > 1
                else LocalLoader(endpoint, images)
            )
            stack.callback(loader.close)
            control = Control(endpoint)
            stack.callback(control.close)
            sides[name] = (control, loader, control.model(arguments.model))
        for text in arguments.loads.split(","):
            size, flight = map(int, text.split("x"))
            load = Load(size, arguments.seconds, flight)
            row: dict[str, object] = {"batch_size": size, "in_flight": flight}
            rates: dict[str, list[float]] = {name: [] for name in sides}
            for number in range(arguments.windows):
                for name in list(sides) if number % 2 else reversed(list(sides)):
                    control, loader, model = sides[name]
                    (window,) = sweep(control, loader, [model], [load], 1)
                    rates[name].append(summary.images_per_second(window.record, load))
            medians = {name: float(np.median(values)) for name, values in rates.items()}
            row |= {"images_per_second": rates, "medians": medians, "ratio": medians["this"] / medians["other"]}
            row["passes"] = row["ratio"] >= arguments.bar
            rows.append(row)
            print(f"{text:>8}  other {medians['other']:>12,.0f}  this {medians['this']:>12,.0f}  "
                  f"ratio {row['ratio']:.3f}  {'ok' if row['passes'] else 'BELOW THE BAR'}", flush=True)  # fmt: skip
    return rows


def main() -> int:
    """Build, serve, measure, print, write; 2 when a load is below the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--other", type=Path, required=True, help="a checkout of the other revision")
    parser.add_argument("--model", default="resnet18_onnx_fp16")
    parser.add_argument("--python", type=Path, default=ROOT / ".venv/bin/python", help="builds and measures")
    parser.add_argument("--server-python", type=Path, default=ROOT / ".venv-server/bin/python", help="of both servers")
    parser.add_argument("--instances", type=int, default=2, help="of the model, on both sides")
    parser.add_argument("--loads", default=LOADS, help="BATCHxIN_FLIGHT, comma-separated (default: %(default)s)")
    parser.add_argument("--windows", type=int, default=5, help="of each load and side")
    parser.add_argument("--seconds", type=float, default=2.0, help="a window")
    parser.add_argument("--workers", type=int, default=2, help="processes that send, for each side")
    parser.add_argument("--bar", type=float, default=0.95)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    checkouts = {"other": arguments.other.resolve(), "this": ROOT}
    with tempfile.TemporaryDirectory() as directory, ExitStack() as stack:
        urls = {}
        for name, checkout in checkouts.items():
            repository = Path(directory) / name
            build(checkout, arguments.python, repository, arguments.model, arguments.instances)
            log = Path(directory) / f"{name}.log"
            urls[name] = stack.enter_context(serving(checkout, arguments.server_python, repository, log))
            print(f"{name}: {log.read_text().strip()}", flush=True)
        with closing(Control(Endpoint(urls["this"], Transport.GRPC))) as control:
            configuration = control.model(arguments.model).configuration
        rows = measure(urls, arguments)
    revisions = {name: _revision(checkout) for name, checkout in checkouts.items()}
    result = {"date": str(date.today()), "machine": machine(), "environment": environment(), "revisions": revisions,
              "command": " ".join(sys.argv), "model": arguments.model, "instances": arguments.instances,
              "configuration": configuration, "bar": arguments.bar, "rows": rows}  # fmt: skip
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{machine()}; medians of {arguments.windows} windows of {arguments.seconds:g} s, {arguments.model}, "
          f"{arguments.instances} instances, gRPC")  # fmt: skip
    return 0 if all(row["passes"] for row in rows) else 2


def _revision(checkout: Path) -> str:
    command = ["git", "-C", str(checkout), "rev-parse", "HEAD"]
    return subprocess.run(command, capture_output=True, text=True, check=False).stdout.strip() or "unknown"


if __name__ == "__main__":
    sys.exit(main())
