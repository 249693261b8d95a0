"""What some tests need beyond the `test` extra: asked for here, in one wording.

Where something is missing the test is skipped with the way to get it. With `CALQUE_TESTS_NEED`
naming it (comma-separated: `torch,mlir-opt`), a missing one is a failure, so that a machine which
is meant to run everything cannot skip it unnoticed.
"""

from __future__ import annotations

import importlib
import os
import shutil
from types import ModuleType
from typing import NoReturn

import pytest


def torch() -> ModuleType:
    """PyTorch, to compare with."""
    try:
        return importlib.import_module("torch")
    except ImportError:
        _missing("torch", "PyTorch is missing: pip install -e '.[conformance]'")


def mlir_opt() -> str:
    """The path of upstream MLIR's `mlir-opt`, of llvmlite's LLVM version."""
    path = shutil.which("mlir-opt-22")
    if path is None:
        _missing("mlir-opt", "mlir-opt-22 is missing: apt-get install mlir-22-tools")
    return path


def ptxas() -> str:
    """The path of NVIDIA's assembler."""
    path = shutil.which("ptxas") or shutil.which("ptxas", path="/usr/local/cuda/bin")
    if path is None:
        _missing("ptxas", "ptxas is missing: install the CUDA toolkit")
    return path


def _missing(name: str, how: str) -> NoReturn:
    if name in os.environ.get("CALQUE_TESTS_NEED", "").split(","):
        pytest.fail(f"CALQUE_TESTS_NEED names {name}, but {how}", pytrace=False)
    pytest.skip(how, allow_module_level=True)
