"""What a bounded queue costs: one model with and without a queue policy, in the same run.

    .venv/bin/python benchmarks/queue_policy.py --model resnet18_onnx

Rounds of the two alternate. A stall is a request that took 400 ms longer than the median: Triton's dynamic batcher
looks at its queue every 500 ms when nothing wakes it.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, embedded_server  # noqa: E402  the project is run from its folder, not installed
from builder.signature import BATCH_SIZES  # noqa: E402
from builder.triton_config.config_pbtxt import Scheduling, model_config, to_text  # noqa: E402
from builder.triton_config.places import Place  # noqa: E402
from builder.variants import VARIANTS  # noqa: E402
from client.images import unlabelled  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.summary import images_per_second, latencies_ms  # noqa: E402
from client.results import environment  # noqa: E402

BOUNDS = {"unbounded": 0, "bounded": 1024}


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--model", default="resnet18_onnx")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=5)
    arguments = parser.parse_args()
    source = arguments.repository / arguments.model
    _, images = unlabelled(None)
    with tempfile.TemporaryDirectory() as directory:
        for name, bound in BOUNDS.items():
            shutil.copytree(source, Path(directory) / name)
            scheduling = Scheduling(max_queue_size=bound)
            config = model_config(VARIANTS[arguments.model], BATCH_SIZES, scheduling=scheduling, place=Place.CPU)
            config.name = name
            (Path(directory) / name / Place.CPU.file).write_text(to_text(config))
        with (
            embedded_server(Path(directory), f"--model-config-name={Place.CPU.value}") as url,
            Measured(url, images) as client,
        ):
            latencies = {(name, load): [] for load in (1, 2, 4) for name in BOUNDS}
            for _ in range(arguments.rounds):
                for name, concurrency in latencies:
                    latencies[name, concurrency].append(client.window(name, Load(1, arguments.seconds, concurrency)))
    machine = environment()
    print(f"{machine['cpu']}, {machine['cores']} cores, {date.today()}; batch 1, {arguments.rounds} rounds")
    for (name, concurrency), results in latencies.items():
        times = np.concatenate([latencies_ms(window.record) for window in results])
        rate = float(np.mean([images_per_second(window.record, window.load) for window in results]))
        stalls = int((times > np.median(times) + 400).sum())
        print(f"{concurrency} in flight, {name:9}: {rate:6.1f} images/s  p50 {np.median(times):5.1f} ms  "
              f"p99 {np.percentile(times, 99):6.1f} ms  stalls {stalls}")  # fmt: skip


if __name__ == "__main__":
    main()
