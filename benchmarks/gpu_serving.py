"""Serving on a GPU: the embedded Triton beside ONNX Runtime in a process of its own, by every transport.

Both sides run the same model.onnx with the same options of the CUDA provider, CUDA graphs included, in alternating
rounds; while one runs the other is idle. In process there are two measures: `host` takes images from host memory and
returns logits there, as a server must; `device` finds and leaves both on the GPU, which is the most that ONNX Runtime
can do.
"""

from __future__ import annotations

import argparse
import dataclasses
import itertools
import json
import shutil
import subprocess
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
SECONDS = 1.0
_PLACES = {"GPU": "configs/gpu_embedded.pbtxt", "CPU": "configs/cpu.pbtxt"}  # the configuration that is measured
GRAPHS = itertools.count(1001)  # numbers of CUDA graphs, beyond those of the backend's executor


def child() -> None:
    """Run in the server's environment: a session as the backend makes it, and the throughput that is asked for."""
    sys.path[:0] = [str(ROOT / "server/backends" / folder) for folder in ("onnxruntime", "shared")]
    import onnxruntime
    from execution import make_executor
    from session import make_session

    job = json.loads(sys.stdin.readline())
    session = make_session(Path(job["directory"]), job["version"], job["config"], job["kind"], 0)
    executor = make_executor(session, job["config"], 0, lambda: sys.exit("no CUDA graph can hold this model"))
    provider = session.get_providers()[0]
    about = {"version": onnxruntime.__version__, "provider": provider,
             "options": session.get_provider_options()[provider]}  # fmt: skip
    print(json.dumps(about), flush=True)
    images = np.load(job["images"])
    for line in sys.stdin:
        size, where, seconds = line.split()
        batch = images[: int(size)]
        if where == "host":
            rate = _throughput(lambda batch=batch: executor.run(["logits"], [{"images": batch}]), float(seconds))
        else:
            rate = _throughput(_on_the_device(session, batch), float(seconds))
        print(rate * len(batch), flush=True)


def _on_the_device(session, batch: np.ndarray):
    """A function that runs the batch without moving it; a CUDA graph where the session can capture one."""
    import onnxruntime
    from binding import GRAPH_KEY

    binding, options = session.io_binding(), onnxruntime.RunOptions()
    binding.bind_ortvalue_input("images", onnxruntime.OrtValue.ortvalue_from_numpy(batch, "cuda", 0))
    logits = onnxruntime.OrtValue.ortvalue_from_shape_and_type([len(batch), 10], np.float32, "cuda", 0)
    binding.bind_ortvalue_output("logits", logits)
    options.add_run_config_entry(GRAPH_KEY, str(next(GRAPHS)))

    def step() -> None:
        session.run_with_iobinding(binding, options)
        binding.synchronize_outputs()

    return step


def _throughput(step, seconds: float) -> float:
    """Calls a second."""
    for _ in range(10):
        step()
    count, begin = 0, time.perf_counter()
    while time.perf_counter() - begin < seconds:
        step()
        count += 1
    return count / (time.perf_counter() - begin)


class InProcess:
    """The child, as a context manager."""

    def __init__(self, directory: Path, images: Path, kind: str) -> None:
        from google.protobuf.json_format import MessageToDict

        from builder.publishing.versions import published_versions
        from console.triton_configuration import parse

        config = parse((directory / _PLACES[kind]).read_text())
        job = {"config": MessageToDict(config, preserving_proto_field_name=True), "kind": kind, "images": str(images),
               "directory": str(directory), "version": str(published_versions(directory)[-1])}  # fmt: skip
        command = [str(ROOT / ".venv-server/bin/python"), __file__, "--child"]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        self.about = json.loads(self._ask(json.dumps(job)))

    def _ask(self, line: str) -> str:
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        answer = self._process.stdout.readline()
        if not answer:
            sys.exit("ONNX Runtime in process ended; its message is above")
        return answer

    def images_per_second(self, size: int, where: str) -> float:
        """Throughput of one window; where: "host" or "device"."""
        return float(self._ask(f"{size} {where} {SECONDS}"))

    def __enter__(self) -> InProcess:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.stdin.close()
        self._process.wait()


