"""The commands of README and docs are those that exist, their links lead somewhere, and the demo does what it says."""

from __future__ import annotations

import importlib
import os
import re
import shlex
import subprocess
from pathlib import Path

import pytest

from tests.support.triton import require_server

ROOT = Path(__file__).parents[1]
PAGES = [
    *(ROOT / page for page in ("README.md", "CONTRIBUTING.md", "model_repository/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
WRITTEN = [
    line.split("  #")[0].strip()
    for page in PAGES
    for written in re.findall(r"^```\w*\n(.*?)^```|`([^`\n]+)`", page.read_text(), re.MULTILINE | re.DOTALL)
    for line in "\n".join(written).replace("\\\n", " ").splitlines()
]
COMMANDS = sorted({line for line in WRITTEN if re.match(r"(\w+=\S+ )*make [a-z]", line)})
MODULES = sorted({line for line in WRITTEN if re.match(r"\S*python3? -m (builder|client|server|cifar10) ", line)})
TARGETS = set(re.findall(r"^([a-z-]+):.*?##", (ROOT / "Makefile").read_text(), re.MULTILINE))


def make(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    # A test that `make test` started must not inherit that make's flags and variables.
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("MAKE", "MFLAGS", "CIFAR10"))
    }
    return subprocess.run(
        ["make", *arguments], cwd=ROOT, env=inherited | environment, capture_output=True, text=True, check=False
    )


def test_the_readme_has_commands():
    assert {"make demo", "make test", "make build-repo", "make serve-local"} <= set(COMMANDS)


@pytest.mark.parametrize("command", COMMANDS)
def test_every_make_command_in_the_readme_exists(command):
    words = [word for word in command.split() if word != "make"]
    targets = [word for word in words if "=" not in word]
    assert set(targets) <= TARGETS
    done = make("--dry-run", *words)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("command", MODULES)
def test_every_command_of_a_module_is_one_that_it_takes(command):
    _, _, module, *arguments = shlex.split(command)
    if "--" in arguments:
        arguments = arguments[: arguments.index("--")]
    parser = importlib.import_module(f"{module}.__main__").parser()
    parser.parse_args(arguments)  # leaves with an error where an option or a command does not exist


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_link_leads_to_a_file_of_the_project(page):
    for target in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if re.match(r"\w+://", target):
            continue
        path, _, anchor = target.partition("#")
        linked = page.parent / path if path else page
        assert linked.exists(), f"{page.name} links to {target}"
        if anchor:
            headings = re.findall(r"^#+ (.*)$", linked.read_text(), re.MULTILINE)
            assert anchor in {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


TRACKED = {
    Path(line) for line in subprocess.run(
        ["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout.splitlines()
}  # fmt: skip
ENTRIES = TRACKED | {folder for path in TRACKED for folder in path.parents}
TOP = {path.parts[0] for path in TRACKED} - {"model_repository"}  # a build fills that
MADE = {"docker/secrets"}
"""Named, and made by a command or by hand."""

OTHERS = {"model.py", "image_client.py", "grpc_image_client.py", "requirements.txt"}
"""Files of other people's projects, or of any model's."""


def named_paths(page: Path) -> set[str]:
    """What a page writes as code that is a path of the project: below one of its folders, or a file of its kinds."""
    written = re.findall(r"^```\w*\n(.*?)^```|`([^`\n]+)`", page.read_text(), re.MULTILINE | re.DOTALL)
    words = {word.strip(",;:()'\"") for pair in written for word in "".join(pair).split()}
    paths = {word for word in words if re.fullmatch(r"[\w.*-]+(/[\w.*-]+)*/?", word)}
    below = {path for path in paths if "/" in path and path.split("/")[0] in TOP}
    kinds = {path for path in paths if re.search(r"\.(py|sh|j2|ya?ml|Dockerfile|conf)$", path)}
    return (below | kinds) - OTHERS - MADE


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_every_path_that_a_page_names_exists(page):
    for name in named_paths(page):
        pattern = name.rstrip("/")
        assert any(entry.match(pattern) and (entry not in TRACKED or not name.endswith("/")) for entry in ENTRIES), (
            f"{page.name} names {name}"
        )


def test_the_pages_name_paths_at_all():
    assert {"builder/publishing/kept_versions.py", "server/backends/onnxruntime/"} <= named_paths(PAGES[1])
    assert not [entry for entry in ENTRIES if entry.match("builder/quantization/choice.py")]


def test_every_station_that_the_guide_names_is_a_folder_or_a_module_of_its_package():
    rows = re.findall(r"^\| `(\w+/)` \| (.*) \|$", (ROOT / "CONTRIBUTING.md").read_text(), re.MULTILINE)
    assert {package for package, _ in rows} == {"builder/", "client/", "server/", "console/"}
    for package, stations in rows:
        for name in re.findall(r"`([a-z_]+(?:\.py|/)?)`", stations):
            assert {Path(package) / name, Path(package) / f"{name}.py"} & ENTRIES, f"{package} has no {name}"


def test_every_page_is_reached_from_the_readme():
    assert all(f"docs/{page.name}" in PAGES[0].read_text() for page in PAGES if page.parent.name == "docs")


def test_the_first_page_is_one_that_is_read():
    assert len(PAGES[0].read_text().splitlines()) <= 120


def test_help_is_the_default_and_lists_every_target():
    done = make()
    listed = {line.split()[0] for line in done.stdout.splitlines() if line.startswith("  ")}
    assert listed == TARGETS


def test_serve_without_docker_is_one_clear_line(tmp_path):
    for tool in ("bash", "make", "docker-is-absent"):
        if tool != "docker-is-absent":
            (tmp_path / tool).symlink_to(f"/usr/bin/{tool}")
    done = make("serve", PATH=str(tmp_path))
    assert done.returncode != 0
    said = [line for line in done.stderr.splitlines() if not line.startswith("make")]
    assert len(said) == 1
    assert said[0].startswith("error: Docker is not installed")


@pytest.mark.triton
@pytest.mark.slow
def test_demo_without_dataset_and_network_agrees_with_pytorch_and_says_what_it_used(tmp_path):
    require_server()
    unreachable = dict.fromkeys(("http_proxy", "https_proxy"), "http://127.0.0.1:9")
    before = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    done = make("demo", f"REPOSITORY={tmp_path / 'models'}", f"RESULTS={tmp_path / 'results'}", **unreachable)
    assert done.returncode == 0, done.stdout + done.stderr
    said = done.stderr.splitlines()
    assert "SYNTHETIC IMAGES" in said[0]
    assert "SYNTHETIC IMAGES" in said[-1]
    assert "100.00 %" in re.search(r"same class as PyTorch.*", done.stdout)[0]
    assert "accuracy" not in done.stdout.lower()
    assert {path.name for path in (tmp_path / "results").iterdir()} == {"report"}
    assert {path.name for path in (tmp_path / "results/report").iterdir()} == {
        *("check.json", "accuracy.json", "latency.json"),
        *("report.html", "report.md", "report.csv"),
    }
    assert "answers belong to their images" in done.stdout
    assert "No accuracy was measured" in (tmp_path / "results/report/report.html").read_text()
    after = subprocess.run(["git", "status", "--porcelain"], cwd=ROOT, capture_output=True, text=True, check=False)
    assert after.stdout == before.stdout


@pytest.mark.parametrize("target", ["serve", "build-repo-docker"])
def test_what_runs_in_nvidia_s_container_never_names_what_it_cannot_load(target):
    done = make("--dry-run", target)
    assert done.returncode == 0, done.stderr
    assert "_rtx" not in done.stdout


def test_the_gpu_demo_serves_both_repositories_and_compares_every_model_it_builds():
    done = make("--dry-run", "--always-make", "demo-gpu")
    assert done.returncode == 0, done.stderr
    models = [model for built in re.findall(r"--models=(\S+)", done.stdout) for model in built.split(",")]
    assert '--repository="$REPOSITORY" --repository="${REPOSITORY%/}_rtx"' in done.stdout
    assert re.findall(r"--model=(\S+)", done.stdout) == models
    assert {"resnet18_onnx", "resnet18_onnx_tf32", "resnet18_onnx_fp16", "resnet18_tensorrt_rtx"} == set(models)
