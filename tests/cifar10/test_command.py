"""`python -m cifar10`: which images will a measurement use?"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import REAL_IMAGES

ROOT = Path(__file__).parents[2]


@pytest.fixture
def locate(tmp_path):
    def run(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cifar10", "--no-download", *arguments]
        base = {"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(tmp_path)}
        return subprocess.run(
            command, cwd=tmp_path, env=base | environment, capture_output=True, text=True, check=False
        )

    return run


def test_no_dataset_is_an_error_that_says_how_to_name_one(locate):
    done = locate()
    assert done.returncode == 1
    assert "CIFAR10_DIR" in done.stderr


def test_no_dataset_is_said_where_synthetic_images_will_do(locate):
    done = locate("--or-synthetic")
    assert done.returncode == 0
    assert done.stderr.startswith("SYNTHETIC IMAGES")


def test_a_directory_that_was_named_is_never_replaced_silently(locate):
    done = locate("--or-synthetic", CIFAR10_DIR="/no/such")
    assert done.returncode == 1
    assert "/no/such does not exist" in done.stderr


def test_real_images_are_called_what_they_are(locate, cifar10_test):
    done = locate(CIFAR10_DIR=str(Path(REAL_IMAGES).resolve()))
    assert done.stderr == f"{cifar10_test.name}: {len(cifar10_test):,} test images\n"
