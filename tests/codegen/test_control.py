"""Control flow, parallel loops and assertions."""

from __future__ import annotations

import numpy as np
import pytest

from calque.codegen.errors import CodegenError

from .machine import Kernel

PROLOGUE = """
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c2 = arith.constant 2 : index
  %c3 = arith.constant 3 : index
"""


def kernel(params: str, body: str) -> Kernel:
    return Kernel(f"func.func private @f({params}) {{{PROLOGUE}{body}\n  func.return\n}}")


def test_for_carries_several_values() -> None:
    k = kernel(
        "%out: memref<2xi64>, %n: index",
        """
        %a0 = arith.constant 0 : i64
        %b0 = arith.constant 1 : i64
        %a, %b = scf.for %i = %c0 to %n step %c1 iter_args(%x = %a0, %y = %b0) -> (i64, i64) {
          %z = arith.addi %x, %y : i64
          scf.yield %y, %z : i64, i64
        }
        memref.store %a, %out[%c0] : memref<2xi64>
        memref.store %b, %out[%c1] : memref<2xi64>
        """,
    )
    for n, expected in ((-3, [0, 1]), (0, [0, 1]), (1, [1, 1]), (10, [55, 89])):
        out = np.zeros(2, "i8")
        assert k(out, sizes=[n]) == 0
        assert out.tolist() == expected


def test_for_over_i32_and_step() -> None:
    k = kernel(
        "%out: memref<1xi32>, %n: i32, %step: i32",
        """
        %zero = arith.constant 0 : i32
        %s = scf.for %i = %zero to %n step %step iter_args(%x = %zero) -> (i32) : i32 {
          %y = arith.addi %x, %i : i32
          scf.yield %y : i32
        }
        memref.store %s, %out[%c0] : memref<1xi32>
        """,
    )
    out = np.zeros(1, "i4")
    assert k(out, scalars=[np.int32(10), np.int32(3)]) == 0
    assert out[0] == 0 + 3 + 6 + 9


def test_if() -> None:
    k = kernel(
        "%out: memref<3xf32>, %x: f32, %flag: i1",
        """
        %neg = arith.negf %x : f32
        %two = arith.constant 2.0 : f32
        %r, %s = scf.if %flag -> (f32, f32) {
          scf.yield %x, %two : f32, f32
        } else {
          scf.yield %neg, %x : f32, f32
        }
        memref.store %r, %out[%c0] : memref<3xf32>
        memref.store %s, %out[%c1] : memref<3xf32>
        scf.if %flag {
          memref.store %two, %out[%c2] : memref<3xf32>
        }
        """,
    )
    for flag, expected in ((True, [5, 2, 2]), (False, [-5, 5, 0])):
        out = np.zeros(3, "f4")
        assert k(out, scalars=[np.float32(5), np.bool_(flag)]) == 0
        assert out.tolist() == expected


def test_while() -> None:
    """Collatz steps, with a nested if: the phis of the head come from the last block."""
    k = kernel(
        "%out: memref<1xi64>, %start: i64",
        """
        %zero = arith.constant 0 : i64
        %one = arith.constant 1 : i64
        %two = arith.constant 2 : i64
        %three = arith.constant 3 : i64
        %last, %steps = scf.while (%n = %start, %k = %zero) : (i64, i64) -> (i64, i64) {
          %more = arith.cmpi ne, %n, %one : i64
          scf.condition(%more) %n, %k : i64, i64
        } do {
        ^bb0(%n: i64, %k: i64):
          %bit = arith.remsi %n, %two : i64
          %odd = arith.cmpi eq, %bit, %one : i64
          %m = scf.if %odd -> (i64) {
            %t = arith.muli %n, %three : i64
            %u = arith.addi %t, %one : i64
            scf.yield %u : i64
          } else {
            %h = arith.divsi %n, %two : i64
            scf.yield %h : i64
          }
          %j = arith.addi %k, %one : i64
          scf.yield %m, %j : i64, i64
        }
        memref.store %steps, %out[%c0] : memref<1xi64>
        """,
    )
    for start, steps in ((1, 0), (6, 8), (27, 111)):
        out = np.zeros(1, "i8")
        assert k(out, scalars=[np.int64(start)]) == 0
        assert out[0] == steps


