"""How much of perf_analyzer's throughput this client reaches on a model that computes next to nothing.

    .venv/bin/python benchmarks/client_overhead.py

Both load the same embedded server over gRPC, closed loop, in alternating order; the model costs so little that what is
left is the client, the server's front end and the way between them.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, by_perf_analyzer, embedded_server, machine  # noqa: E402  run from its folder
from client.load import perf_analyzer  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.statistics import estimates  # noqa: E402
from tests.support import models  # noqa: E402


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--concurrency", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--seconds", type=float, default=2, help="a window")
    arguments = parser.parse_args()
    load = Load(arguments.batch_size, arguments.seconds, arguments.concurrency)
    images = np.zeros((512, 32, 32, 3), np.uint8)
    rates: dict[str, list[float]] = {"perf_analyzer": [], "client": []}
    with tempfile.TemporaryDirectory() as directory, perf_analyzer.located(None, docker=False) as binary:
        models.add_classifier(Path(directory), "cheap", config="\n")
        with embedded_server(Path(directory)) as url, Measured(url, images) as client:
            for number in range(arguments.rounds):
                for side in list(rates)[:: -1 if number % 2 else 1]:
                    if side == "client":
                        rates[side].append(client.images_per_second("cheap", load))
                    else:
                        rates[side].append(by_perf_analyzer(binary, client, "cheap", load))
                print(f"round {number + 1}: " + ", ".join(f"{side} {rate[-1]:,.0f}" for side, rate in rates.items()))
    ratio = estimates.ratio_over_rounds(rates["client"], rates["perf_analyzer"])
    print(f"{machine()}; batch {load.batch_size}, {load.concurrency} in flight, {arguments.rounds} rounds, images/s")
    means = {side: estimates.mean_over_rounds(rate).value for side, rate in rates.items()}
    print(f"client {means['client']:,.0f}, perf_analyzer {means['perf_analyzer']:,.0f}: "
          f"{ratio.value:.3f} [{ratio.low:.3f}, {ratio.high:.3f}]")  # fmt: skip


if __name__ == "__main__":
    main()
