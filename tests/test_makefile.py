"""Nothing that a path or a variable of the Makefile holds is executed; each arrives where it belongs in one piece."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.support.hostile import NAMES, Sandbox
from tests.support.triton import ROOT

RECORDER = f"""#!{sys.executable} -IS
import json, os, sys
with open(os.environ["RECORD"], "a") as file:
    file.write(json.dumps(sys.argv[1:]) + "\\n")
if "server" in sys.argv and "--" in sys.argv:  # `-m server ... -- COMMAND`
    command = sys.argv[sys.argv.index("--") + 1 :]
    os.execvp(command[0], command)
"""
GIVEN = {
    "demo": {"REPOSITORY", "RESULTS", "CHECKPOINT", "MODELS"},
    "demo-gpu": {"REPOSITORY", "RESULTS", "CHECKPOINT", "ROUNDS"},
    "repository-image": {"REPOSITORY", "IMAGE", "BASE"},
    "check": {"REPOSITORY", "MODEL", "URL", "RESULTS"},
    "report": {"RESULTS"},
    "build-repo": {"REPOSITORY", "CHECKPOINT", "MODELS"},
    "build-repo-docker": {"REPOSITORY", "CHECKPOINT", "MODELS", "CIFAR10_DIR", "TRITON_RELEASE"},
    "train": {"RECIPE"},
    "versions": {"REPOSITORY"},
    "verify": {"REPOSITORY"},
    "rollback": {"REPOSITORY", "MODEL", "VERSION"},
    "serve-local": {"REPOSITORY"},
    "reload": {"MODEL", "URL"},
    "accuracy": {"REPOSITORY", "MODEL", "URL", "RESULTS"},
    "latency": {"REPOSITORY", "MODEL", "URL", "RESULTS"},
    "perf": {"REPOSITORY", "MODEL", "URL", "RESULTS"},
    "compare": {"REPOSITORY", "URL", "RESULTS", "ROUNDS"},
    "analyze": {"MODEL", "URL", "RESULTS"},
    "clean": set(),
}
"""Target -> the variables that its commands must be given."""


def run_make(target: str, value: str, directory, *, through_environment: bool):
    """Run a target in a directory of this name, with all variables of this value.

    Returns:
        the exit code, what every program was given, the traces of what was executed, and what make said.
    """
    sandbox = Sandbox(directory)
    clone = sandbox.cwd / value
    for python in (".venv/bin/python", ".venv-server/bin/python", "tools/docker"):
        program = clone / python
        program.parent.mkdir(parents=True)
        program.write_text(RECORDER)
        program.chmod(0o755)
    for entry in ("Makefile", "requirements", "docker"):
        (clone / entry).symlink_to(ROOT / entry)
    (clone / "model_repository").mkdir()
    for environment in (".venv", ".venv-server"):
        (clone / environment / ".ready").touch()
    (clone / ".venv-server/.ready-gpu").touch()
    (clone / ".cache/analyzer").mkdir(parents=True)
    (clone / ".cache/analyzer/.ready").touch()
    (clone / value / "model").mkdir(parents=True, exist_ok=True)
    (clone / value / "model" / "config.pbtxt").touch()
    (clone / value / "compare").mkdir()
    (clone / value / "compare" / "latency.json").touch()
    record = directory / "record"
    record.touch()
    inherited = {key: text for key, text in sandbox.environment.items() if not key.startswith(("MAKE", "MFLAGS"))}
    inherited |= {"RECORD": str(record), "PATH": f"tools:{inherited['PATH']}"}
    given = dict.fromkeys(sorted(set().union(*GIVEN.values())), value)
    arguments = [] if through_environment else [f"{key}={text}" for key, text in given.items()]
    done = subprocess.run(
        ["make", target, *arguments],
        cwd=clone,
        env=inherited | (given if through_environment else {}),
        capture_output=True,
        text=True,
        errors="surrogateescape",
        timeout=60,
        check=False,
    )
    traces = [trace for trace in sandbox.traces() if trace != value]
    return done, [json.loads(line) for line in record.read_text().splitlines()], traces


@pytest.mark.parametrize("through_environment", [False, True], ids=["argument", "environment"])
@pytest.mark.parametrize("target", GIVEN)
@pytest.mark.parametrize("key", ["space", "single_quotes", "double_quotes", "substitution", "newline", "every"])
def test_variables_and_the_project_s_place_are_taken_as_they_stand(key, target, through_environment, tmp_path):
    name = NAMES[key]
    done, commands, traces = run_make(target, name, tmp_path, through_environment=through_environment)
    assert traces == []
    assert done.returncode == 0, done.stderr
    said = [word for command in commands for word in command]
    for variable in GIVEN[target]:
        assert any(name in word for word in said), f"{variable} did not arrive whole: {said}"


def test_the_analysis_has_a_server_of_its_own_unless_one_is_named(tmp_path):
    done = subprocess.run(
        ["make", "--file", str(ROOT / "Makefile"), "--dry-run", "analyze", "REPOSITORY=a b", "MODEL=$(canary) c"],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert '-m server --repository="$REPOSITORY"' in done.stdout
    assert '-- .venv/bin/python -m client analyze --model="$MODEL"' in done.stdout
    assert "canary" not in done.stdout


def test_make_s_own_functions_are_not_called(tmp_path):
    name = "$(shell canary)${shell canary}"
    done, commands, traces = run_make("serve-local", name, tmp_path, through_environment=True)
    assert done.returncode == 0, done.stderr
    assert traces == []
    assert commands == [["-m", "server", f"--repository={name}"]]


@pytest.mark.parametrize("key", NAMES)
def test_a_repository_of_any_name_reaches_the_builder_whole(key, tmp_path):
    done, commands, traces = run_make("build-repo", NAMES[key], tmp_path, through_environment=True)
    assert done.returncode == 0, done.stderr
    assert traces == []
    assert f"--repository={NAMES[key]}" in commands[0]


def test_docker_cannot_mount_a_path_with_a_colon(tmp_path):
    done, commands, _ = run_make("build-repo-docker", NAMES["colon"], tmp_path, through_environment=False)
    assert done.returncode != 0
    assert "its path holds ':'" in done.stderr
    assert len(commands) == 1, "only whether Docker is there was asked"


VARIABLES = ("REPOSITORY", "MODEL", "RECIPE", "URL", "RESULTS", "CHECKPOINT", "MODELS", "CIFAR10_DIR", "TRITON_RELEASE")


@pytest.mark.parametrize("through_environment", [False, True], ids=["argument", "environment"])
@pytest.mark.parametrize("variable", VARIABLES)
def test_commands_see_a_variable_however_it_was_given(variable, through_environment):
    """Python and Docker read them from the environment."""
    value = "a b $(canary) 'c"
    show = f'show: ; @printf "<%s>" "$${variable}"'
    done = subprocess.run(
        ["make", "--eval", show, "show", *([] if through_environment else [f"{variable}={value}"])],
        cwd=ROOT,
        env={"PATH": "/usr/bin:/bin"} | ({variable: value} if through_environment else {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == f"<{value}>", done.stderr


def test_a_report_of_nothing_is_one_line_with_what_to_do(tmp_path):
    command = ["make", "--old-file=.venv/.ready", "report", f"RESULTS={tmp_path}/a b"]
    done = subprocess.run(
        command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode != 0
    assert done.stderr.startswith(f"error: {tmp_path}/a b/compare holds no results; make compare makes them\n")


def test_what_was_not_given_is_not_there():
    for variable in ("CIFAR10_DIR", "TRITON_RELEASE"):  # empty, they would mean something else
        command = ["make", "--eval", f"show: ; @printenv {variable} || echo none", "show"]
        done = subprocess.run(
            command, cwd=ROOT, env={"PATH": "/usr/bin:/bin"}, capture_output=True, text=True, timeout=60, check=True
        )
        assert done.stdout == "none\n"


@pytest.mark.parametrize("through_environment", [False, True], ids=["argument", "environment"])
def test_docker_cannot_mount_images_below_a_colon(through_environment, tmp_path):
    docker = tmp_path / "docker"
    docker.write_text('#!/bin/sh\n[ "$1" = info ] || echo "docker $*"\n')
    docker.chmod(0o755)
    given = {"CIFAR10_DIR": "/data/12:30"}
    done = subprocess.run(
        ["make", "build-repo-docker", *(f"{key}={value}" for key, value in given.items() if not through_environment)],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"} | (given if through_environment else {}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode != 0
    assert "Docker cannot mount '/data/12:30': its path holds ':'" in done.stderr
    assert done.stdout == ""


def test_a_name_of_an_interpreter_is_not_executed(tmp_path):
    sandbox = Sandbox(tmp_path)
    for entry in ("Makefile", "requirements", "docker"):
        (sandbox.cwd / entry).symlink_to(ROOT / entry)
    done = subprocess.run(
        ["make", "setup", 'PYTHON=$(canary) `canary`; canary "'],
        cwd=sandbox.cwd,
        env={key: text for key, text in sandbox.environment.items() if not key.startswith(("MAKE", "MFLAGS"))},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode != 0
    assert "is not a Python 3.10 to 3.13" in done.stderr
    assert set(sandbox.traces()) <= {"Makefile", "requirements", "docker"}


@pytest.mark.parametrize(
    ("given", "expected"),
    [({}, "python3"), ({"PYTHON": "/a b/python"}, "/a b/python"), ({"SERVER_PYTHON": "$(other)"}, "$(other)")],
    ids=["nothing", "one for both", "one for the server"],
)
def test_the_server_s_interpreter_is_the_other_one_s_unless_it_is_named(given, expected):
    made = subprocess.run(
        ["make", "--file", str(ROOT / "Makefile"), "--eval", 'show: ; @printf %s "$$PYTHON_OF_SERVER"', "show"],
        env={"PATH": "/usr/bin:/bin"} | given,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert made.stdout == expected
