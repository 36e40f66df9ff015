"""`python -m builder inspect` on a repository that others wrote."""

from __future__ import annotations

import subprocess
import sys

import pytest

from tests.support.triton import ROOT


def inspect(*arguments: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "builder", "inspect", *arguments]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=120)


def test_a_byte_order_mark_is_named_and_the_hint_takes_it_off(tmp_path):
    config = tmp_path / "it's marked/config.pbtxt"
    config.parent.mkdir()
    config.write_text('\ufeffplatform: "onnxruntime_onnx"\n')
    marked = inspect(str(tmp_path))
    assert marked.returncode == 1
    error, hint = marked.stderr.splitlines()[-2:]
    assert error == f"error: {config} begins with a byte-order mark, which Triton does not read"
    subprocess.run(["bash", "-c", hint.split(": ", 2)[2]], check=True, timeout=60)
    assert config.read_text() == 'platform: "onnxruntime_onnx"\n'
    assert "byte-order mark" not in inspect(str(tmp_path)).stderr


WRONG = (
    'platform: "tensorrt_plan"\nmax_batch_size: 8\noptimization { cuda { graphs: true output_copy_stream: true } }\n'
)
RIGHT = WRONG.replace("output_copy_stream: true", "output_copy_stream: false")
UNREADABLE = {
    "not text": b"\xff\xfe\x00",
    "twice": (WRONG + WRONG.splitlines()[-1]).encode(),
    "cut off": WRONG[:-4].encode(),
    "unknown field": b"colour: 3\n",
    "marked": "\ufeffmax_batch_size: 1\n".encode(),
}


@pytest.mark.parametrize("kind", UNREADABLE)
def test_a_configuration_that_cannot_be_read_does_not_hide_the_others(tmp_path, kind):
    for name, content in (("a", UNREADABLE[kind]), ("b", RIGHT.encode()), ("c", WRONG.encode())):
        (tmp_path / name).mkdir()
        (tmp_path / name / "config.pbtxt").write_bytes(content)
    done = inspect(str(tmp_path))
    said = done.stderr.splitlines()
    assert done.returncode == 2
    assert [line for line in said if line.startswith("a: ") and str(tmp_path / "a/config.pbtxt") in line], done.stderr
    assert [line[:2] for line in said if "its answers are WRONG" in line] == ["c:"]
    assert "Traceback" not in done.stderr
    (tmp_path / "c/config.pbtxt").write_text(RIGHT)
    assert inspect(str(tmp_path)).returncode == 1
