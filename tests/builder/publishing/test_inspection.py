"""`python -m builder inspect` on a repository that others wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.support.foreign_configurations import BOOLEANS
from tests.support.triton import ROOT


def inspect(*arguments: str, cwd: Path = ROOT) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "builder", "inspect", *arguments]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    return subprocess.run(command, cwd=cwd, env=environment, capture_output=True, text=True, check=False, timeout=120)


def write(repository: Path, name: str, content: str | bytes, file: str = "config.pbtxt") -> None:
    path = repository / name / file
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)


def wrong(said: str) -> list[str]:
    """The models that are said to answer wrong."""
    return [line.split(":")[0] for line in said.splitlines() if "its answers are WRONG" in line]


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
        write(tmp_path, name, content)
    done = inspect(str(tmp_path))
    said = done.stderr.splitlines()
    assert done.returncode == 2
    assert [line for line in said if line.startswith("a: ") and str(tmp_path / "a/config.pbtxt") in line], done.stderr
    assert wrong(done.stderr) == ["c"]
    assert "Traceback" not in done.stderr
    (tmp_path / "c/config.pbtxt").write_text(RIGHT)
    assert inspect(str(tmp_path)).returncode == 1


def test_wrong_answers_are_named_however_the_configuration_is_written(tmp_path):
    """What Triton takes for true and for a comment, it takes for that here too."""
    both = 'platform: "tensorrt_plan" optimization {{ cuda {{ graphs: {0} output_copy_stream: {0} }} }}'
    values = {written.decode(): value for written, value in BOOLEANS.items() if value is not None}
    for number, written in enumerate(values):
        write(tmp_path, f"m{number}", both.format(written))
    write(tmp_path, "latin_1", b"# gr\xf6\xdfe\n" + WRONG.encode())
    done = inspect(str(tmp_path))
    assert done.returncode == 2
    assert wrong(done.stderr) == [
        "latin_1",
        *sorted(f"m{number}" for number, value in enumerate(values.values()) if value),
    ]
    assert "is not a Triton model configuration" not in done.stderr


@pytest.mark.parametrize("others", [0, 1])
def test_a_model_that_has_only_configurations_of_single_places_is_looked_at(tmp_path, others):
    write(tmp_path, "theirs", WRONG, "configs/gpu.pbtxt")
    for number in range(others):
        write(tmp_path, f"other_{number}", RIGHT)
    done = inspect(str(tmp_path))
    assert (done.returncode, wrong(done.stderr)) == (2, ["theirs"])
    assert "(in configs/gpu.pbtxt)" in done.stderr
    assert inspect(str(tmp_path / "theirs")).returncode == 2


def test_one_configuration_that_cannot_be_read_does_not_hide_the_model_s_others(tmp_path):
    write(tmp_path, "theirs", "{")
    write(tmp_path, "theirs", WRONG, "configs/gpu.pbtxt")
    done = inspect(str(tmp_path))
    assert (done.returncode, wrong(done.stderr)) == (2, ["theirs"])
    assert f"{tmp_path / 'theirs/config.pbtxt'} is not a Triton model configuration" in done.stderr


@pytest.mark.parametrize("names", [["theirs"], ["theirs", "too"]], ids=["one", "two"])
def test_models_of_others_that_are_right_are_no_fault(tmp_path, names):
    for name in names:
        write(tmp_path, name, RIGHT)
    for where in (tmp_path, tmp_path / "theirs"):
        done = inspect(str(where))
        assert done.returncode == 0, done.stderr
        assert "theirs: not built by this project (no provenance.json)" in done.stderr.splitlines()


@pytest.mark.parametrize("inside", [".", "theirs", "theirs/1"])
def test_a_relative_path_does_not_take_a_model_s_name(tmp_path, inside):
    write(tmp_path, "theirs", WRONG)
    write(tmp_path, "theirs", '{"engine": "x"}', "1/provenance.json")
    done = inspect(".", cwd=tmp_path / inside)
    assert wrong(done.stderr) == ["theirs"]


def test_a_directory_without_models_is_said(tmp_path):
    done = inspect(".", cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr.startswith(f"error: {tmp_path} holds no published model")
