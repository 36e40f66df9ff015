"""What the embedded server's ONNX backend costs beside ONNX Runtime in this process, in the same run.

    .venv/bin/python benchmarks/backend_overhead.py --output benchmarks/results/backend-overhead.json

Two models: the network, and a tiny one that computes next to nothing, so that only the way through gRPC, Triton and the
backend remains. perf_analyzer sends the requests, since what the client spends on 2 cores is missing in the server: it
takes about half of the processor time of this project's own loader (`--client own`, a program in Python). Before, both
sides must give the same answer. Both run the same model.onnx with the same number of threads on the same images.

A round measures both, in alternating order; while one runs the other is idle. perf_analyzer takes three windows or more
for one figure, so ONNX Runtime in process gets three windows as well. Says the ratio of served to in process with its
95 % interval.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import shutil
import sys
import tempfile
import time
from contextlib import nullcontext
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, by_perf_analyzer, embedded_server  # noqa: E402  run from its folder
from builder.publishing.versions import published_versions  # noqa: E402
from client.connection import Connection  # noqa: E402
from client.images import unlabelled  # noqa: E402
from client.load import perf_analyzer  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.results import environment  # noqa: E402
from client.statistics import estimates  # noqa: E402

TINY = "tiny"
REQUESTS = 25  # in a window, or more: perf_analyzer leaves out those that only begin or end in it


def add_tiny(repository: Path, like: Path) -> None:
    """Write a model with the network's signature and configuration whose logits are an image's first ten values."""
    import onnx
    from onnx import TensorProto, helper, numpy_helper

    constants = {"axis": [1], "start": [0], "end": [10]}
    nodes = [
        helper.make_node("Flatten", ["images"], ["values"]),
        helper.make_node("Slice", ["values", "start", "end", "axis"], ["ten"]),
        helper.make_node("Cast", ["ten"], ["logits"], to=TensorProto.FLOAT),
    ]
    graph = helper.make_graph(
        nodes,
        TINY,
        [helper.make_tensor_value_info("images", TensorProto.UINT8, ["batch", 32, 32, 3])],
        [helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["batch", 10])],
        initializer=[numpy_helper.from_array(np.array(value, np.int64), key) for key, value in constants.items()],
    )
    directory = repository / TINY / "1"
    directory.mkdir(parents=True)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10), directory / "model.onnx"
    )
    config = (like / "configs/cpu.pbtxt").read_text().replace(f'name: "{like.name}"', f'name: "{TINY}"')
    (repository / TINY / "config.pbtxt").write_text(config)
    shutil.copy(like / "labels.txt", repository / TINY)


def in_process(session, images: np.ndarray, load: Load) -> float:
    """Images per second of ONNX Runtime in this process, after the same warm-up as the client's."""
    size = load.batch_size
    batches = [images[(start + np.arange(size)) % len(images)] for start in range(0, 8 * size, size)]
    for batch in batches[:3]:
        session.run(None, {"images": batch})
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < load.seconds:
        session.run(None, {"images": batches[count % len(batches)]})
        count += 1
    return count * size / (time.perf_counter() - begin)


def check_answer(client: Measured, name: str, session, images: np.ndarray) -> None:
    """See that both sides compute the same, bit for bit."""
    with Connection(client.endpoint) as connection:
        found = connection.infer(connection.prepare(client.control.model(name), images))
    np.testing.assert_array_equal(found, session.run(["logits"], {"images": images})[0])


def measure(
    client: Measured, binary: perf_analyzer.Binary | None, name: str, session, load: Load, rounds: int
) -> dict[str, object]:
    """Alternate rounds of one model at one batch size; `binary` None means this project's own loader."""
    check_answer(client, name, session, client.images[: load.batch_size])
    alone = load if binary is None else dataclasses.replace(load, seconds=3 * load.seconds)
    rows = []
    for number in range(rounds):
        row = {}
        for side in ("served", "in_process") if number % 2 else ("in_process", "served"):
            if side == "in_process":
                row[side] = in_process(session, client.images, alone)
            elif binary is None:
                row[side] = client.images_per_second(name, load)
            else:
                row[side] = by_perf_analyzer(binary, client, name, load)
        rows.append(row)
    rates = {side: [row[side] for row in rows] for side in ("served", "in_process")}
    ratio = estimates.ratio_over_rounds(rates["served"], rates["in_process"])
    means = {side: estimates.mean_over_rounds(values).value for side, values in rates.items()}
    print(
        f"{name:14} batch {load.batch_size:3}, {load.concurrency} in flight: served {means['served']:9.1f}, "
        f"in process {means['in_process']:9.1f} images/s; ratio {ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]",
        flush=True,
    )
    return {"model": name, "batch_size": load.batch_size, "concurrency": load.concurrency, "seconds": load.seconds,
            "rounds": rows, "means": means, "ratio": dataclasses.asdict(ratio)}  # fmt: skip


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    import onnxruntime

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--model", default="resnet18_onnx")
    parser.add_argument("--only", choices=("tiny", "network"), help="one of the two models")
    parser.add_argument("--batch-size", default="1,8,64")
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--client", choices=("perf_analyzer", "own"), default="perf_analyzer")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=1, help="of a window, or longer")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = len(os.sched_getaffinity(0))
    images_name, images = unlabelled(None)
    rows = []
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory)
        shutil.copytree(arguments.repository / arguments.model, repository / arguments.model)
        add_tiny(repository, repository / arguments.model)
        names = {"tiny": [TINY], "network": [arguments.model]}.get(arguments.only, [TINY, arguments.model])
        loads = [f"--load={name}" for name in names]
        finding = perf_analyzer.located(None, docker=False) if arguments.client == "perf_analyzer" else nullcontext()
        with finding as binary, embedded_server(repository, *loads) as url, Measured(url, images) as client:
            for name in names:
                newest = repository / name / str(published_versions(repository / name)[-1])
                session = onnxruntime.InferenceSession(
                    newest / "model.onnx", options, providers=["CPUExecutionProvider"]
                )
                for size in arguments.batch_size.split(","):
                    load = Load(int(size), arguments.seconds, arguments.concurrency)
                    rate = in_process(session, images, load)
                    load = dataclasses.replace(load, seconds=max(load.seconds, REQUESTS * load.batch_size / rate))
                    rows.append(measure(client, binary, name, session, load, arguments.rounds))
    machine = environment()
    how = f"{arguments.rounds} rounds, windows from {arguments.seconds} s, {arguments.client}"
    print(f"{machine['cpu']}, {machine['cores']} cores, {date.today()}, ONNX Runtime {onnxruntime.__version__}, "
          f"{images_name}; {how}")  # fmt: skip
    if arguments.output:
        result = {"command": " ".join(sys.argv), "date": str(date.today()), "results": rows,
                  "onnxruntime": onnxruntime.__version__, "images": images_name, "client": arguments.client,
                  "environment": machine}  # fmt: skip
        arguments.output.parent.mkdir(parents=True, exist_ok=True)
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
