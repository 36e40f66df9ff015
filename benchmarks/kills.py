"""What does a SIGKILL leave? Launcher, tritonserver, a model's process and the builder are killed at random moments.

    .venv/bin/python benchmarks/kills.py --output results/kills.json

Meanwhile versions are published and loaded without a pause, each answering differently. After each kill: the repository
is servable, the server that is up (a new one where it was ended) answers as the version that it names, which is the one
published last; and nothing is left in /dev/shm, in the directory for temporary files or beside the repository.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import os
import random
import signal
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path

import numpy as np
import psutil
import tritonclient.grpc as grpcclient
from tritonclient.utils import InferenceServerException

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from benchmarks.served import machine  # noqa: E402  run from its folder, not installed
from builder.publishing.repository import Model, Repository  # noqa: E402
from builder.publishing.versions import published_versions  # noqa: E402
from tests.support.models import add_classifier  # noqa: E402

NAME = "classifier"
VICTIMS = ("launcher", "tritonserver", "model process", "builder")
PATIENCE = 120.0
"""Seconds in which everything must have come to rest."""


def main() -> None:
    """Kill, look, print and write."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=20, help="in all, the victims in turn (default: %(default)s)")
    parser.add_argument("--seed", type=int, help="of the moments (default: a new one, which is printed)")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--publish", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.publish:
        publish_for_ever(given.publish)
    seed = given.seed if given.seed is not None else random.SystemRandom().randrange(1 << 32)
    print(f"seed {seed}", flush=True)
    moments = random.Random(seed)
    rows = []
    for number in range(given.kills):
        rows.append(kill_one(VICTIMS[number % len(VICTIMS)], moments.uniform(0.0, 4.0)))
        print(json.dumps(rows[-1]), flush=True)
    faults = [row for row in rows if row["faults"]]
    result = {"machine": machine(), "seed": seed, "kills": len(rows), "with_faults": len(faults), "rows": rows}
    if given.output:
        given.output.parent.mkdir(parents=True, exist_ok=True)
        given.output.write_text(json.dumps(result, indent=2) + "\n")
    print(f"{len(rows)} kills, {len(faults)} with faults")
    sys.exit(2 if faults else 0)


def kill_one(victim: str, moment: float) -> dict:
    """Serve, publish and load; kill one of them after `moment` seconds; say what is wrong afterwards."""
    with tempfile.TemporaryDirectory() as directory:
        repository = Path(directory) / "place" / "repository"
        publish(repository)
        launcher, ready = start(repository, Path(directory) / "ready")
        builder = subprocess.Popen([sys.executable, __file__, f"--publish={repository}"], start_new_session=True)
        faults = []
        try:
            killed = kill_after(victim, moment, launcher, builder, ready)
            faults += after_a_kill(victim, launcher, builder, ready, repository, Path(directory))
        finally:
            for process in (builder, launcher):
                process.kill() if process is builder else process.terminate()
                process.wait(PATIENCE)
        faults += left_behind(launcher.pid)
        beside = sorted(path.name for path in repository.parent.iterdir() if path.name != repository.name)
        faults += [f"left beside the repository: {name}" for name in beside if name != ".repository.lock"]
    return {"victim": victim, "after_s": round(moment, 3), "killed": killed, "faults": faults}


def kill_after(victim: str, moment: float, launcher: subprocess.Popen, builder: subprocess.Popen, ready: dict) -> int:
    """Load again and again, and SIGKILL the victim at its moment, in the middle of a load or not; its process id."""
    until = time.monotonic() + moment
    call = None
    while time.monotonic() < until:
        call = call if call and call.is_alive() else load(ready["grpc"])
        time.sleep(0.01)
    pids = {"launcher": launcher.pid, "tritonserver": ready["server_pid"], "builder": builder.pid}
    if victim == "model process":
        children = psutil.Process(ready["server_pid"]).children()
        pids[victim] = max(children, key=lambda process: process.create_time()).pid  # the one being loaded, if one is
    os.kill(pids[victim], signal.SIGKILL)
    if call:
        call.join(30)
    return pids[victim]


def load(url: str) -> threading.Thread:
    """Have the model loaded, on a thread."""

    def call() -> None:
        with contextlib.suppress(InferenceServerException), grpcclient.InferenceServerClient(url) as client:
            client.load_model(NAME, client_timeout=15)

    thread = threading.Thread(target=call, daemon=True)
    thread.start()
    return thread


