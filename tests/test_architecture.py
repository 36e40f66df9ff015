"""The rules of the house: who may import whom, and how large a module may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
from graphlib import TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PACKAGES = ("builder", "cifar10", "client", "console", "server")
ALLOWED = {
    "console": set(),
    "cifar10": {"console"},
    "builder": {"cifar10", "console"},
    "client": {"cifar10", "console"},
    "server": {"console"},
}
NEVER = {
    "client": {"torch", "torchvision", "onnx", "tensorrt"},
    "cifar10": {"torch", "torchvision", "tritonclient"},
    "console": {"torch", "numpy"},
}
FLOORS = {
    "builder": (
        ("errors",), ("signature", "variants"),
        ("network",), ("training",), ("export",), ("quantization",), ("tensorrt",), ("triton_config",),
        ("verification",), ("publishing",), ("pipeline",), ("__main__",),
    ),
    "client": (
        ("errors", "statistics"), ("connection",), ("images", "results"), ("load",), ("checks",), ("report",),
        ("commands",), ("__main__",),
    ),
    "server": (("errors",), ("backends",), ("triton",), ("selection",), ("memory", "__main__")),
}  # fmt: skip
"""The road through a package: what stands on a floor imports from the floors before it and from its own folder."""
MOST_ENTRIES = 14
"""In a folder: more than a reader takes in at a glance."""


def modules(package: str) -> list[Path]:
    return sorted((ROOT / package).rglob("*.py"))


def imported(path: Path) -> set[str]:
    """Top-level names of everything a module imports, wherever in it the import stands."""
    names = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            names.add(node.module)
    return {name.split(".")[0] for name in names}


@pytest.mark.parametrize("package", PACKAGES)
def test_packages_meet_only_where_the_design_lets_them(package):
    assert modules(package)
    for path in modules(package):
        own = imported(path) & set(PACKAGES) - {package}
        assert own <= ALLOWED[package], f"{path.relative_to(ROOT)} imports {own - ALLOWED[package]}"
        forbidden = imported(path) & NEVER.get(package, set())
        assert not forbidden, f"{path.relative_to(ROOT)} imports {forbidden}"


def dotted(path: Path) -> str:
    """A module's name, as imports write it."""
    return ".".join(path.relative_to(ROOT).with_suffix("").parts).removesuffix(".__init__")


def own_imports(path: Path, package: str) -> set[str]:
    """The modules of its own package that a module imports, those for its annotations too."""
    names = {dotted(module) for module in modules(package)}
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {f"{node.module}.{alias.name}" for alias in node.names} | {node.module}
        elif isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
    return (found & names) - {dotted(path), package}


@pytest.mark.parametrize("package", FLOORS)
def test_no_import_runs_against_the_road(package):
    floor = {station: number for number, stations in enumerate(FLOORS[package]) for station in stations}
    for path in modules(package):
        own = path.relative_to(ROOT / package).with_suffix("").parts[0]
        if own == "__init__":
            continue
        assert own in floor, f"{path.relative_to(ROOT)}: no floor is named for it in FLOORS"
        for name in own_imports(path, package):
            station = name.split(".")[1]
            allowed = station == own or floor[station] < floor[own]
            assert allowed, f"{path.relative_to(ROOT)} imports {name}, which comes after it on the road"


@pytest.mark.parametrize("package", PACKAGES)
def test_no_modules_import_each_other_in_a_circle(package):
    graph = {dotted(path): own_imports(path, package) for path in modules(package) if path.name != "__init__.py"}
    TopologicalSorter(graph).prepare()  # raises CycleError and names the circle


@pytest.mark.parametrize("package", PACKAGES)
def test_no_folder_holds_more_than_a_reader_takes_in(package):
    listed = subprocess.run(["git", "ls-files", package], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    entries: dict[Path, set[Path]] = {}
    for path in map(Path, listed.splitlines()):
        for entry in (path, *path.parents[:-2]):
            entries.setdefault(entry.parent, set()).add(entry)
    crowded = {str(folder): len(names) for folder, names in entries.items() if len(names) > MOST_ENTRIES}
    assert not crowded, "sort into folders by meaning"


@pytest.mark.parametrize("package", PACKAGES)
def test_modules_stay_readable(package):
    long = {str(path.relative_to(ROOT)): lines for path in modules(package) if (lines := _length(path)) > 300}
    assert not long, "split along the meaning"


def _length(path: Path) -> int:
    return len(path.read_text().splitlines())


@pytest.mark.parametrize("package", ["builder", "client", "cifar10"])
def test_help_needs_no_heavy_library(package):
    code = (
        f"import runpy, sys; sys.argv = [{package!r}, '--help']\n"
        f"try: runpy.run_module({package!r}, run_name='__main__')\n"
        "except SystemExit as stop: assert not stop.code\n"
        "heavy = {'torch', 'onnx', 'tritonclient', 'scipy', 'matplotlib', 'pyarrow'} & set(sys.modules)\n"
        "sys.exit(f'imported {heavy}' if heavy else 0)\n"
    )
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr
