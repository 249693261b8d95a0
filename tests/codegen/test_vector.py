"""`vector` and the `tile` accesses, compared with NumPy."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from calque.codegen.errors import CodegenError

from .elementwise import DTYPES, apply, numbers
from .machine import Kernel

FLOATS = ("f32", "f64")
INTS = ("i32", "i64", "i8", "index")


def halves(f: Callable[..., np.ndarray], values: np.ndarray) -> Any:
    """The order of a reduction: halves, lane by lane; an odd lane at the end."""
    extra = []
    while len(values) > 1:
        if len(values) % 2:
            extra.append(values[-1])
            values = values[:-1]
        values = f(values[: len(values) // 2], values[len(values) // 2 :])
    result = values[0]
    for lane in extra:
        result = f(result, lane)
    return result


REDUCTIONS: list[tuple[str, Callable[..., np.ndarray], tuple[str, ...]]] = [
    ("add", np.add, (*FLOATS, *INTS)),
    ("mul", np.multiply, (*FLOATS, *INTS)),
    ("maximumf", np.maximum, FLOATS),
    ("minimumf", np.minimum, FLOATS),
    ("maxnumf", np.fmax, FLOATS),
    ("minnumf", np.fmin, FLOATS),
    ("maxsi", np.maximum, INTS),
    ("minsi", np.minimum, INTS),
    ("and", np.bitwise_and, (*INTS, "i1")),
    ("or", np.bitwise_or, (*INTS, "i1")),
    ("xor", np.bitwise_xor, (*INTS, "i1")),
]


@pytest.mark.parametrize(
    ("kind", "reference", "ty"), [(k, f, t) for k, f, types in REDUCTIONS for t in types]
)
def test_reduction(kind: str, reference: Callable[..., np.ndarray], ty: str) -> None:
    a = numbers(ty, 3)
    body = (
        f"%s = vector.reduction <{kind}>, %x0 : vector<16x{ty}> into {ty}\n"
        f"%r0 = vector.broadcast %s : {ty} to vector<16x{ty}>"
    )
    (out,) = apply(body, [(ty, a)], [ty], True)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, np.full(16, halves(reference, a)))


@pytest.mark.parametrize("width", [1, 2, 3, 5, 12, 32])
def test_reduction_of_any_width(width: int) -> None:
    text = f"""
    func.func private @f(%a: memref<{width}xf32>, %out: memref<1xf32>) {{
      %c0 = arith.constant 0 : index
      %start = arith.constant 100.0 : f32
      %v = vector.load %a[%c0] : memref<{width}xf32>, vector<{width}xf32>
      %s = vector.reduction <add>, %v, %start : vector<{width}xf32> into f32
      memref.store %s, %out[%c0] : memref<1xf32>
      func.return
    }}"""
    a = np.random.default_rng(1).standard_normal(width).astype("f4")
    out = np.zeros(1, "f4")
    assert Kernel(text)(a, out) == 0
    assert out[0] == np.float32(100) + halves(np.add, a)


def test_reduction_of_specials() -> None:
    text = """
    func.func private @f(%a: memref<4x16xf32>, %out: memref<4x2xf32>) {
      %c0 = arith.constant 0 : index
      %c1 = arith.constant 1 : index
      %c4 = arith.constant 4 : index
      scf.for %i = %c0 to %c4 step %c1 {
        %v = vector.load %a[%i, %c0] : memref<4x16xf32>, vector<16xf32>
        %s = vector.reduction <maximumf>, %v : vector<16xf32> into f32
        memref.store %s, %out[%i, %c0] : memref<4x2xf32>
        %t = vector.reduction <minimumf>, %v : vector<16xf32> into f32
        memref.store %t, %out[%i, %c1] : memref<4x2xf32>
      }
      func.return
    }"""
    a = np.full((4, 16), -1, "f4")
    a[0, 5] = np.nan
    a[1, 3], a[1, 9] = np.inf, -np.inf
    a[2] = -0.0
    a[2, 15] = 0.0
    out = np.zeros((4, 2), "f4")
    assert Kernel(text)(a, out) == 0
    np.testing.assert_array_equal(out, [[np.nan] * 2, [np.inf, -np.inf], [0, 0], [-1, -1]])
    assert [bool(x) for x in np.signbit(out[2])] == [False, True]


@pytest.mark.parametrize("ty", FLOATS)
def test_fma_rounds_once(ty: str) -> None:
    a, b, c = (np.abs(numbers(ty, s, positive=True)) for s in (1, 2, 3))
    body = f"%r0 = vector.fma %x0, %x1, %x2 : vector<16x{ty}>"
    (out,) = apply(body, [(ty, a), (ty, b), (ty, c)], [ty], True)
    wide = a.astype(np.longdouble) * b + c
    np.testing.assert_array_equal(out, wide.astype(DTYPES[ty]))


@pytest.mark.parametrize("ty", [*FLOATS, *INTS, "f16", "bf16", "i1"])
def test_lanes(ty: str) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2)
    body = f"""
    %c5 = arith.constant 5 : index
    %e = vector.extract %x0[3] : {ty} from vector<16x{ty}>
    %d = vector.extract %x1[%c5] : {ty} from vector<16x{ty}>
    %v = vector.insert %e, %x1 [7] : {ty} into vector<16x{ty}>
    %r0 = vector.insert %d, %v [%c5] : {ty} into vector<16x{ty}>
    %s = vector.shuffle %x0, %x1 [31, 0, 2, 16] : vector<16x{ty}>, vector<16x{ty}>
    %r1 = vector.shuffle %s, %x0 [3, 2, 1, 0, 4, 5, 6, 7, 19, 18, 17, 16, 15, 14, 13, 12]
      : vector<4x{ty}>, vector<16x{ty}>
    """
    first, second = apply(body, [(ty, a), (ty, b)], [ty, ty], True)
    expected = b.copy()
    expected[7] = a[3]
    np.testing.assert_array_equal(first.view("u1"), expected.view("u1"))
    four = np.array([b[15], a[0], a[2], b[0]], a.dtype)
    joined = np.concatenate([four, a])
    order = [3, 2, 1, 0, 4, 5, 6, 7, 19, 18, 17, 16, 15, 14, 13, 12]
    np.testing.assert_array_equal(second.view("u1"), joined[order].view("u1"))


def test_bitcast() -> None:
    a = numbers("f64", 1)
    body = """
    %b = vector.bitcast %x0 : vector<16xf64> to vector<32xi32>
    %r0 = vector.bitcast %b : vector<32xi32> to vector<16xi64>
    """
    (out,) = apply(body, [("f64", a)], ["i64"], True)
    np.testing.assert_array_equal(out, a.view("i8"))


MASKS = """
func.func private @f(%a: memref<?x{ty}>, %out: memref<?x{ty}>, %n: index, %at: index) {{
  %other = arith.constant dense<7{dot}> : vector<8x{ty}>
  %mask = vector.create_mask %n : vector<8xi1>
  %v = vector.maskedload %a[%at], %mask, %other
    : memref<?x{ty}>, vector<8xi1>, vector<8x{ty}> into vector<8x{ty}>
  %all = vector.load %a[%at] : memref<?x{ty}>, vector<8x{ty}>
  %c0 = arith.constant 0 : index
  %c8 = arith.constant 8 : index
  vector.store %v, %out[%c0] : memref<?x{ty}>, vector<8x{ty}>
  vector.maskedstore %out[%c8], %mask, %all : memref<?x{ty}>, vector<8xi1>, vector<8x{ty}>
  func.return
}}"""


@pytest.mark.parametrize("ty", [*FLOATS, *INTS, "f16", "bf16"])
def test_masks(ty: str) -> None:
    kernel = Kernel(MASKS.format(ty=ty, dot=".0" if ty[0] in "fb" else ""))
    a = np.arange(1, 21).astype(DTYPES[ty])
    for n in (-5, 0, 1, 7, 8, 9, 1 << 40):
        out = np.zeros(16, a.dtype)
        assert kernel(a, out, sizes=[20, 16, n, 3]) == 0
        count = min(max(n, 0), 8)
        expected = np.zeros(16, a.dtype)
        expected[:8] = 7
        expected[:count] = a[3 : 3 + count]
        expected[8 : 8 + count] = a[3 : 3 + count]
        np.testing.assert_array_equal(out.view("u1"), expected.view("u1"))


@pytest.mark.parametrize("ty", [*FLOATS, *INTS])
def test_gather(ty: str) -> None:
    text = f"""
    func.func private @f(%a: memref<?x10x{ty}>, %idx: memref<8xindex>, %out: memref<8x{ty}>) {{
      %c0 = arith.constant 0 : index
      %c2 = arith.constant 2 : index
      %c5 = arith.constant 5 : index
      %offsets = vector.load %idx[%c0] : memref<8xindex>, vector<8xindex>
      %mask = vector.create_mask %c5 : vector<8xi1>
      tile.prefetch %a[%c2, %c5] : memref<?x10x{ty}>
      %v = tile.gather %a[%c2, %c0], %offsets, %mask
        : memref<?x10x{ty}>, vector<8xindex>, vector<8xi1> into vector<8x{ty}>
      vector.store %v, %out[%c0] : memref<8x{ty}>, vector<8x{ty}>
      func.return
    }}"""
    a = np.arange(50).astype(DTYPES[ty]).reshape(5, 10)
    index = np.array([3, -20, 0, 29, 7, 1 << 50, 1, 1], "i8")
    out = np.ones(8, a.dtype)
    assert Kernel(text)(a, index, out, sizes=[5]) == 0
    assert out.tolist() == [23, 0, 20, 49, 27, 0, 0, 0]


def test_nontemporal() -> None:
    text = """
    func.func private @f(%a: memref<16xf32>, %out: memref<16xf32>) {
      %c0 = arith.constant 0 : index
      %v = vector.load %a[%c0] {nontemporal = true} : memref<16xf32>, vector<16xf32>
      vector.store %v, %out[%c0] {nontemporal = true} : memref<16xf32>, vector<16xf32>
      func.return
    }"""
    kernel, out = Kernel(text), np.zeros(16, "f4")
    a = numbers("f32")
    assert kernel(a, out) == 0
    np.testing.assert_array_equal(out, a)
    assert kernel.source.text.count("!nontemporal !0") == 2


@pytest.mark.parametrize(
    ("body", "message"),
    [
        (
            "%v = vector.load %m[%c0] : memref<8xf32, strided<[2]>>, vector<4xf32>",
            "inner stride of .* must be 1",
        ),
        ("%v = arith.constant dense<0.0> : vector<2x2xf32>", "type vector<2x2xf32>"),
    ],
)
def test_refused(body: str, message: str) -> None:
    text = f"""func.func private @f(%m: memref<8xf32, strided<[2]>>) {{
      %c0 = arith.constant 0 : index
      {body}
      func.return
    }}"""
    with pytest.raises(CodegenError, match=message):
        Kernel(text)
