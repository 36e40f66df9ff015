"""Throughput of the embedded Triton over gRPC beside in-process ONNX Runtime, in the same run.

    .venv/bin/python benchmarks/embedded_throughput.py --model resnet18_onnx

Both execute the same model.onnx with the same number of threads and the same images; rounds of the two alternate, and
while one runs the other is idle. Prints the median ratio over the rounds and its spread.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, embedded_server  # noqa: E402  the project is run from its folder, not installed
from client.images import unlabelled  # noqa: E402
from client.load import Load  # noqa: E402
from client.results import environment  # noqa: E402


def in_process(session, images: np.ndarray, batch_size: int, seconds: float) -> float:
    """Images per second of ONNX Runtime in this process."""
    batches = [images[start : start + batch_size] for start in range(0, 8 * batch_size, batch_size)]
    for batch in batches[:2]:
        session.run(None, {"images": batch})
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        session.run(None, {"images": batches[count % len(batches)]})
        count += 1
    return count * batch_size / (time.perf_counter() - begin)


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--model", default="resnet18_onnx")
    parser.add_argument("--batch-size", type=int, default=64)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=6, help="of each half of a round")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    newest = max((arguments.repository / arguments.model).glob("[0-9]*"), key=lambda path: int(path.name))
    session = onnxruntime.InferenceSession(newest / "model.onnx", options, providers=["CPUExecutionProvider"])
    name, images = unlabelled(None)
    rows = []
    with embedded_server(arguments.repository, f"--load={arguments.model}") as url, Measured(url, images) as client:
        load = Load(arguments.batch_size, arguments.seconds, arguments.concurrency)
        for number in range(arguments.rounds):
            order = ("served", "in_process") if number % 2 else ("in_process", "served")
            row = {}
            for side in order:
                if side == "served":
                    row[side] = client.images_per_second(arguments.model, load)
                else:
                    row[side] = in_process(session, images, arguments.batch_size, arguments.seconds)
            row["ratio"] = row["served"] / row["in_process"]
            rows.append(row)
            print(
                f"round {number + 1}: " + "  ".join(f"{side} {value:8.3f}" for side, value in row.items()), flush=True
            )
    medians = {side: float(np.median([row[side] for row in rows])) for side in ("served", "in_process", "ratio")}
    ratios = sorted(row["ratio"] for row in rows)
    machine = environment()
    print(f"{machine['cpu']}, {machine['cores']} cores, {date.today()}, ONNX Runtime {onnxruntime.__version__}, {name}")
    print(f"batch {load.batch_size}, {load.concurrency} in flight, images/s (medians of {len(rows)} rounds): served "
          f"{medians['served']:.1f}, in process {medians['in_process']:.1f}; "
          f"ratio {medians['ratio']:.3f} [{ratios[0]:.3f}, {ratios[-1]:.3f}]")  # fmt: skip
    if arguments.output:
        result = {"command": " ".join(sys.argv), "date": str(date.today()), "rounds": rows, "medians": medians,
                  "onnxruntime": onnxruntime.__version__, "images": name, "environment": machine}  # fmt: skip
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
