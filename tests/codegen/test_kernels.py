"""Loops, memory and parallel regions of kernels, compared with NumPy."""

from __future__ import annotations

import numpy as np
import pytest

from .machine import Kernel


def random(*shape: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)


ADD = """
func.func private @add(%a: memref<?xf32>, %b: memref<?xf32>, %out: memref<?xf32>) {
  %c0 = arith.constant 0 : index
  %c16 = arith.constant 16 : index
  %zero = arith.constant dense<0.0> : vector<16xf32>
  %n = memref.dim %a, %c0 : memref<?xf32>
  scf.for %i = %c0 to %n step %c16 {
    %left = arith.subi %n, %i : index
    %mask = vector.create_mask %left : vector<16xi1>
    %x = vector.maskedload %a[%i], %mask, %zero
      : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %y = vector.maskedload %b[%i], %mask, %zero
      : memref<?xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
    %s = arith.addf %x, %y : vector<16xf32>
    vector.maskedstore %out[%i], %mask, %s : memref<?xf32>, vector<16xi1>, vector<16xf32>
  }
  func.return
}
"""


@pytest.mark.parametrize("n", [0, 1, 15, 16, 17, 100])
def test_masked_tail(n: int) -> None:
    a, b, out = random(n), random(n + 1)[:n], np.zeros(n + 16, "f4")
    assert Kernel(ADD)(a, b, out, sizes=[n, n, n]) == 0
    np.testing.assert_array_equal(out[:n], a + b)
    assert not out[n:].any()


SUM = """
func.func private @sum(%a: memref<?x40xf32>, %out: memref<?xf32>, %rows: index) {
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c16 = arith.constant 16 : index
  %c40 = arith.constant 40 : index
  %zero = arith.constant dense<0.0> : vector<16xf32>
  "scf.parallel"(%c0, %rows, %c1) <{operandSegmentSizes = array<i32: 1, 1, 1, 0>}> ({
  ^bb0(%i: index):
    %v = scf.for %j = %c0 to %c40 step %c16 iter_args(%acc = %zero) -> (vector<16xf32>) {
      %left = arith.subi %c40, %j : index
      %mask = vector.create_mask %left : vector<16xi1>
      %x = vector.maskedload %a[%i, %j], %mask, %zero
        : memref<?x40xf32>, vector<16xi1>, vector<16xf32> into vector<16xf32>
      %next = arith.addf %acc, %x : vector<16xf32>
      scf.yield %next : vector<16xf32>
    }
    %s = vector.reduction <add>, %v : vector<16xf32> into f32
    memref.store %s, %out[%i] : memref<?xf32>
    scf.reduce
  }) {calque.map = "threads"} : (index, index, index) -> ()
  func.return
}
"""


def test_parallel_rows() -> None:
    a, out = random(9, 40), np.zeros(9, "f4")
    assert Kernel(SUM)(a, out, sizes=[9, 9, 9]) == 0
    lanes = np.zeros((9, 48), "f4")
    lanes[:, :40] = a
    v = (lanes[:, :16] + lanes[:, 16:32]) + lanes[:, 32:]
    while v.shape[1] > 1:
        half = v.shape[1] // 2
        v = v[:, :half] + v[:, half:]
    np.testing.assert_array_equal(out, v[:, 0])
