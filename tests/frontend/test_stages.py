"""Stages as text: what CALQUE_DUMP writes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import calque
from calque.frontend.cli import main
from calque.frontend.stages import step_done
from calque.ir.text import from_text, to_text
from calque.ir.verify import verify


def test_kernels_without_inputs_are_not_taken_for_loops(tmp_path: Path) -> None:
    file = tmp_path / "seven.mlir"
    file.write_text(
        "func.func @main(%out: memref<3xf32>, %arena: memref<?xi8>) attributes {calque.plan = []} {"
        "\n  func.call @k(%out) : (memref<3xf32>) -> ()\n  func.return\n}\n"
        "func.func private @k(%out: memref<3xf32>) attributes {calque.kernel} {\n"
        "  %0 = arith.constant 7.0 : f32\n  %1 = tensor.empty() : tensor<3xf32>\n"
        "  %2 = linalg.fill ins(%0 : f32) outs(%1 : tensor<3xf32>) -> tensor<3xf32>\n"
        "  bufferization.materialize_in_destination %2 in restrict writable %out"
        " : (tensor<3xf32>, memref<3xf32>) -> ()\n  func.return\n}\n"
    )
    assert step_done(from_text(file.read_text())) == "plan-memory"


def files_of(folder: Path) -> dict[str, str]:
    """The files of a dump without their numbers."""
    return {file.name[3:]: file.read_text() for file in folder.iterdir()}


def test_every_program_is_dumped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = calque.tensor([1.0, 2.0])
    monkeypatch.setenv("CALQUE_DUMP", str(tmp_path / "dump"))
    for _ in range(2):  # the second time the cache has it
        calque.compile(lambda x: x * 2 + 1)(x)
    folders = sorted((tmp_path / "dump").iterdir())
    assert len(folders) == 2
    for folder in folders:
        files = files_of(folder)
        assert {f"{s}.mlir" for s in ("input", "cse", "graph", "linalg", "kernel")} <= set(files)
        assert "define" in files["llvm.ll"]
        assert "ret" in files["asm.s"]


def test_dumps_are_called_after_functions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    x = calque.tensor([1.0, 2.0, 3.0], dtype=calque.float64, requires_grad=True)

    @calque.compile
    def shifted(x: calque.Tensor) -> calque.Tensor:
        return (x.sin() + 1).sum()

    monkeypatch.setenv("CALQUE_DUMP", str(tmp_path / "dump"))
    loss = shifted(x)
    loss.backward()
    names = [folder.name for folder in sorted((tmp_path / "dump").iterdir())]
    assert [name[:4] for name in names] == [f"{i:04d}" for i in range(len(names))]
    titles = [name[5:] for name in names]
    assert {"shifted", "shifted-backward"} <= set(titles)
    assert all(t.startswith(("shifted", "eager-")) for t in titles)


def test_dumps_of_a_fresh_process_are_programs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written with its locations is read, says the same again, and runs."""
    script = """
import calque
import calque.nn.functional as F

x = calque.randn(5, 3)
calque.compile(lambda x: calque.where(x > 0, x, 0).sum() + F.softmax(x, -1).amax())(x)
"""
    environment = {
        **os.environ,
        "CALQUE_DUMP": str(tmp_path),
        "PYTHONPATH": os.pathsep.join(sys.path),
    }
    subprocess.run([sys.executable, "-c", script], env=environment, check=True)
    folder = max(tmp_path.iterdir())
    for file in sorted(folder.glob("*.mlir")):
        text = file.read_text()
        module = from_text(text, str(file))
        verify(module)
        assert to_text(module, locations=True) == text, file
        assert main(["run", str(file), "--input", "f32[5x3]"]) == 0
    monkeypatch.setenv("CALQUE_DUMP", str(tmp_path / "again"))
    assert main(["run", str(folder / "00-input.mlir"), "--input", "f32[5x3]"]) == 0
    (again,) = (tmp_path / "again").iterdir()
    assert files_of(again)["asm.s"] == files_of(folder)["asm.s"]
