"""INT8 beside FP32 through the embedded Triton, and one instance of all cores beside several of fewer threads.

    .venv/bin/python benchmarks/int8_against_fp32.py --output benchmarks/results/int8-against-fp32.json

One server holds both models, and each once more with as many instances as there are cores (the backend then gives each
one thread). perf_analyzer sends the requests; in a round every model is measured once, the others idle, and the order
rotates. Ratios are over rounds, with their 95 % interval.
"""

from __future__ import annotations

import argparse
import dataclasses
import json
import os
import re
import shutil
import sys
import tempfile
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import Measured, by_perf_analyzer, embedded_server  # noqa: E402  run from its folder
from client.images import unlabelled  # noqa: E402
from client.load import perf_analyzer  # noqa: E402
from client.load.generator import Load  # noqa: E402
from client.load.sweep import rotated  # noqa: E402
from client.results import environment  # noqa: E402
from client.statistics import estimates  # noqa: E402

FP32, INT8 = "resnet18_onnx", "resnet18_onnx_int8"


def add(repository: Path, model: Path, instances: int) -> str:
    """Copy a model, with so many instances on the CPU; returns its name there."""
    name = model.name if instances == 1 else f"{model.name}_x{instances}"
    shutil.copytree(model, repository / name, ignore=shutil.ignore_patterns("configs"))
    named = model / "configs" / "cpu.pbtxt"
    config = (named if named.exists() else model / "config.pbtxt").read_text()
    config = config.replace(f'name: "{model.name}"', f'name: "{name}"')
    config = re.sub(
        r"instance_group \{.*?\}", f"instance_group {{ count: {instances} kind: KIND_CPU }}", config, flags=re.S
    )
    (repository / name / "config.pbtxt").write_text(config)
    return name


def ratio(rounds: list[dict[str, float]], model: str, baseline: str) -> dict[str, object]:
    """How many times the baseline's images a second."""
    found = estimates.ratio_over_rounds([row[model] for row in rounds], [row[baseline] for row in rounds])
    return {"model": model, "baseline": baseline, **dataclasses.asdict(found)}


def window(client: Measured, name: str, load: Load) -> Load:
    """Long enough for 25 requests: perf_analyzer leaves out those that only begin or end in it."""
    rate = client.images_per_second(name, load)
    return dataclasses.replace(load, seconds=max(load.seconds, 25 * load.batch_size / max(rate, 1)))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repository", type=Path, default=ROOT / "model_repository")
    parser.add_argument("--batch-size", default="1,8,64")
    parser.add_argument("--concurrency", default="2")
    parser.add_argument("--only-one-instance", action="store_true", help="leave the models of several instances out")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1, help="of a window, at least; perf_analyzer takes three")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()

    cores = len(os.sched_getaffinity(0))
    images_name, images = unlabelled(None)
    results = []
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory)
        counts = (1,) if arguments.only_one_instance or cores == 1 else (1, cores)
        names = [add(repository, arguments.repository / model, count) for count in counts for model in (FP32, INT8)]
        wanted = [f"--load={name}" for name in names]
        with (
            perf_analyzer.located(None, docker=False) as binary,
            embedded_server(repository, *wanted) as url,
            Measured(url, images) as client,
        ):
            for size in map(int, arguments.batch_size.split(",")):
                for concurrency in map(int, arguments.concurrency.split(",")):
                    loads = {name: window(client, name, Load(size, arguments.seconds, concurrency)) for name in names}
                    rounds = []
                    for number in range(arguments.rounds):
                        order = rotated(names, number)
                        rounds.append({name: by_perf_analyzer(binary, client, name, loads[name]) for name in order})
                    ratios = [ratio(rounds, INT8, FP32)]
                    ratios += [ratio(rounds, f"{name}_x{cores}", name) for name in (FP32, INT8) if len(counts) > 1]
                    means = {name: estimates.mean_over_rounds([row[name] for row in rounds]).value for name in names}
                    results.append({"batch_size": size, "concurrency": concurrency,
                                    "seconds": {name: load.seconds for name, load in loads.items()},
                                    "rounds": rounds, "images_per_second": means, "ratios": ratios})  # fmt: skip
                    for found in ratios:
                        print(
                            f"batch {size}, {concurrency} in flight: {found['model']} / {found['baseline']} "
                            f"{found['value']:.2f} [{found['low']:.2f}, {found['high']:.2f}]",
                            flush=True,
                        )
                    print({name: round(value, 1) for name, value in means.items()}, flush=True)
    if arguments.output:
        result = {"command": " ".join(sys.argv), "date": str(date.today()), "images": images_name,
                  "client": "perf_analyzer", "results": results, "environment": environment()}  # fmt: skip
        arguments.output.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
