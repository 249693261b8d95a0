"""Which folder may import which, read from the source: the tree has one direction."""

from __future__ import annotations

import re
import sys

import pytest

from tree import Module, imports, module_names, modules, project

# What each folder may import besides itself; a target ending in a module name is exact.
ALLOWED: dict[str, frozenset[str]] = {
    "ir": frozenset(),
    "passes": frozenset({"ir"}),
    "runtime": frozenset(),
    "codegen": frozenset({"ir", "runtime.artifact", "runtime.launch"}),
    "frontend": frozenset({"ir", "passes", "codegen", "runtime", "universe"}),
}
# Root modules: the plug-in for xDSL's tools lists dialects and passes, everything else is frontend.
UNIVERSE = frozenset({"ir", "passes"})
FACADE = frozenset({"frontend"})

# The xdsl wheel installs these at the top level, where they shadow folders of the same name.
SHADOWED = frozenset({"tests", "docs", "scripts"})


def allowed(module: Module, target: str) -> bool:
    """Whether `module` may import `target` (both below `calque`)."""
    source, folder = module.name.split(".")[0], target.split(".")[0]
    if source not in ALLOWED:
        may = UNIVERSE if source == "universe" else FACADE
        return folder in may or folder not in ALLOWED
    if folder == source:
        return True
    may = ALLOWED[source]
    if not folder:
        return source == "frontend"
    return folder in may or any(target == name or target.startswith(name + ".") for name in may)


def declared() -> frozenset[str]:
    """The import names of the dependencies in pyproject.toml."""
    specs = project()["project"]["dependencies"]
    return frozenset(re.split(r"[^\w]", spec)[0] for spec in specs)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_imports_follow_the_tree(module: Module) -> None:
    wrong = [
        f"{module}:{found.line} may not import {found.target or 'the root package'}"
        for found in imports(module)
        if found.internal and not allowed(module, found.target)
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_the_package_imports_itself_relatively(module: Module) -> None:
    wrong = [
        f"{module}:{found.line} imports {found.target} absolutely"
        for found in imports(module)
        if not found.internal and found.target.split(".")[0] in {"calque", *SHADOWED}
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("module", modules(), ids=str)
def test_only_declared_dependencies(module: Module) -> None:
    known = declared() | sys.stdlib_module_names
    wrong = [
        f"{module}:{found.line} imports {found.target}, which pyproject.toml does not declare"
        for found in imports(module)
        if not found.internal and found.target.split(".")[0] not in known
    ]
    assert not wrong, "\n".join(wrong)


def test_no_import_cycles() -> None:
    """Modules import each other in one direction when loaded; only functions may look back."""
    edges = {
        module.name: {
            found.target
            for found in imports(module)
            if found.internal and found.at_module_level and found.target in module_names()
        }
        - {module.name}
        for module in modules()
    }
    done: set[str] = set()

    def visit(name: str, path: list[str]) -> None:
        if name in path:
            pytest.fail("import cycle: " + " -> ".join([*path[path.index(name) :], name]))
        if name in done:
            return
        for target in sorted(edges[name]):
            visit(target, [*path, name])
        done.add(name)

    for name in sorted(edges):
        visit(name, [])


def test_folders_are_governed() -> None:
    """Each folder of the rules exists, so that a renamed one cannot escape them."""
    assert set(ALLOWED) <= {name.split(".")[0] for name in module_names()}
