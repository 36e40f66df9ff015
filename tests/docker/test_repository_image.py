"""The repository's image, as the cluster's init container uses it."""

from __future__ import annotations

import filecmp
import os
import subprocess
from pathlib import Path

import pytest

from tests.support.containers import ROOT, docker, require_engine


def make(*arguments: str) -> subprocess.CompletedProcess[str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS"))}
    return subprocess.run(["make", *arguments], cwd=ROOT, env=inherited, capture_output=True, text=True, check=False)


def test_it_holds_the_repository_byte_for_byte_and_copies_it_as_an_ordinary_user(repository, tmp_path):
    require_engine()
    if "BASE" not in os.environ and not docker("images", "--quiet", "busybox:1.37"):
        docker("pull", "--quiet", "busybox:1.37", check=False)
        if not docker("images", "--quiet", "busybox:1.37"):
            pytest.skip("no base image: busybox:1.37 cannot be pulled, and BASE names no other one")
    image = f"resnet18-repository-test:{os.getpid()}"
    done = make("repository-image", f"REPOSITORY={repository}", f"IMAGE={image}")
    assert done.returncode == 0, done.stderr
    target = tmp_path / "repository"
    target.mkdir()
    os.chown(target, 1000, 1000)
    try:
        confined = ("--read-only", "--user", "1000:1000", "--cap-drop", "ALL", "--network", "none")
        docker(
            "run",
            "--rm",
            *confined,
            "--volume",
            f"{target}:/repository",
            image,
            "cp",
            "-r",
            "/models/.",
            "/repository/",
        )
    finally:
        docker("rmi", image, check=False)
    names = sorted(path.relative_to(repository) for path in repository.rglob("*") if path.is_file())
    assert names
    assert sorted(path.relative_to(target) for path in target.rglob("*") if path.is_file()) == names
    assert filecmp.cmpfiles(repository, target, list(map(str, names)), shallow=False)[0] == list(map(str, names))


def test_an_empty_repository_is_one_clear_line(tmp_path: Path):
    if make("--version").returncode or not any(Path(folder, "docker").exists() for folder in os.get_exec_path()):
        pytest.skip("docker is not installed")
    done = make("repository-image", f"REPOSITORY={tmp_path}")
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert said == [f"error: {tmp_path} holds no models; make build-repo fills it"]
