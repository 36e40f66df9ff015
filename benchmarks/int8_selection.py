"""How the INT8 model is quantised: what was tried, on images held out of the training images.

    CIFAR10_DIR=... .venv/bin/python benchmarks/int8_selection.py --output benchmarks/results/int8-selection.json

Calibrated on the first training images, judged on the last ones, which no calibration sees; the test images take no
part. The network has learned its training images by heart, so both models are right on nearly all of them, and what
tells candidates apart is how often they agree on hard images: each held-out image mixed half and half with another one.
Accuracy, agreement and the error of the logits (root mean square, over the FP32 logits' standard deviation) are counted
against the FP32 graph in ONNX Runtime. Speed is ONNX Runtime in this process, in rounds that alternate with FP32, as
the ratio of FP32's time with its 95 % interval; a candidate of equal graph has the speed of the chosen one.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import sys
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

import onnx  # noqa: E402  run from its folder
import onnxruntime  # noqa: E402

from builder.__main__ import DEFAULT_CHECKPOINT  # noqa: E402
from builder.export import onnx_export  # noqa: E402
from builder.network import checkpoint  # noqa: E402
from builder.quantization import onnx_runtime, ranges  # noqa: E402
from builder.quantization.calibration import CALIBRATION_IMAGES, Calibration  # noqa: E402
from builder.signature import BATCH_SIZES  # noqa: E402
from cifar10 import Split, load  # noqa: E402
from client.results import environment  # noqa: E402
from client.statistics import estimates  # noqa: E402

CALIBRATIONS = [
    (ranges.Method("minmax"), 512),
    (ranges.Method("minmax"), 1024),
    (ranges.Method("entropy"), 1024),
    (ranges.Method("percentile", 99.99), 1024),
    (ranges.Method("percentile", 99.999), 512),
    (ranges.Method("percentile", 99.999), 1024),
]


def graph_options(names: dict[str, str]) -> dict[str, dict[str, object]]:
    """Candidates that change the graph, all with the chosen calibration."""
    operators = onnx_runtime.OPERATORS
    return {
        "chosen": {},
        "one scale for a whole weight": {"per_channel": False},
        "weights of eight bits": {"reduce_range": False},
        "the last layer quantised too": {"operators": (*operators, "Gemm")},
        "additions in FP32": {"operators": tuple(name for name in operators if name != "Add")},
        "the first convolution in FP32": {"keep_float": (names["first"],)},
        "the last convolution in FP32": {"keep_float": (names["last"],)},
    }


def session(content: bytes, *, exact: bool = False) -> onnxruntime.InferenceSession:
    """ONNX Runtime on all cores; `exact`: U8 x U8 kernels, which cannot saturate where there is no VNNI."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    if exact:
        options.add_session_config_entry("session.x64quantprecision", "1")
    return onnxruntime.InferenceSession(content, options, providers=["CPUExecutionProvider"])


def logits(model: onnxruntime.InferenceSession, images: np.ndarray) -> np.ndarray:
    return np.concatenate([model.run(None, {"images": images[at : at + 64]})[0] for at in range(0, len(images), 64)])


def judge(model: onnxruntime.InferenceSession, sets: dict, references: dict) -> dict[str, float]:
    """Accuracy on the held-out images, agreement and error on both kinds."""
    found = {}
    for name, (images, labels) in sets.items():
        answers, reference = logits(model, images), references[name]
        found[f"{name}_agreement"] = float((answers.argmax(1) == reference.argmax(1)).mean())
        found[f"{name}_logit_error"] = float(np.sqrt(np.mean((answers - reference) ** 2)) / reference.std())
        if labels is not None:
            found[f"{name}_accuracy"] = float((answers.argmax(1) == labels).mean())
    return found


def seconds(model: onnxruntime.InferenceSession, images: np.ndarray, duration: float) -> float:
    """Of one run, over as many as fit."""
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < duration:
        model.run(None, {"images": images})
        count += 1
    return (time.perf_counter() - begin) / count


def speed(model, reference, images: np.ndarray, rounds: int, duration: float) -> dict[str, object]:
    """How many times as fast as the reference, by batch size."""
    found = {}
    for size in (1, 8, 64):
        batch = images[:size]
        for each in (model, reference):
            each.run(None, {"images": batch})
        pairs = [(seconds(reference, batch, duration), seconds(model, batch, duration)) for _ in range(rounds)]
        slow, fast = zip(*pairs, strict=True)
        found[str(size)] = dataclasses.asdict(estimates.ratio_over_rounds(list(slow), list(fast)))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=DEFAULT_CHECKPOINT)
    parser.add_argument("--data", type=Path)
    parser.add_argument("--held-out", type=int, default=1000, help="training images, from the last on")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=0.3, help="of one side of a round")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    source, training = checkpoint.load(arguments.checkpoint), load(Split.TRAIN, arguments.data)
    full = onnx_export.export(source.classifier(), BATCH_SIZES)
    held_out = training.images[-arguments.held_out :]
    other = held_out[np.random.default_rng(0).permutation(len(held_out))]
    mixed = ((held_out.astype(np.uint16) + other) // 2).astype(np.uint8)
    sets = {"held_out": (held_out, training.labels[-arguments.held_out :]), "mixed": (mixed, None)}
    reference = session(full)
    references = {name: logits(reference, images) for name, (images, _) in sets.items()}
    accuracy = float((references["held_out"].argmax(1) == sets["held_out"][1]).mean())
    print(f"FP32: {100 * accuracy:.2f} % of the held-out images", flush=True)

    measured: dict[tuple[str, int], dict] = {}
    rows = []
    for method, count in CALIBRATIONS:
        measured[str(method), count] = found = ranges.ranges_of(full, training.images[:count], method)
        model = session(onnx_runtime.quantize(full, _calibration(source.sha256, found)))
        rows.append({"calibration": f"{method}, {count} images", **judge(model, sets, references)})
        print(rows[-1], flush=True)

    convolutions = [node.name for node in onnx.load_from_string(full).graph.node if node.op_type == "Conv"]
    chosen = _calibration(source.sha256, measured[str(ranges.METHOD), CALIBRATION_IMAGES])
    graphs = []
    for name, options in graph_options({"first": convolutions[0], "last": convolutions[-1]}).items():
        content = onnx_runtime.quantize(full, chosen, **options)
        kernels = {name: session(content)}
        if options.get("reduce_range") is False:
            kernels[f"{name}, exact kernels"] = session(content, exact=True)
        for described, model in kernels.items():
            graphs.append(
                {
                    "graph": described,
                    "bytes": len(content),
                    **judge(model, sets, references),
                    "times_as_fast_as_fp32": speed(model, reference, held_out, arguments.rounds, arguments.seconds),
                }
            )
            print(graphs[-1], flush=True)
    if arguments.output:
        result = {
            "command": " ".join(sys.argv),
            "date": str(date.today()),
            "checkpoint_sha256": source.sha256,
            "images": f"{training.name}, training images: calibrated on the first, judged on the last {len(held_out)}",
            "fp32_held_out_accuracy": accuracy,
            "chosen": f"{ranges.METHOD}, {CALIBRATION_IMAGES} images",
            "calibrations": rows,
            "graphs": graphs,
            "onnxruntime": onnxruntime.__version__,
            "environment": environment(),
        }
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


def _calibration(sha256: str, found: dict[str, tuple[float, float]]) -> Calibration:
    return Calibration(sha256, "", "", 0, "", {}, found)


if __name__ == "__main__":
    main()
