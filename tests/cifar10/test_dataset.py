from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from cifar10 import Dataset, Split

ROOT = Path(__file__).parents[2]


def dataset(count: int) -> Dataset:
    return Dataset(np.zeros((count, 32, 32, 3), np.uint8), np.arange(count), "CIFAR-10", "0" * 64, Split.TEST)


def test_head_takes_the_first_images_and_keeps_what_they_are_called() -> None:
    head = dataset(5).head(2)
    assert len(head) == 2
    assert head.images.shape == (2, 32, 32, 3)
    assert head.labels.tolist() == [0, 1]
    assert (head.name, head.split) == ("CIFAR-10", Split.TEST)


def test_head_beyond_the_end_is_the_whole_and_below_zero_is_refused() -> None:
    assert len(dataset(3).head(10)) == 3
    with pytest.raises(ValueError, match="-1"):
        dataset(3).head(-1)


def test_importing_the_package_loads_nothing_heavy() -> None:
    program = (
        "import sys, cifar10; print([m for m in ('pyarrow', 'PIL', 'rich', 'torch', 'scipy') if m in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True, cwd=ROOT)
    assert done.stdout.strip() == "[]"
