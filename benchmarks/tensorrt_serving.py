"""TensorRT plans served on a GPU: by perf_analyzer over gRPC beside ONNX Runtime on the same server, and in process.

Each load is measured again and again, the models taking turns; a figure is the median. In process, the backend's own
executor runs the same plan on images in host memory, two batches in flight: the most that serving could reach.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SERVER = Path(os.environ.get("SERVER_PYTHON", ROOT / ".venv-server/bin/python"))
SECONDS = 1.0


def child() -> None:
    """Run in the server's environment: the plan in process, as the backend runs it, two batches in flight."""
    sys.path[:0] = [str(ROOT / "server/backends" / folder) for folder in ("tensorrt", "shared")]
    from collections import deque

    from plan_serving import open_plan

    job = json.loads(sys.stdin.readline())
    _, executor, lines, _ = open_plan(job["args"], job["config"])
    images = np.load(job["images"])
    print(json.dumps({"lines": lines}), flush=True)
    for line in sys.stdin:
        size, seconds = line.split()
        batch, flying, count = images[: int(size)], deque(), 0
        begin, until = 0.0, time.perf_counter() + 0.3
        while time.perf_counter() < until:
            if len(flying) == 2:
                started = flying.popleft()
                started.wait()
                started.done()
                count += 1
            flying.append(executor.start([{"images": batch}], len(batch)))
            if not begin and time.perf_counter() > until - 0.05:
                begin, until, count = time.perf_counter(), time.perf_counter() + float(seconds), 0
        rate = count * len(batch) / (time.perf_counter() - begin)
        for started in flying:
            started.wait()
            started.done()
        print(rate, flush=True)


def in_process(directory: Path, sizes: list[int], images: np.ndarray, rounds: int) -> dict[int, list[float]]:
    """Images/s in process, for each batch size."""
    from google.protobuf.json_format import MessageToDict

    from builder.publishing.versions import published_versions
    from console.triton_configuration import parse

    config = parse((directory / "config.pbtxt").read_text())
    args = {"model_instance_kind": "GPU", "model_instance_name": f"{config.name}_0_0", "model_instance_device_id": "0",
            "model_repository": str(directory), "model_version": str(published_versions(directory)[-1])}  # fmt: skip
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, images[: max(sizes)])
        file.flush()
        job = {"args": args, "config": MessageToDict(config, preserving_proto_field_name=True), "images": file.name}
        asked = "".join(f"{size} {SECONDS}\n" for size in sizes for _ in range(rounds))
        done = subprocess.run([SERVER, __file__, "--child"], input=json.dumps(job) + "\n" + asked, text=True,
                              stdout=subprocess.PIPE, check=True, timeout=240)  # fmt: skip
    rates = [float(line) for line in done.stdout.splitlines()[1:]]
    return {size: rates[number * rounds : (number + 1) * rounds] for number, size in enumerate(sizes)}


def starts(repository: Path, cache: Path) -> dict[str, float]:
    """Seconds until the server is ready with every model: with no kernels kept, then with those of the first start."""
    from benchmarks.served import embedded_server

    shutil.rmtree(cache, ignore_errors=True)
    found = {}
    for name in ("first", "second"):
        begin = time.perf_counter()
        with embedded_server(repository):
            found[name] = time.perf_counter() - begin
    return found


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, required=True, help="holds the models; they are all served")
    parser.add_argument("--models", required=True, help="the first is compared with the others")
    parser.add_argument("--instances", default="1", help="of each model: one number, or one for each")
    parser.add_argument("--loads", default="256x4,64x8,1x1,1x8", help="batch size x requests in flight")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--extra", default="", help="text added to the first model's configuration")
    parser.add_argument("--starts", action="store_true", help="measure the server's start too")
    parser.add_argument("--in-process", default="256", help="batch sizes of the first model in process; empty for none")
    parser.add_argument("--name", default="", help="what the figures are called")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.served import Measured, embedded_server, machine
    from client.images import unlabelled
    from client.load import perf_analyzer
    from client.load.generator import Load
    from client.results import environment

    _, images = unlabelled(None)
    models = arguments.models.split(",")
    counts = dict(zip(models, arguments.instances.split(",") * len(models), strict=False))
    rows, result = [], {"name": arguments.name, "command": " ".join(sys.argv), "instances": counts}
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory)
        for model in models:
            shutil.copytree(arguments.repository / model, repository / model)
            path = repository / model / "config.pbtxt"
            text = re.sub(r"count: \d+", f"count: {counts[model]}", path.read_text())
            path.write_text(text + (arguments.extra if model == models[0] else ""))
        if arguments.starts:
            result["seconds_until_ready"] = starts(repository, Path.home() / ".cache/tensorrt_rtx")
            print("seconds until ready:", result["seconds_until_ready"], flush=True)
        if arguments.in_process:
            sizes = [int(size) for size in arguments.in_process.split(",")]
            result["in_process"] = in_process(repository / models[0], sizes, images, arguments.rounds)
            print({size: f"{np.median(rates):,.0f}" for size, rates in result["in_process"].items()}, flush=True)
        with (
            embedded_server(repository) as url,
            perf_analyzer.located(None, docker=False) as binary,
            Measured(url, images) as client,
        ):
            for text in arguments.loads.split(","):
                size, in_flight = map(int, text.split("x"))
                load = Load(size, SECONDS, in_flight)
                rows += _measure(perf_analyzer, binary, client, models, load, arguments.rounds)
    result |= {"rows": rows, "machine": machine(), "environment": environment()}
    if arguments.output:
        arguments.output.write_text(json.dumps(result, indent=2, default=str) + "\n")
    print(machine())


def _measure(perf_analyzer, binary, client, models: list[str], load, rounds: int) -> list[dict[str, object]]:
    found: dict[str, list[dict]] = {model: [] for model in models}
    for number in range(rounds):
        for model in models if number % 2 else reversed(models):
            for _ in range(5):
                done = perf_analyzer.measure(binary, client.endpoint, client.control.model(model), load, client.images)
                if done["stable"]:
                    break
            else:
                sys.exit(f"{model}: perf_analyzer found no three windows that agree, five times")
            found[model].append(done)
    rows, first = [], 0.0
    for model, windows in found.items():
        rates = [window["images_per_second"] for window in windows]
        p50, p99 = (float(np.median([window["latency_ms"][key] for window in windows])) for key in ("p50", "p99"))
        first = first or float(np.median(rates))
        rows.append({"model": model, "batch_size": load.batch_size, "in_flight": load.concurrency, "p50_ms": p50,
                     "p99_ms": p99, "images_per_second": rates, "median": float(np.median(rates)),
                     "first_model_over_this": first / float(np.median(rates))})  # fmt: skip
        print(f"{load.batch_size:4} x {load.concurrency}: {model:24} {np.median(rates):9,.0f} images/s "
              f"({', '.join(f'{rate:,.0f}' for rate in rates)}), p50 {p50:.2f} ms, p99 {p99:.2f} ms, "
              f"{first / float(np.median(rates)):.2f}", flush=True)  # fmt: skip
    return rows


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