def parallel(bounds: str, rank: int, body: str, mapping: str) -> str:
    args = ", ".join(f"%i{d}: index" for d in range(rank))
    types = ", ".join(["index"] * 3 * rank)
    attributes = f' {{calque.map = "{mapping}"}}' if mapping else ""
    segments = f"array<i32: {rank}, {rank}, {rank}, 0>"
    return (
        f'"scf.parallel"({bounds}) <{{operandSegmentSizes = {segments}}}> ({{\n'
        f"^bb0({args}):\n{body}\nscf.reduce\n}}){attributes} : ({types}) -> ()"
    )


@pytest.mark.parametrize("mapping", ["", "threads"])
def test_parallel_nest(mapping: str) -> None:
    """Two dimensions with lower bounds and steps; values of every kind are captured."""
    body = """
      %v = arith.addf %vector, %vector : vector<4xf32>
      %lane = vector.extract %v[1] : f32 from vector<4xf32>
      %sum = arith.addf %lane, %scalar : f32
      %chosen = arith.select %flag, %sum, %scalar : f32
      %row = arith.muli %i0, %factor : index
      %cell = arith.addi %row, %i1 : index
      memref.store %chosen, %out[%cell] : memref<?xf32, strided<[?]>>
    """
    k = kernel(
        "%out: memref<?xf32, strided<[?]>>, %hi: index, %scalar: f32, %flag: i1",
        "%ten = arith.constant 10.0 : f32\n"
        "%vector = vector.broadcast %ten : f32 to vector<4xf32>\n"
        "%factor = arith.addi %hi, %c3 : index\n"
        + parallel("%c1, %c0, %hi, %c3, %c2, %c1", 2, body, mapping),
    )
    out = np.zeros((8, 8, 2), "f4")
    status = k(out, sizes=[64, 2, 5], scalars=[np.float32(0.5), np.bool_(True)])
    assert status == 0
    expected = np.zeros((8, 8, 2), "f4")
    expected[1:5:2, :3, 0] = 20.5
    np.testing.assert_array_equal(out, expected)


def test_parallel_of_nothing() -> None:
    k = kernel(
        "%out: memref<1xf32>, %n: index",
        parallel(
            "%c0, %n, %c1",
            1,
            "%x = arith.constant 1.0 : f32\nmemref.store %x, %out[%i0] : memref<1xf32>",
            "threads",
        ),
    )
    out = np.zeros(1, "f4")
    assert k(out, sizes=[-4]) == 0
    assert out[0] == 0


ASSERTS = """
  %n5 = arith.constant 5 : index
  %first = arith.cmpi slt, %n, %n5 : index
  cf.assert %first, "first"
""" + parallel(
    "%c0, %n, %c1",
    1,
    """
      %good = arith.cmpi slt, %i0, %c3 : index
      cf.assert %good, "second"
      %one = arith.constant 1.0 : f32
      memref.store %one, %out[%i0] : memref<?xf32>
    """,
    "threads",
)


@pytest.mark.parametrize(("n", "status"), [(3, 0), (4, 2), (5, 1), (6, 1)])
def test_asserts_record_and_go_on(n: int, status: int) -> None:
    k = kernel("%out: memref<?xf32>, %n: index", ASSERTS)
    out = np.zeros(n, "f4")
    assert k(out, sizes=[n, n]) == status
    assert out.all()
    assert k.source.messages == ("first", "second")


def test_unsupported_operation_is_named_with_its_location() -> None:
    text = """
    func.func private @f(%m: memref<4xf32>) {
      "memref.dealloc"(%m) : (memref<4xf32>) -> () loc("model.py":12:3)
      func.return
    }"""
    with pytest.raises(CodegenError, match=r"memref\.dealloc: .*not supported.*model\.py:12"):
        Kernel(text)


@pytest.mark.parametrize(
    ("params", "body", "message"),
    [
        ("", parallel("%c0, %c1, %c1", 1, "", "block"), r"calque\.map = \"block\""),
        ("", "tile.barrier", r"tile\.barrier: .*not supported"),
        ("%c: complex<f32>", "", "type complex<f32> is not supported"),
        ("%m: memref<4xf32, affine_map<(d0) -> (d0 * 2)>>", "", "only strided layouts"),
    ],
)
def test_refused(params: str, body: str, message: str) -> None:
    with pytest.raises(CodegenError, match=message):
        kernel(params, body)
