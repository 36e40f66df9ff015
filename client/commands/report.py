"""`python -m client report`."""

from __future__ import annotations

import argparse
import json
import logging
from pathlib import Path
from typing import Any

from client import results
from client.errors import ClientError
from client.report.claim import claim
from client.report.content import report
from client.report.csv_file import csv_text
from client.report.html import html
from client.report.markdown import markdown
from console.files import write_atomically

logger = logging.getLogger("client")


def main(arguments: argparse.Namespace) -> None:
    """Write report.html, report.md and report.csv from results."""
    found = [results.read(path) for path in arguments.results]
    training = None if arguments.training is None else _history(arguments.training)
    try:
        content = report(found, training)
        files = {"html": html(content), "md": markdown(content), "csv": csv_text(found)}
    except (KeyError, TypeError, IndexError) as error:
        raise ClientError(
            f"a result or the training history lacks what a report needs: {type(error).__name__}: {error}",
            "was a file edited? measure again: make compare",
        ) from error
    for ending, text in files.items():
        write_atomically(arguments.output / f"report.{ending}", text)
    logger.info("%s", content.verdict)
    if closing := claim(found):
        logger.info("%s", closing)
    logger.info("wrote %s, .md and .csv", arguments.output / "report.html")


def _history(run: Path) -> dict[str, Any]:
    """A training run's history, of its directory or of the file itself.

    Raises:
        ClientError: there is none, or it holds no epoch.
    """
    path = run / "history.json" if run.is_dir() else run
    try:
        history = dict(json.loads(path.read_text()))
    except (OSError, ValueError, TypeError) as error:
        raise ClientError(
            f"{path} cannot be read as a training history: {error}", "name a directory under runs/"
        ) from None
    if not history.get("epochs"):
        raise ClientError(f"{path} holds no epoch", "name a directory under runs/")
    return history
