"""Hostile names as repository, as directory for temporary files and as model: what becomes of each, and how soon.

    .venv/bin/python benchmarks/hostile_names.py

One start of the embedded Triton for each name, one after the other: a repository of that name, with a model of that
name and one called doubler, and TMPDIR of that name. Seconds are those until every model is ready or refused; each
model that is served is asked a question. What a name had executed would show as a trace.
"""

from __future__ import annotations

import argparse
import platform
import sys
import tempfile
import time
from datetime import date
from pathlib import Path

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from tests.server.triton.test_hostile_names import CPU, DOUBLER, doubles  # noqa: E402  run from its folder
from tests.support import models  # noqa: E402
from tests.support.hostile import NAMES, Sandbox  # noqa: E402
from tests.support.triton import start_server  # noqa: E402


def try_name(name: str, directory: Path) -> tuple[str, float, list[str]]:
    """What became of the model of this name, seconds until it was ready or refused, and traces."""
    sandbox = Sandbox(directory)
    repository, temporary = directory / name, directory / "temporary" / name
    for model in ("doubler", name):
        models.add_doubler(repository, model, config=DOUBLER + CPU)
    temporary.mkdir(parents=True)
    started = time.monotonic()
    with start_server(repository, cwd=sandbox.cwd, env={**sandbox.environment, "TMPDIR": str(temporary)}) as served:
        seconds = time.monotonic() - started
        answered = [doubles(served, model) for model in served.models]
        outcome = "served" if len(answered) == 2 else f"refused: {served.left_out[name]}"
    return outcome if all(answered) else "answered wrong", seconds, sandbox.traces()


def main() -> None:
    argparse.ArgumentParser(description=__doc__.splitlines()[0]).parse_args()
    outcomes = {}
    for key, name in NAMES.items():
        with tempfile.TemporaryDirectory() as directory:
            outcomes[key] = outcome, seconds, traces = try_name(name, Path(directory))
        print(f"{key:20} {name!r:24} {seconds:5.1f} s  {outcome}  {traces or ''}", flush=True)
    served = sum(outcome == "served" for outcome, _, _ in outcomes.values())
    refused = sum(outcome.startswith("refused") for outcome, _, _ in outcomes.values())
    executed = sum(bool(traces) for *_, traces in outcomes.values())
    print(
        f"\n{date.today()}, {platform.node()}: {len(outcomes)} names as repository and TMPDIR, all served; as model "
        f"{served} served, {refused} refused in one line; executed: {executed}; "
        f"slowest {max(seconds for _, seconds, _ in outcomes.values()):.1f} s"
    )


if __name__ == "__main__":
    main()
