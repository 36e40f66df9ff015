"""One GPU beside all of a host's: the same model and load a GPU, two embedded servers that take turns.

    .venv/bin/python benchmarks/several_gpus.py --repository model_repository_rtx --model resnet18_tensorrt_rtx \
        --output result.json

Both servers stand side by side; window by window one is measured while the other idles. The first sees one GPU
(CUDA_VISIBLE_DEVICES), the second every GPU; an instance group without `gpus` has its instances on each. In flight are
as many requests a GPU on both sides, from client processes of their own, over gRPC and over system shared memory: which
of the two the client can fill more GPUs with is part of the answer.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from contextlib import ExitStack, contextmanager
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import embedded_server, machine  # noqa: E402  the project is run from its folder
from client.connection import Control, Endpoint, Transport  # noqa: E402
from client.images import unlabelled  # noqa: E402
from client.load import summary  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.workers import ProcessLoader  # noqa: E402
from client.results import environment  # noqa: E402
from console import nvidia  # noqa: E402


@contextmanager
def serving(repository: Path, model: str, gpus: int):
    """The embedded server with the first `gpus` GPUs; yields its gRPC address."""
    before = os.environ.get("CUDA_VISIBLE_DEVICES")
    os.environ["CUDA_VISIBLE_DEVICES"] = ",".join(map(str, range(gpus)))
    try:
        with embedded_server(repository, f"--load={model}", "--timeout=300") as url:
            yield url
    finally:
        os.environ.pop("CUDA_VISIBLE_DEVICES")
        if before is not None:
            os.environ["CUDA_VISIBLE_DEVICES"] = before


def windows(sides: dict[int, ProcessLoader], loads: dict[int, Load], number: int) -> dict[int, list[float]]:
    """Images/s of each side, in turn; the first window of each warms up and is left out."""
    rates: dict[int, list[float]] = {gpus: [] for gpus in sides}
    for window in range(number + 1):
        for gpus in sides if window % 2 else reversed(sides):
            record = sides[gpus].run(window)
            if window:
                rates[gpus].append(summary.images_per_second(record, loads[gpus]))
    return rates


def measure(urls: dict[int, str], transport: Transport, arguments: argparse.Namespace) -> list[dict[str, object]]:
    """Every load over one transport."""
    _, images = unlabelled(None)
    rows = []
    for text in arguments.loads.split(","):
        size, flight = map(int, text.split("x"))
        with ExitStack() as stack:
            loads, sides = {}, {}
            for gpus, url in urls.items():
                endpoint = Endpoint(url, transport)
                loads[gpus] = Load(size, arguments.seconds, flight * gpus)
                control = Control(endpoint)
                stack.callback(control.close)
                sides[gpus] = ProcessLoader(endpoint, images, arguments.workers)
                stack.callback(sides[gpus].close)
                sides[gpus].prepare(control.model(arguments.model), loads[gpus])
            rates = windows(sides, loads, arguments.windows)
        medians = {gpus: float(np.median(values)) for gpus, values in rates.items()}
        one, every = min(medians), max(medians)
        row = {"transport": transport.value, "batch_size": size, "in_flight_per_gpu": flight,
               "images_per_second": rates, "medians": medians, "ratio": medians[every] / medians[one]}  # fmt: skip
        rows.append(row)
        print(f"{transport.value:10} {text:>8} a GPU: one {medians[one]:>10,.0f}, {every} {medians[every]:>10,.0f} "
              f"images/s, ratio {row['ratio']:.2f}", flush=True)  # fmt: skip
    return rows


def main() -> int:
    """Serve twice, measure in turn, print, write; 2 when no load reaches the bar."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, required=True, help="holds the model")
    parser.add_argument("--model", default="resnet18_tensorrt_rtx")
    parser.add_argument("--loads", default="256x4,256x8,64x8", help="BATCHxIN_FLIGHT a GPU (default: %(default)s)")
    parser.add_argument("--transports", default="grpc,system-shm")
    parser.add_argument("--windows", type=int, default=5, help="of each load and side")
    parser.add_argument("--seconds", type=float, default=2.0, help="a window")
    parser.add_argument("--workers", type=int, default=8, help="processes that send, for each side")
    parser.add_argument("--bar", type=float, default=1.9, help="ratio that one load must reach with two GPUs")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    found = len(nvidia.find_gpus().gpus)
    if found < 2:
        sys.exit(f"error: expected two GPUs or more; found {found}")
    rows = []
    with ExitStack() as stack:
        urls = {gpus: stack.enter_context(serving(arguments.repository, arguments.model, gpus)) for gpus in (1, found)}
        for transport in map(Transport, arguments.transports.split(",")):
            rows += measure(urls, transport, arguments)
    result = {"date": str(date.today()), "machine": machine(), "environment": environment(), "gpus": found,
              "command": " ".join(sys.argv), "model": arguments.model, "bar": arguments.bar, "rows": rows}  # fmt: skip
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{machine()}; medians of {arguments.windows} windows of {arguments.seconds:g} s, {arguments.model}")
    return 0 if max(row["ratio"] for row in rows) >= arguments.bar * found / 2 else 2


if __name__ == "__main__":
    sys.exit(main())
