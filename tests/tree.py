"""The source tree as the project's own tests see it."""

from __future__ import annotations

import ast
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent


@cache
def project() -> dict[str, Any]:
    """The parsed `pyproject.toml`."""
    return tomllib.loads((ROOT / "pyproject.toml").read_text())


def packaged() -> list[str]:
    """The folders and root files that a wheel holds."""
    return project()["tool"]["hatch"]["build"]["targets"]["wheel"]["only-include"]


@dataclass(frozen=True)
class Module:
    """One module of the package, by its dotted path below `calque` (empty for the root)."""

    path: Path

    @property
    def name(self) -> str:
        parts = self.path.relative_to(ROOT).with_suffix("").parts
        return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)

    @property
    def package(self) -> str:
        """The dotted path that one leading dot of a relative import means."""
        return ".".join(self.path.relative_to(ROOT).parts[:-1])

    def __str__(self) -> str:
        return str(self.path.relative_to(ROOT))


@cache
def modules() -> tuple[Module, ...]:
    """Every module that a wheel would hold."""

    def files() -> Iterator[Path]:
        for entry in packaged():
            path = ROOT / entry
            yield from sorted(path.rglob("*.py")) if path.is_dir() else [path]

    return tuple(Module(path) for path in files() if path.suffix == ".py")


@cache
def module_names() -> frozenset[str]:
    """The dotted paths of all modules, below `calque`."""
    return frozenset(module.name for module in modules())


@dataclass(frozen=True)
class Import:
    """One imported name: `target` is a dotted path, below `calque` where `internal`."""

    target: str
    internal: bool
    line: int
    names: tuple[str, ...] = ()
    at_module_level: bool = True


@cache
def imports(module: Module) -> list[Import]:
    """All imports of a module, also those in functions and under `TYPE_CHECKING`."""
    tree = ast.parse(module.path.read_text(), filename=str(module.path))
    return [found for node, top in _walk(tree, True) for found in _imports_of(node, module, top)]


def _walk(node: ast.AST, top: bool) -> Iterator[tuple[ast.AST, bool]]:
    """All nodes, each with whether it runs when the module is imported."""
    yield node, top
    inner = top and not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.Lambda)
    if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test):
        inner = False
    for child in ast.iter_child_nodes(node):
        yield from _walk(child, inner)


def _imports_of(node: ast.AST, module: Module, top: bool) -> Iterator[Import]:
    if isinstance(node, ast.Import):
        for alias in node.names:
            yield Import(alias.name, False, node.lineno, (), top)
    elif isinstance(node, ast.ImportFrom):
        names = tuple(alias.name for alias in node.names)
        if not node.level:
            yield Import(node.module or "", False, node.lineno, names, top)
            return
        base = module.package.split(".") if module.package else []
        keep = len(base) - (node.level - 1)
        if keep < 0:
            raise ImportError(f"{module}:{node.lineno} imports from above the package")
        stem = [*base[:keep], *((node.module or "").split(".") if node.module else [])]
        for name in names:
            # `from .a import b` means the module a.b where there is one, else a name in a.
            full = ".".join([*stem, name])
            submodule = full in module_names()
            target = full if submodule else ".".join(stem)
            yield Import(target, True, node.lineno, () if submodule else (name,), top)
