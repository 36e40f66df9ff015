"""`python -m server.memory`: how much of the GPU's memory each model of a running server takes, and how many fit.

Models are loaded one after the other, and the driver is asked for what is free before and after: that counts all that a
model holds (weights, activations, its processes' CUDA contexts), which no framework reports.
"""

from __future__ import annotations

import argparse
import json
import logging
import os
import sys
import time
import urllib.error
import urllib.parse
import urllib.request

from console import nvidia, run
from server.errors import ServerError

logger = logging.getLogger("server")

LOAD_TIMEOUT = 600
"""Seconds that loading a model may take: kernels are compiled and every batch size is warmed up."""

SETTLED = 5
"""Seconds after which what an unloaded model held counts as given back: its processes end after the answer."""

ROOMY = 16 << 30
"""Free bytes from which each model gets two instances. With one, four models are meant to fit a card of 8 GB."""

_direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy has no business on this machine


def parser() -> argparse.ArgumentParser:
    """The command line of `python -m server.memory`."""
    top = argparse.ArgumentParser(prog="python -m server.memory", description="GPU memory that models take.")
    top.add_argument("--instances", action="store_true", help="print how many instances a model should have, and end")
    top.add_argument("--url", default=os.environ.get("TRITON_HTTP_URL", "http://127.0.0.1:8000"), help="Triton's HTTP")
    top.add_argument("models", nargs="*", metavar="MODEL", help="to load, in this order; they stay loaded")
    top.set_defaults(run=main)
    return top


def main(arguments: argparse.Namespace) -> None:
    """Print the instances, or load the models and print what each takes."""
    gpus = nvidia.find_gpus()
    if not gpus.gpus:
        raise ServerError(f"no GPU can be used: {gpus.reason}", "make demo runs on a CPU")
    first = gpus.gpus[0]
    free = _free()
    if arguments.instances:
        print(2 if free >= ROOMY else 1)  # noqa: T201  for a Makefile
        return
    logger.info("%s: %s free of %s", first.name, _text(free), _text(first.memory))
    for model in arguments.models:
        _post(arguments.url, model, "unload", {"parameters": {"unload_dependents": False}})
    free = _settled()
    for model in arguments.models:
        _post(arguments.url, model, "load", {})
        left = _free()
        logger.info("%s takes %s of GPU memory; %s are left", model, _text(max(free - left, 0)), _text(left))
        free = left


def _free() -> int:
    try:
        return nvidia.free_memory()
    except (OSError, nvidia.DriverError) as error:
        raise ServerError(f"the GPU cannot be asked for its memory: {error}", "free GPU memory and try again") from None


def _settled() -> int:
    """What is free once it no longer grows."""
    deadline, free = time.monotonic() + SETTLED, _free()
    while time.monotonic() < deadline:
        time.sleep(1)
        before, free = free, _free()
        if free == before:
            break
    return free


def _post(url: str, model: str, action: str, body: dict[str, object]) -> None:
    """Ask Triton to load or unload a model, and wait until it has.

    Raises:
        ServerError: Triton cannot, or does not answer.
    """
    address = f"{url}/v2/repository/models/{urllib.parse.quote(model, safe='')}/{action}"
    request = urllib.request.Request(address, json.dumps(body).encode(), method="POST")  # noqa: S310  http, see --url
    try:
        with _direct.open(request, timeout=LOAD_TIMEOUT):
            return
    except urllib.error.HTTPError as error:
        raise ServerError(f"Triton cannot {action} {model}: {_reason(error)}", "the server's log says more") from None
    except (OSError, ValueError) as error:
        raise ServerError(f"Triton at {url} does not answer: {error}", "name its HTTP address with --url") from None


def _reason(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.loads(error.read())["error"])
    except (ValueError, KeyError, TypeError):
        return f"HTTP {error.code}"


def _text(size: int) -> str:
    return f"{size / (1 << 30):.2f} GiB"


if __name__ == "__main__":
    sys.exit(run(parser()))
