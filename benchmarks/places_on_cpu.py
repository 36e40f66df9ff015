"""What a place's configuration is worth on a CPU: config.pbtxt beside configs/cpu.pbtxt, and what warm-ups bring there.

    .venv/bin/python benchmarks/places_on_cpu.py --repository model_repository --output result.json

Throughput is perf_analyzer's; the two servers stand side by side and take turns, the idle one costs nothing. Warm-ups:
the same configuration with none, with a batch of one, and with every size; seconds from the launcher's start to ready,
then the first and the second request of a size, in ms.
"""

from __future__ import annotations

import argparse
import json
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, embedded_server, machine  # noqa: E402  the project is run from its folder
from builder.signature import BATCH_SIZES  # noqa: E402
from builder.triton_config import config_pbtxt  # noqa: E402
from builder.triton_config.places import Place  # noqa: E402
from builder.variants import VARIANTS  # noqa: E402
from client.connection import Connection  # noqa: E402
from client.images import unlabelled  # noqa: E402
from client.load import perf_analyzer  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.results import environment  # noqa: E402

LOADS = ((1, 1, 1.5), (1, 8, 1.5), (64, 2, 5.0))  # batch size, requests in flight, seconds of perf_analyzer's window
TRIES = 2  # of a round, until three of perf_analyzer's windows agree
WARM_UPS = {"none": 0, "batch 1": 1, "every size": len(BATCH_SIZES.sizes)}


def throughput(arguments: argparse.Namespace, images: np.ndarray, keep: Callable[[str, object], None]) -> None:
    """Images/s of both configurations under each load, in alternating rounds; an unstable round is left out."""
    rows = [{"batch_size": size, "in_flight": flight, "seconds": seconds, "plain": [], "cpu": []}
            for size, flight, seconds in LOADS]  # fmt: skip
    with (
        embedded_server(arguments.repository, f"--load={arguments.model}", "--model-config-name=") as plain,
        embedded_server(arguments.repository, f"--load={arguments.model}", "--model-config-name=cpu") as cpu,
        Measured(plain, images) as on_plain,
        Measured(cpu, images) as on_cpu,
        perf_analyzer.located(None, docker=False) as binary,
    ):
        sides = {"plain": on_plain, "cpu": on_cpu}
        for number in range(arguments.rounds):
            for row in rows:
                load = Load(row["batch_size"], row["seconds"], row["in_flight"])
                for side in list(sides) if number % 2 else reversed(list(sides)):
                    client = sides[side]
                    model = client.control.model(arguments.model)
                    for _ in range(TRIES):
                        found = perf_analyzer.measure(binary, client.endpoint, model, load, images)
                        if found["stable"]:
                            break
                    row[side].append(found["images_per_second"] if found["stable"] else None)
                for side in sides:
                    stable = [rate for rate in row[side] if rate]
                    row[f"{side}_median"] = float(np.median(stable)) if stable else None
                print(row, flush=True)
                keep("throughput", rows)


def warm_ups(arguments: argparse.Namespace, images: np.ndarray, keep: Callable[[str, object], None]) -> None:
    """Start-up and first requests with each kind of warm-up, in turn."""
    found = []
    with tempfile.TemporaryDirectory() as directory:
        shutil.copytree(arguments.repository / arguments.model, Path(directory) / arguments.model)
        full = config_pbtxt.model_config(VARIANTS[arguments.model], BATCH_SIZES, place=Place.CPU)
        every = config_pbtxt.model_config(VARIANTS[arguments.model], BATCH_SIZES, place=Place.GPU_EMBEDDED).model_warmup
        for number in range(arguments.starts):
            for name, count in WARM_UPS.items():
                del full.model_warmup[:]
                full.model_warmup.extend(every[:count])
                path = Path(directory) / arguments.model / Place.CPU.file
                path.write_text(config_pbtxt.to_text(full, Place.CPU))
                begun = time.perf_counter()
                with embedded_server(Path(directory), "--model-config-name=cpu") as url:
                    ready = time.perf_counter() - begun
                    row = {"warm_up": name, "start": number, "seconds_to_ready": ready, **first_requests(url, images)}
                found.append(row)
                print(row, flush=True)
                keep("warm_ups", found)


def first_requests(url: str, images: np.ndarray) -> dict[str, list[float]]:
    """ms of the first, second and third request of batch 1 and of batch 64."""
    from client.connection import Endpoint, Transport

    times: dict[str, list[float]] = {}
    with Connection(Endpoint(url, Transport.GRPC)) as connection:
        model = connection.control.model(connection.control.ready_models()[0])
        for size in (1, 64):
            request = connection.prepare(model, images[:size])
            for _ in range(3):
                begun = time.perf_counter()
                connection.infer(request)
                times.setdefault(f"ms_of_batch_{size}", []).append(1000 * (time.perf_counter() - begun))
    return times


def main() -> None:
    """Measure, print, and write the figures where --output says."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--model", default="resnet18_onnx")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--starts", type=int, default=3, help="servers started with each kind of warm-up")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    _, images = unlabelled(None)
    result = {"date": str(date.today()), "machine": machine(), "command": " ".join(sys.argv),
              "environment": environment(), "model": arguments.model}  # fmt: skip

    def keep(name: str, rows: object) -> None:
        result[name] = rows
        if arguments.output:
            arguments.output.write_text(json.dumps(result, indent=2) + "\n")

    warm_ups(arguments, images, keep)
    throughput(arguments, images, keep)
    print(f"{machine()}; medians of {arguments.rounds} rounds")


if __name__ == "__main__":
    main()