def after_a_kill(
    victim: str,
    launcher: subprocess.Popen,
    builder: subprocess.Popen,
    ready: dict,
    repository: Path,
    directory: Path,
) -> list[str]:
    """What is wrong with the repository and with the answers; the builder ends, and publishes once more."""
    builder.kill()
    builder.wait()
    if victim in ("launcher", "tritonserver"):
        launcher.wait(PATIENCE)
        deadline = time.monotonic() + PATIENCE
        while psutil.pid_exists(ready["server_pid"]) and time.monotonic() < deadline:
            time.sleep(0.1)
        launcher, ready = start(repository, directory / "ready2")
        faults = [*wrong_answers(ready["grpc"], published_versions(repository / NAME)[-1])]
        launcher.terminate()
        launcher.wait(PATIENCE)
        faults += left_behind(launcher.pid)
    else:
        faults = [*wrong_answers(ready["grpc"], None)]
    publish(repository)  # what a killed builder left goes with the next one
    return faults


def wrong_answers(url: str, version: int | None) -> list[str]:
    """Ask until there is an answer; what is wrong with it."""
    images = np.arange(256, dtype=np.uint8).repeat(32 * 32 * 3).reshape(256, 32, 32, 3)[:64]
    given = grpcclient.InferInput("images", images.shape, "UINT8")
    given.set_data_from_numpy(images)
    deadline = time.monotonic() + PATIENCE
    with grpcclient.InferenceServerClient(url) as client:
        while True:
            try:
                answer = client.infer(NAME, [given], client_timeout=10)
                break
            except InferenceServerException as error:
                if time.monotonic() > deadline:
                    return [f"no answer: {error}"]
                time.sleep(0.2)
    found = int(answer.get_response().model_version)
    expected = np.eye(10, dtype=np.float32)[images[:, 0, 0, 0] % modulus_of(found)]
    faults = [] if np.array_equal(answer.as_numpy("logits"), expected) else [f"wrong answer of version {found}"]
    return faults if version in (None, found) else [*faults, f"version {found} answers, {version} was published last"]


def modulus_of(version: int) -> int:
    """What a version answers with: known from its number, for whoever published it may have been killed."""
    return 10 - (version - 1) % 7


def publish_for_ever(repository: Path) -> None:
    """The builder to be killed."""
    while True:
        publish(repository)
        time.sleep(0.3)


def publish(repository: Path) -> None:
    """Publish the next version."""
    known = published_versions(repository / NAME)
    modulus = modulus_of((known[-1] if known else 0) + 1)
    with tempfile.TemporaryDirectory() as directory:
        model = add_classifier(Path(directory), NAME, modulus=modulus)
        config = model.parents[1].joinpath("config.pbtxt").read_text()
        labels = model.parents[1].joinpath("labels.txt").read_bytes()
        files = {"model.onnx": model.read_bytes()}
        Repository(repository).publish(Model(NAME, config, {"labels.txt": labels}, files, "model.onnx", {}))


def start(repository: Path, ready: Path) -> tuple[subprocess.Popen, dict]:
    """Start the launcher; it and what it says."""
    command = [ROOT / ".venv-server/bin/python", "-m", "server", f"--repository={repository}", "--http-port=0",
               "--grpc-port=0", "--metrics-port=0", f"--ready-file={ready}"]  # fmt: skip
    process = subprocess.Popen(command, cwd=ROOT, start_new_session=True, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + PATIENCE
    while not ready.exists():
        if process.poll() is not None or time.monotonic() > deadline:
            sys.exit("the server did not start")
        time.sleep(0.05)
    return process, json.loads(ready.read_text())


def left_behind(pid: int) -> list[str]:
    """What a launcher has left; of one that was killed, the next one has taken it away."""
    name = f"embedded_triton_{pid}_"
    deadline = time.monotonic() + 10
    while True:
        places = ("/dev/shm", tempfile.gettempdir())
        found = [f"left: {path}" for place in places for path in Path(place).glob(f"{name}*")]
        for process in psutil.process_iter(["cmdline"]):
            if any(name in argument for argument in process.info["cmdline"] or ()):
                found.append(f"still runs: {process.pid}")
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


if __name__ == "__main__":
    main()
