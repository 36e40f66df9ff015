"""What can be known of the builder image without building it."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from builder.__main__ import parser

ROOT = Path(__file__).parents[2]
DOCKER = ROOT / "docker"
DOCKERFILE = (DOCKER / "builder.Dockerfile").read_text()


def compile_library(directory: Path, major: int, number: int) -> None:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("no C compiler (cc, gcc) to compile a stub libnvinfer with")
    source = f"int getInferLibVersion(void) {{ return {number}; }}"
    command = [compiler, "-shared", "-fPIC", "-x", "c", "-", "-o", str(directory / f"libnvinfer.so.{major}")]
    subprocess.run(command, input=source, text=True, check=True)


def version_of_image(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCKER / "tensorrt_of_image.py")],
        env={"PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin", "LD_LIBRARY_PATH": str(directory)},
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.mark.parametrize(("major", "number", "version"), [(11, 110201, "11.2.1"), (10, 101601, "10.16.1")])
def test_the_library_itself_says_which_version_it_is(tmp_path, major, number, version):
    compile_library(tmp_path, major, number)
    (tmp_path / "libnvinfer_plugin.so.11").touch()  # another library, whose name begins alike
    done = version_of_image(tmp_path)
    assert (done.returncode, done.stdout) == (0, f"{version}\n"), done.stderr


def test_no_library_and_two_libraries_are_refused(tmp_path):
    done = version_of_image(tmp_path)
    assert done.returncode == 1
    assert "expected one libnvinfer.so.N on this system; found none" in done.stderr
    compile_library(tmp_path, 10, 101601)
    compile_library(tmp_path, 11, 110201)
    assert "found libnvinfer.so.10, libnvinfer.so.11" in version_of_image(tmp_path).stderr


def test_it_is_made_from_the_image_that_serves():
    compose = (DOCKER / "compose.yaml").read_text()
    served = re.search(r"image: (\S+)", compose)[1].replace(":?", "")
    assert f"FROM {served}\n" in DOCKERFILE


def test_what_it_copies_is_there_and_not_ignored():
    ignored = (DOCKER / "builder.Dockerfile.dockerignore").read_text().split()
    copied = re.findall(r"^COPY (?:--\S+ )?(\S+) ", DOCKERFILE, re.MULTILINE)
    assert len(copied) == 3
    for source in copied:
        assert (ROOT / source).is_file()
        assert f"!{source}" in ignored


def test_its_command_is_one_that_the_builder_has():
    script = (DOCKER / "builder-entrypoint.sh").read_text()
    command = re.search(r"exec python -m builder (.*)", script)[1]
    arguments = command.replace('"$(</opt/builder/tensorrt-version)"', "11.2.1").replace('"$@"', "").split()
    parsed = parser().parse_args(arguments)
    assert parsed.require_tensorrt
    assert parsed.serving_tensorrt == "11.2.1"


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "TRITON"))}
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("release", ["", "26.06"])
def test_make_builds_for_the_release_that_make_serve_starts(release, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text(f'#!/bin/sh\necho "$*" >> "{tmp_path}/asked"\n')
    docker.chmod(0o755)
    done = make("build-repo-docker", PATH=f"{tmp_path}:{os.environ['PATH']}", TRITON_RELEASE=release)
    assert done.returncode == 0, done.stderr
    expected = release or re.search(r"^TRITON_RELEASE=(.*)$", (DOCKER / ".env").read_text(), re.MULTILINE)[1]
    _, build, run = (tmp_path / "asked").read_text().splitlines()
    assert f"--build-arg TRITON_RELEASE={expected} --tag resnet18-builder:{expected} " in build
    assert run.endswith(f"resnet18-builder:{expected} --repository=model_repository")


def test_without_docker_it_is_one_clear_line(tmp_path):
    for tool in ("bash", "make"):
        (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = make("build-repo-docker", PATH=str(tmp_path))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == ["error: Docker is not installed; 'make build-repo' builds the ONNX model without it"]
