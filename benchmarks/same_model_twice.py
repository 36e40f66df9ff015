"""A/A: one model under two names. An instrument that can be trusted finds no difference in about 19 of 20 runs.

    .venv/bin/python benchmarks/same_model_twice.py

Each run is a whole comparison as `python -m client latency` makes it: rounds in alternating order, and the throughput
ratio with its bootstrap interval.
"""

from __future__ import annotations

import argparse
import shutil
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, embedded_server, machine  # noqa: E402  run from its folder, not installed
from client.images import unlabelled  # noqa: E402
from client.load import summary  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.sweep import sweep  # noqa: E402

NAMES = ["one", "other"]


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--model", default="resnet18_onnx")
    parser.add_argument("--batch-size", type=int, default=8)
    parser.add_argument("--concurrency", type=int, default=2)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="a window")
    arguments = parser.parse_args()
    load = Load(arguments.batch_size, arguments.seconds, arguments.concurrency)
    _, images = unlabelled(None)
    hits = {"throughput": 0, "p50_speedup": 0}
    with tempfile.TemporaryDirectory() as directory:
        for name in NAMES:
            copy = Path(directory) / name
            shutil.copytree(arguments.repository / arguments.model, copy)
            for path in copy.rglob("*.pbtxt"):  # each place's: Triton wants the directory's name in all of them
                path.write_text(path.read_text().replace(f'name: "{arguments.model}"', f'name: "{name}"'))
        with embedded_server(Path(directory)) as url, Measured(url, images) as client:
            models = [client.control.model(name) for name in NAMES]
            for run in range(arguments.runs):
                windows = list(sweep(client.control, client.loader, models, [load], arguments.rounds))
                rows = [summary.row([window for window in windows if window.model is model]) for model in models]
                (ratio,) = summary.ratios(rows, NAMES)
                for figure in hits:
                    hits[figure] += ratio[figure]["low"] <= 1 <= ratio[figure]["high"]
                found = ratio["throughput"]
                print(f"run {run + 1:2}: {found['value']:.3f} [{found['low']:.3f}, {found['high']:.3f}]", flush=True)
    print(f"{machine()}; {arguments.model}, batch {load.batch_size}, {load.concurrency} in flight, {arguments.rounds} "
          f"rounds of {load.seconds:g} s a run")  # fmt: skip
    for figure, count in hits.items():
        print(f"{figure}: the interval contains 1 in {count} of {arguments.runs} runs")


if __name__ == "__main__":
    main()
