"""Every TensorRT name, enum member, method and property that this project's source takes, read from its syntax tree.

What an expression is follows from the annotations (`network: trt.INetworkDefinition`). Where they do not say what a
TensorRT call returned, and something is taken from it, that is reported too: nothing goes unchecked in silence.
"""

from __future__ import annotations

import ast
from dataclasses import dataclass, field
from pathlib import Path

MODULE = "tensorrt"
"""What the code calls the module at run time; in annotations it is `trt`, which exists only for the type checker."""


@dataclass(frozen=True)
class Kind:
    """What an expression is: `module`, `object` (class, enum member), `instance`, `list` of instances, or `result`.

    A `result` is what TensorRT returned and no annotation names.
    """

    what: str
    path: str = ""


@dataclass
class Usage:
    """Attributes taken from TensorRT.

    Attributes:
        names: "IBuilderConfig.set_flag" -> where it is used, as "file:line".
        unchecked: where something is taken from an object whose class no annotation names.
    """

    names: dict[str, list[str]] = field(default_factory=dict)
    unchecked: list[str] = field(default_factory=list)


def collect(files: dict[str, str]) -> Usage:
    """Read source files (name -> text) and collect what they take from TensorRT."""
    usage = Usage()
    trees = {name: ast.parse(text) for name, text in files.items()}
    fields: dict[str, Kind] = {}
    returns: dict[str, Kind] = {}
    for tree in trees.values():
        _collect_declarations(tree, fields, returns)
    for name, tree in trees.items():
        _Collector(usage, name, fields, returns).visit(tree)
    return usage


def project_files(root: Path) -> dict[str, str]:
    """The project's own source and tests: whatever names TensorRT's module at all."""
    paths = [path for package in ("builder", "benchmarks", "tests") for path in (root / package).rglob("*.py")]
    named = {str(path.relative_to(root)): path.read_text() for path in paths}
    return {name: text for name, text in named.items() if f"import {MODULE} as trt" in text}


def _annotated(annotation: ast.expr | None) -> Kind | None:
    """What `trt.X`, `trt.X | None` or `list[trt.X]` declares."""
    if isinstance(annotation, ast.BinOp):
        return _annotated(annotation.left)
    if isinstance(annotation, ast.Subscript):
        inner = _annotated(annotation.slice)
        return Kind("list", inner.path) if inner else None
    path = _dotted(annotation)
    return Kind("instance", path.removeprefix("trt.")) if path.startswith("trt.") else None


def _dotted(node: ast.expr | None) -> str:
    if isinstance(node, ast.Attribute):
        base = _dotted(node.value)
        return f"{base}.{node.attr}" if base else ""
    return node.id if isinstance(node, ast.Name) else ""


def _collect_declarations(tree: ast.AST, fields: dict[str, Kind], returns: dict[str, Kind]) -> None:
    """Fields of classes (`self._engine: trt.ICudaEngine`, dataclass fields) and functions that return TensorRT's."""
    for node in ast.walk(tree):
        if isinstance(node, ast.AnnAssign) and (kind := _annotated(node.annotation)):
            target = node.target
            if isinstance(target, ast.Attribute):
                fields[target.attr] = kind
        if isinstance(node, ast.ClassDef):
            for entry in node.body:
                if isinstance(entry, ast.AnnAssign) and (kind := _annotated(entry.annotation)):
                    fields[entry.target.id] = kind
        if isinstance(node, ast.FunctionDef) and (kind := _annotated(node.returns)):
            returns[node.name] = kind


