"""The rules of the house: who may import whom, and how large a module may grow."""

from __future__ import annotations

import ast
import subprocess
import sys
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
