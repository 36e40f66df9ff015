"""A short run of the load test: versions published, refused and rolled back, and no request lost."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from benchmarks.reload_under_load import Load, Request, judge
from tests.support.triton import ROOT, require_server

LOADS = [Load("good", 10, 11, 1, 2), Load("damaged", 20, 21, 2, 2, "refused")]


@pytest.mark.triton
@pytest.mark.slow
def test_no_request_is_lost_while_versions_come_and_go(tmp_path):
    require_server()
    command = [sys.executable, "benchmarks/reload_under_load.py", "--seconds=1", "--least=100"]
    done = subprocess.run([*command, f"--output={tmp_path / 'found.json'}"], cwd=ROOT, capture_output=True, text=True,
                          timeout=240, check=False)  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    found = json.loads((tmp_path / "found.json").read_text())
    assert found["faults"] == []
    assert (found["loads"], found["refused"], found["versions"]) == (7, 2, [1, 2, 3])


@pytest.mark.parametrize(
    ("request_", "said"),
    [
        (Request(1, 2, 1, ""), ""),
        (Request(9, 10.5, 1, ""), ""),
        (Request(9, 10.5, 2, ""), ""),
        (Request(12, 13, 2, ""), ""),
        (Request(1, 2, 2, ""), "answered by version 2 where [1] served"),
        (Request(12, 13, 1, ""), "answered by version 1 where [2] served"),
        (Request(20.5, 22, 3, ""), "answered by version 3 where [2] served"),
        (Request(1, 2, 0, "failed: gone"), "failed: gone"),
    ],
)
def test_the_judge_knows_when_which_version_may_answer(request_, said):
    assert judge([request_], LOADS) == ([said] if said else [])


def test_a_bad_version_that_is_served_is_a_fault():
    assert judge([], [Load("damaged", 1, 2, 1, 2)]) == ["load 'damaged': not refused"]