class _Collector(ast.NodeVisitor):
    def __init__(self, usage: Usage, file: str, fields: dict[str, Kind], returns: dict[str, Kind]) -> None:
        self._usage, self._file, self._fields, self._returns = usage, file, fields, returns
        self._scopes: list[dict[str, Kind]] = [{}]

    # scopes and declarations

    def visit_FunctionDef(self, node: ast.FunctionDef) -> None:
        scope = {}
        arguments = node.args
        for argument in [*arguments.posonlyargs, *arguments.args, *arguments.kwonlyargs]:
            if kind := _annotated(argument.annotation):
                scope[argument.arg] = kind
        self._scopes.append(scope)
        self.generic_visit(node)
        self._scopes.pop()

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        for base in node.bases:
            kind = self._kind(base)
            if kind and kind.what == "object":  # the methods that TensorRT will call must have its names
                for entry in node.body:
                    if isinstance(entry, ast.FunctionDef) and not entry.name.startswith("_"):
                        self._use(f"{kind.path}.{entry.name}", entry)
        self.generic_visit(node)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if isinstance(node.target, ast.Name) and (kind := _annotated(node.annotation)):
            self._scopes[-1][node.target.id] = kind
        self.generic_visit(node)

    def visit_Assign(self, node: ast.Assign) -> None:
        kind = self._kind(node.value)
        for target in node.targets:
            if isinstance(target, ast.Name) and kind:
                self._scopes[-1][target.id] = kind
        self.generic_visit(node)

    def visit_For(self, node: ast.For) -> None:
        self._bind(node.target, node.iter)
        self.generic_visit(node)

    def _visit_comprehension(self, node: ast.expr) -> None:
        self._scopes.append({})
        for generator in node.generators:
            self._bind(generator.target, generator.iter)
        self.generic_visit(node)
        self._scopes.pop()

    visit_ListComp = visit_SetComp = visit_DictComp = visit_GeneratorExp = _visit_comprehension  # noqa: N815

    def _bind(self, target: ast.expr, iterated: ast.expr) -> None:
        kind = self._kind(iterated)
        if kind and isinstance(target, ast.Name):
            self._scopes[-1][target.id] = Kind("instance", kind.path) if kind.what == "list" else Kind("result")

    # uses

    def visit_Attribute(self, node: ast.Attribute) -> None:
        base = self._kind(node.value)
        if _dotted(node).startswith("trt."):
            self._use(_dotted(node).removeprefix("trt."), node)
        elif base and base.what == "module":
            self._use(node.attr, node)
        elif base and base.what in ("object", "instance"):
            self._use(f"{base.path}.{node.attr}", node)
        elif base and base.what == "result":
            self._usage.unchecked.append(f"{self._file}:{node.lineno}: .{node.attr} of {ast.unparse(node.value)}")
        self.generic_visit(node)

    def _use(self, path: str, node: ast.AST) -> None:
        self._usage.names.setdefault(path, []).append(f"{self._file}:{node.lineno}")

    def _kind(self, node: ast.expr) -> Kind | None:
        if isinstance(node, ast.Name):
            return next((scope[node.id] for scope in reversed(self._scopes) if node.id in scope), None) or (
                Kind("module") if node.id == MODULE else None
            )
        if isinstance(node, ast.Attribute):
            return self._kind_of_attribute(node)
        if isinstance(node, ast.Call):
            return self._kind_of_call(node)
        if isinstance(node, ast.Subscript):
            base = self._kind(node.value)
            return Kind("instance", base.path) if base and base.what == "list" else None
        return None

    def _kind_of_attribute(self, node: ast.Attribute) -> Kind | None:
        base = self._kind(node.value)
        if base is None:
            if node.attr == f"_{MODULE}":
                return Kind("module")
            return self._fields.get(node.attr)
        if base.what == "module":
            return Kind("object", node.attr)
        if base.what == "object":
            return Kind("object", f"{base.path}.{node.attr}")
        return Kind("result")

    def _kind_of_call(self, node: ast.Call) -> Kind | None:
        function = node.func
        called = function.attr if isinstance(function, ast.Attribute) else getattr(function, "id", "")
        kind = self._kind(function)
        if kind and kind.what == "object":
            return Kind("instance", kind.path)
        if kind and kind.what == "result":
            return kind
        return self._returns.get(called)