def measure(url: str, repository: Path, model: str, images: np.ndarray, arguments) -> list[dict[str, object]]:
    """All loads of one model: (transport, batch size, requests in flight) beside in process at the same batch size."""
    from benchmarks.served import Measured
    from client.connection import Transport
    from client.load.generator import Load
    from client.statistics import estimates

    rows = []
    places = ("host", "device") if arguments.kind == "GPU" else ("host",)
    with tempfile.NamedTemporaryFile(suffix=".npy") as file:
        np.save(file, images[: max(arguments.large, arguments.small)])
        file.flush()
        with InProcess(repository / model, Path(file.name), arguments.kind) as process:
            for transport in arguments.transports.split(","):
                loads = [Load(arguments.large, SECONDS, 4), Load(arguments.small, SECONDS, 8)]
                try:
                    with Measured(url, images, Transport(transport)) as client:
                        for load in loads:
                            rates = {side: [] for side in ("served", *places)}
                            for number in range(arguments.rounds):
                                for side in list(rates) if number % 2 else reversed(list(rates)):
                                    rates[side].append(
                                        client.images_per_second(model, load)
                                        if side == "served"
                                        else process.images_per_second(load.batch_size, side)
                                    )
                            row = {"model": model, "transport": transport, "batch_size": load.batch_size}
                            row |= {"in_flight": load.concurrency, "images_per_second": rates, **process.about}
                            for place in places:
                                ratio = estimates.ratio_over_rounds(rates["served"], rates[place])
                                row[f"ratio_to_{place}"] = dataclasses.asdict(ratio)
                            rows.append(row)
                            _show(row, places)
                except Exception as error:  # noqa: BLE001  the other transports are worth having
                    rows.append({"model": model, "transport": transport, "error": str(error)})
                    print(f"{model} over {transport}: {error}", flush=True)
    return rows


def _show(row: dict, places: tuple[str, ...]) -> None:
    means = {side: float(np.mean(values)) for side, values in row["images_per_second"].items()}
    beside = ", ".join(
        f"{place} {means[place]:,.0f} ({row[f'ratio_to_{place}']['value']:.2f} "
        f"[{row[f'ratio_to_{place}']['low']:.2f}, {row[f'ratio_to_{place}']['high']:.2f}])"
        for place in places
    )
    print(f"{row['model']:19} {row['transport']:10} batch {row['batch_size']:3} x {row['in_flight']}: "
          f"served {means['served']:,.0f} images/s; in process {beside}", flush=True)  # fmt: skip


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--models", default="resnet18_onnx,resnet18_onnx_fp16")
    parser.add_argument("--instances", default="1,2", help="of each model on the GPU")
    parser.add_argument("--transports", default="grpc,system-shm,cuda-shm")
    parser.add_argument("--large", type=int, default=256, help="batch size of the load with 4 requests in flight")
    parser.add_argument("--small", type=int, default=64, help="batch size of the load with 8 requests in flight")
    parser.add_argument("--kind", choices=("GPU", "CPU"), default="GPU")
    parser.add_argument("--extra", default="", help="text added to each configuration, such as parameters")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    sys.path.insert(0, str(ROOT))
    from benchmarks.served import embedded_server, machine
    from client.images import unlabelled
    from client.results import environment

    _, images = unlabelled(None)
    results = []
    for count in map(int, arguments.instances.split(",")):
        with tempfile.TemporaryDirectory() as directory:
            repository = Path(directory)
            for model in arguments.models.split(","):
                shutil.copytree(arguments.repository / model, repository / model)
                config = repository / model / _PLACES[arguments.kind]
                config.write_text(config.read_text().replace("count: 1", f"count: {count}") + arguments.extra)
            print(f"instances of each model: {count}", flush=True)
            with embedded_server(repository, f"--model-config-name={Path(_PLACES[arguments.kind]).stem}") as url:
                for model in arguments.models.split(","):
                    rows = measure(url, repository, model, images, arguments)
                    results += [{"instances": count, **row} for row in rows]
                    if arguments.output:
                        result = {"date": str(date.today()), "machine": machine(), "environment": environment(),
                                  "command": " ".join(sys.argv), "results": results}  # fmt: skip
                        arguments.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{machine()}; means of {arguments.rounds} rounds of {SECONDS:.0f} s")


if __name__ == "__main__":
    child() if "--child" in sys.argv else main()
