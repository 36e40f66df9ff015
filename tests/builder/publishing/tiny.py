"""A model of one byte, for what is done with versions and not with what is in them."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

from builder.publishing.repository import Model, Repository
from console.triton_configuration import parse
from tests.support.triton import ROOT

CONFIG = 'name: "tiny"\nversion_policy { latest { num_versions: 1 } }\nmax_batch_size: %d\n'


def model(content: bytes, size: int = 4, **changes: object) -> Model:
    base = Model(
        name="tiny",
        config=CONFIG % size,
        files={"labels.txt": b"a\nb\n", "configs/cpu.pbtxt": (CONFIG % (10 * size)).encode()},
        version_files={"model.onnx": content},
        model_file="model.onnx",
        provenance={"built": "2026-11-26T09:01:20+00:00"},
    )
    return replace(base, **changes)


def builder(*arguments: str, **options: object) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "builder", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120, **options)


def sizes(repository: Repository) -> tuple[int, int]:
    """max_batch_size of config.pbtxt and of configs/cpu.pbtxt."""
    files = (repository.path / "tiny" / name for name in ("config.pbtxt", "configs/cpu.pbtxt"))
    one, other = (parse(file.read_text()).max_batch_size for file in files)
    return one, other
