"""Does the client put time where it was spent? Delays of known length, planted in a model and in a queue.

    .venv/bin/python benchmarks/planted_delays.py

A model that sleeps 20 ms, another that sleeps 0 ms behind a queue that waits 20 ms for more requests, and the first one
under twice the load it can bear, without and with a bound on its queue.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, embedded_server, machine  # noqa: E402  run from its folder, not installed
from client.load import summary  # noqa: E402
from client.load.generator import Load  # noqa: E402
from tests.support import models  # noqa: E402

CLOSED = Load(1, 3, concurrency=1)
OPEN = Load(1, 4, rate=100)


def main() -> None:
    """Measure and print."""
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory)
        models.add_sleeper(repository, "plain", seconds=0)
        models.add_sleeper(repository, "slow", seconds=0.02)
        waiting = "dynamic_batching { preferred_batch_size: 64 max_queue_delay_microseconds: 20000 }\n"
        models.add_sleeper(repository, "queued", seconds=0, config=waiting)
        bounded = "dynamic_batching { default_queue_policy { max_queue_size: 16 } }\n"
        models.add_sleeper(repository, "bounded", seconds=0.02, config=bounded)
        with embedded_server(repository) as url, Measured(url, np.zeros((64, 32, 32, 3), np.uint8)) as client:
            for name in ("plain", "slow", "queued"):
                row = summary.row([client.window(name, CLOSED)])
                server = row["server"]
                print(f"{name:8} one request in flight: p50 {row['latency_ms']['p50']:6.2f} ms; "
                      f"queue {server['queue_ms']:6.2f}, compute infer {server['compute_infer_ms']:6.2f}, "
                      f"outside {row['outside_server_ms']:5.2f} ms")  # fmt: skip
            for name in ("slow", "bounded"):
                row = summary.row([client.window(name, OPEN)])
                quarters = ", ".join(f"{value:,.0f}" for value in row["p50_ms_by_quarter"])
                print(f"{name:8} {OPEN.rate:g} requests/s, twice what it can answer: p50 by quarter of "
                      f"{OPEN.seconds:g} s {quarters} ms; {row['requests']} answered, "
                      f"{row['rejected']} rejected")  # fmt: skip
    print(machine())


if __name__ == "__main__":
    main()
