"""Whole modules: host, plan, kernels, through the runtime."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from calque.codegen import CodegenError, assembly, compile_module, llvm_text
from calque.codegen.program import program
from calque.ir.target import Target
from calque.runtime.cache import DiskCache
from calque.runtime.executable import Executable, KernelError

from .machine import parse

SCALE = """
func.func private @{name}(%x: memref<?xf32>, %y: memref<?xf32>, %n: index, %limit: index)
    attributes {{calque.kernel, calque.source = ["{name} @ m.py:1"]}} {{
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %two = arith.constant 2.0 : f32
  %ok = arith.cmpi slt, %n, %limit : index
  cf.assert %ok, "{message}"
  "scf.parallel"(%c0, %n, %c1) <{{operandSegmentSizes = array<i32: 1, 1, 1, 0>}}> ({{
  ^bb0(%i: index):
    %v = memref.load %x[%i] : memref<?xf32>
    %w = arith.mulf %v, %two : f32
    memref.store %w, %y[%i] : memref<?xf32>
    scf.reduce
  }}) {{calque.map = "threads"}} : (index, index, index) -> ()
  func.return
}}
"""

MAIN = """
func.func @main(
    %x: memref<?xf32> {calque.name = "x", calque.dims = ["n"]},
    %out: memref<?xf32> {calque.name = "out", calque.role = "output", calque.dims = ["n"]},
    %arena: memref<?xi8>, %n: index {calque.symbol = "n"}) {
  %c0 = arith.constant 0 : index
  %c3 = arith.constant 3 : index
  %c10 = arith.constant 10 : index
  %c20 = arith.constant 20 : index
  %tmp = memref.view %arena[%c0][%n] : memref<?xi8> to memref<?xf32>
  %even = arith.cmpi sge, %n, %c3 : index
  func.call @first(%x, %tmp, %n, %c20) : (memref<?xf32>, memref<?xf32>, index, index) -> ()
  cf.assert %even, "too small"
  func.call @second(%tmp, %out, %n, %c10) : (memref<?xf32>, memref<?xf32>, index, index) -> ()
  func.return
}
func.func @main.plan(%n: index) -> (index, index) attributes {calque.plan} {
  %c4 = arith.constant 4 : index
  %bytes = arith.muli %n, %c4 : index
  func.return %bytes, %n : index, index
}
"""

TEXT = (
    SCALE.format(name="first", message="first is too large")
    + SCALE.format(name="second", message="second is too large")
    + MAIN
)


class Cache(dict[str, bytes]):
    def put(self, key: str, data: bytes) -> None:
        self[key] = data


def run(executable: Executable, n: int) -> np.ndarray:
    x, out = np.arange(n, dtype="f4"), np.zeros(n, "f4")
    executable.run([x.ctypes.data, out.ctypes.data], [n])
    np.testing.assert_array_equal(out, x * 4)
    return out


def test_run_and_failures() -> None:
    cache = Cache()
    artifact = compile_module(parse(TEXT), Target.host(), cache)
    executable = Executable(artifact)
    assert executable.plan((8,)) == (32, (8,))
    run(executable, 8)
    for n, message, call in (
        (12, "second is too large", "second"),
        (30, "first is too large", "first"),
        (2, "too small", "main"),
    ):
        with pytest.raises(KernelError) as caught:
            run(executable, n)
        assert (caught.value.message, caught.value.call) == (message, call)
    assert artifact.kernels[0].source == ("first @ m.py:1",)


def test_equal_kernels_are_compiled_once() -> None:
    texts = program(parse(TEXT), Target.host())
    assert texts.kernels["first"].text == texts.kernels["second"].text
    cache = Cache()
    artifact = compile_module(parse(TEXT), Target.host(), cache)
    assert len(cache) == 2
    assert artifact.kernels[0].code == artifact.kernels[1].code
    assert compile_module(parse(TEXT), Target.host(), cache) == artifact


def test_objects_are_kept_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    artifact = compile_module(parse(TEXT), Target.host(), DiskCache(tmp_path))
    monkeypatch.setattr("calque.codegen.module.compile_texts", lambda texts, target: list(texts))
    assert compile_module(parse(TEXT), Target.host(), DiskCache(tmp_path)) == artifact


def test_signature() -> None:
    artifact = compile_module(parse(TEXT), Target.host())
    x, out = artifact.params
    assert (x.name, x.role, x.dims, x.dtype, x.strides) == ("x", "input", ("n",), "f32", None)
    assert out.role == "output"
    assert artifact.symbols == ("n",)
    assert artifact.call_names == ("first", "second")


def test_readable_text() -> None:
    text = llvm_text(parse(TEXT), Target.host())
    assert list(text) == ["first", "second", "main"]
    assert "define i32 @first(" in text["first"]
    assert "call i32 @second(" in text["main"]
    code = assembly(parse(TEXT), Target.host())
    labels = re.findall(r"^([\w.]+):", code, re.MULTILINE)
    assert {*text, "main.plan"} <= set(labels)
    assert len(labels) == len(set(labels))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("func.func @f() { func.return }", "needs the functions @main and @main.plan"),
        ("func.func private @f()", "has no body"),
        (
            "func.func @main(%a: memref<?xi8>) { func.call @k() : () -> () func.return }",
            "no kernel named @k",
        ),
    ],
)
def test_malformed_modules(text: str, message: str) -> None:
    with pytest.raises(CodegenError, match=message):
        compile_module(parse(text, verify=False), Target.host())
