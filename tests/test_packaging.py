"""What the package ships and how it loads."""

from __future__ import annotations

import subprocess
import sys
from importlib.util import module_from_spec, spec_from_file_location

import calque
from tree import ROOT, packaged, project

IMPORT_SECONDS = 0.5


def test_the_wheel_holds_every_package() -> None:
    others = {"tests", "docs", "benchmarks", "examples"}
    folders = {path.parent.name for path in ROOT.glob("[!.]*/__init__.py")} - others
    files = {path.name for path in ROOT.glob("*.py")} | {"py.typed"}
    assert set(packaged()) == folders | files


def test_version_comes_from_the_package() -> None:
    assert project()["tool"]["hatch"]["version"]["path"] == "__init__.py"
    assert calque.__version__.count(".") == 2


def test_tracebacks_show_real_paths() -> None:
    assert calque.__path__ == [str(ROOT)]


def test_a_checkout_may_have_any_name() -> None:
    """pytest loads the root's `__init__.py` without a package where its folder is called so."""
    spec = spec_from_file_location("__init__", ROOT / "__init__.py")
    assert spec is not None and spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    assert module.__version__ == calque.__version__
    assert not hasattr(module, "setup_module")


def test_import_is_quick() -> None:
    """Loading calque leaves the compiler's heavy parts for later."""
    code = "import time; t = time.perf_counter(); import calque; print(time.perf_counter() - t)"
    command = [sys.executable, "-c", code]
    environment = {"PYTHONPATH": str(ROOT / ".dev"), "PATH": ""}
    seconds = min(
        float(subprocess.run(command, env=environment, capture_output=True, check=True).stdout)
        for _ in range(3)
    )
    assert seconds < IMPORT_SECONDS


def test_runs_as_a_module() -> None:
    command = [sys.executable, "-m", "calque", "--version"]
    environment = {"PYTHONPATH": str(ROOT / ".dev"), "PATH": ""}
    run = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert run.stdout == f"calque {calque.__version__}\n"


def test_universe_fits_beside_xdsl() -> None:
    """xDSL's tools refuse to start when two plug-ins define one name; every entry loads."""
    from xdsl.universe import XDSL_UNIVERSE

    from calque.passes.pipeline import PASSES
    from calque.universe import CALQUE

    assert not CALQUE.all_dialects.keys() & XDSL_UNIVERSE.all_dialects.keys()
    assert not CALQUE.all_passes.keys() & XDSL_UNIVERSE.all_passes.keys()
    for name, dialect in CALQUE.all_dialects.items():
        assert dialect().name == name
    for name, compiler_pass in CALQUE.all_passes.items():
        assert compiler_pass().name == name
    for name in PASSES:
        assert name in CALQUE.all_passes or f"calque-{name}" in CALQUE.all_passes
