"""Tiled kernels against NumPy: sizes static and dynamic, tails, borders, orders of reductions."""

from __future__ import annotations

import numpy as np
import pytest

from calque.ir.target import Target
from calque.passes.schedules.heroes import HeroWarning
from calque.passes.schedules.scalars import ScheduleError
from calque.passes.tile import tile
from codegen import machine

from .tiled import Tiled, kernel, parse, random

SHAPES = [(1, 1), (3, 5), (7, 64), (5, 200), (0, 4), (4, 0), (2, 1000)]
PARALLEL = 'iterator_types = ["parallel", "parallel"]'
WIDTH = Target.host().width(32)


def both(shape: tuple[int, ...], element: str = "f32") -> tuple[str, str]:
    """A static and a dynamic type of one shape."""
    static = "x".join([*map(str, shape), element])
    return static, "x".join([*("?" for _ in shape), element])


def empty(name: str, type_: str, sizes: str) -> str:
    return f"  %{name} = tensor.empty({sizes if '?' in type_ else ''}) : tensor<{type_}>\n"


def binary(x: str, y: str, out: str, map_: str, sizes: str = "%B, %C") -> str:
    return (
        empty("e", out, sizes)
        + f"""
  %rout = linalg.generic {{indexing_maps = [#id, {map_}, #id], {PARALLEL}}}
      ins(%tx, %ty : tensor<{x}>, tensor<{y}>) outs(%e : tensor<{out}>) {{
  ^bb0(%l: f32, %r: f32, %init: f32):
    %d = arith.subf %l, %r : f32
    linalg.yield %d : f32
  }} -> tensor<{out}>"""
    )


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("kind", ["#id", "#column", "#row", "#turned"])
def test_elementwise(shape: tuple[int, int], kind: str) -> None:
    B, C = shape
    other = {"#id": (B, C), "#column": (C,), "#row": (B,), "#turned": (C, B)}[kind]
    x, y = random(B, C), random(*other)
    wide = {"#row": lambda: y[:, None], "#turned": lambda: y.T}.get(kind, lambda: y)()
    for tx, ty in zip(both(shape), both(other), strict=True):
        out = np.full((B, C), 7, "f4")
        text = kernel(
            [("x", tx), ("y", ty)], [("out", tx)], binary(tx, ty, tx, kind), sizes=["B", "C"]
        )
        assert Tiled(text)(x, y, out, sizes=[B, C]) == 0
        np.testing.assert_array_equal(out, x - wide)


def lanes(x: np.ndarray) -> np.ndarray:
    """The sum over the last axis in the order that the compiler promises."""
    width = 4 * WIDTH
    count = -(-x.shape[-1] // width)
    padded = np.zeros((*x.shape[:-1], count * width), x.dtype)
    padded[..., : x.shape[-1]] = x
    total = np.zeros((*x.shape[:-1], width), x.dtype)
    for i in range(count):
        total = total + padded[..., i * width : (i + 1) * width]
    a = total.reshape(*x.shape[:-1], 4, WIDTH)
    v = (a[..., 0, :] + a[..., 1, :]) + (a[..., 2, :] + a[..., 3, :])
    while v.shape[-1] > 1:
        v = v[..., : v.shape[-1] // 2] + v[..., v.shape[-1] // 2 :]
    return v[..., 0]


def ascending(x: np.ndarray) -> np.ndarray:
    total = np.zeros(x.shape[1:], x.dtype)
    for row in x:
        total = total + row
    return total


def total(x: str, out: str, map_: str, kinds: str, name: str = "rout", sizes: str = "%N") -> str:
    return (
        empty(f"e{name}", out, sizes)
        + f"""
  %zero{name} = arith.constant 0.0 : f32
  %z{name} = linalg.fill ins(%zero{name} : f32) outs(%e{name} : tensor<{out}>) -> tensor<{out}>
  %{name} = linalg.generic {{indexing_maps = [#id, {map_}], iterator_types = [{kinds}]}}
      ins(%tx : tensor<{x}>) outs(%z{name} : tensor<{out}>) {{
  ^bb0(%p: f32, %acc: f32):
    %s = arith.addf %acc, %p : f32
    linalg.yield %s : f32
  }} -> tensor<{out}>
"""
    )


@pytest.mark.parametrize("shape", SHAPES)
def test_sums_have_a_fixed_order(shape: tuple[int, int]) -> None:
    x = random(*shape)
    for axis, map_, kinds, order in (
        (1, "#row", '"parallel", "reduction"', lanes),
        (0, "#column", '"reduction", "parallel"', ascending),
    ):
        kept = (shape[1 - axis],)
        for tx, to in zip(both(shape), both(kept), strict=True):
            out = np.full(kept, 7, "f4")
            text = kernel([("x", tx)], [("out", to)], total(tx, to, map_, kinds), "reduce", ["N"])
            assert Tiled(text)(x, out, sizes=list(kept)) == 0
            np.testing.assert_array_equal(out, order(x))


@pytest.mark.parametrize("size", [1, 5, 15, 16, 17, 49, 63, 64, 65, 128, 200, 784])
def test_sums_over_rows_that_are_not_adjacent(size: int) -> None:
    """Elements are numbered through all rows; rows that begin at other lanes keep their order."""
    x = random(7, 3, size)
    wanted = lanes(np.ascontiguousarray(x.transpose(1, 0, 2)).reshape(3, -1))
    for type_ in (f"7x3x{size}xf32", "?x?x?xf32"):
        out_type = "3xf32" if "?" not in type_ else "?xf32"
        body = f"""
  %z = arith.constant 0.0 : f32
  %e = tensor.empty({"%C" if "?" in type_ else ""}) : tensor<{out_type}>
  %i = linalg.fill ins(%z : f32) outs(%e : tensor<{out_type}>) -> tensor<{out_type}>
  %rout = linalg.generic {{indexing_maps = [affine_map<(c, n, i) -> (n, c, i)>,
      affine_map<(c, n, i) -> (c)>], iterator_types = ["parallel", "reduction", "reduction"]}}
      ins(%tx : tensor<{type_}>) outs(%i : tensor<{out_type}>) {{
  ^bb0(%a: f32, %b: f32):
    %s = arith.addf %b, %a : f32
    linalg.yield %s : f32
  }} -> tensor<{out_type}>"""
        out = np.zeros(3, "f4")
        text = kernel([("x", type_)], [("out", out_type)], body, "reduce", ["C"])
        assert Tiled(text)(x, out, sizes=[3]) == 0
        np.testing.assert_array_equal(out, wanted)


@pytest.mark.parametrize("shape", SHAPES)
def test_rows_with_their_sums(shape: tuple[int, int]) -> None:
    """What is fused with a sum does not change it."""
    x, (B, C) = random(*shape) + 5, shape
    for tx, tr in zip(both(shape), both((B,)), strict=True):
        body = total(tx, tr, "#row", '"parallel", "reduction"', "rsums", "%B")
        body += binary(tx, tr, tx, "#row").replace("%ty", "%rsums")
        out, sums = np.full((B, C), 7, "f4"), np.full(B, 7, "f4")
        text = kernel([("x", tx)], [("out", tx), ("sums", tr)], body, "rowwise", ["B", "C"])
        assert Tiled(text)(x, out, sums, sizes=[B, C]) == 0
        np.testing.assert_array_equal(sums, lanes(x))
        np.testing.assert_array_equal(out, x - lanes(x)[:, None])


def product(a: str, b: str, out: str, right: str) -> str:
    return (
        empty("e", out, "%M, %N")
        + f"""
  %zero = arith.constant 0.0 : f32
  %z = linalg.fill ins(%zero : f32) outs(%e : tensor<{out}>) -> tensor<{out}>
  %p = linalg.generic {{indexing_maps = [affine_map<(m, n, k) -> (m, k)>,
      affine_map<(m, n, k) -> {right}>, affine_map<(m, n, k) -> (m, n)>],
      iterator_types = ["parallel", "parallel", "reduction"]}}
      ins(%ta, %tb : tensor<{a}>, tensor<{b}>) outs(%z : tensor<{out}>) {{
  ^bb0(%l: f32, %r: f32, %acc: f32):
    %lr = arith.mulf %l, %r : f32
    %s = arith.addf %acc, %lr : f32
    linalg.yield %s : f32
  }} -> tensor<{out}>
  %rout = linalg.generic {{indexing_maps = [#id, #id], {PARALLEL}}}
      ins(%p : tensor<{out}>) outs(%e : tensor<{out}>) {{
  ^bb0(%l: f32, %init: f32):
    %big = arith.maximumf %l, %zero : f32
    linalg.yield %big : f32
  }} -> tensor<{out}>
"""
    )


MATMULS = [
    (1, 1, 1), (1, 7, 3), (2, 16, 16), (3, 37, 50), (4, 800, 40), (5, 3, 2), (8, 100, 33),
    (14, 20, 64), (27, 33, 31), (30, 400, 960), (41, 5, 70), (100, 1100, 130), (137, 106, 270),
]  # fmt: skip


@pytest.mark.parametrize(("m", "k", "n"), MATMULS)
def test_matmul(m: int, k: int, n: int) -> None:
    """Static and dynamic sizes, B as it is and transposed give the same bits, near to the exact
    product: very few rows, rows that change places with columns, rows in uneven numbers."""
    a, b = random(m, k), random(k, n)
    exact = np.maximum(a.astype("f8") @ b.astype("f8"), 0)
    results = []
    for right, given in (("(k, n)", b), ("(n, k)", np.ascontiguousarray(b.T))):
        types = (both(a.shape), both(given.shape), both((m, n)))
        for ta, tb, to in zip(*types, strict=True):
            out = np.full((m, n), 7, "f4")
            body = product(ta, tb, to, right)
            text = kernel([("a", ta), ("b", tb)], [("out", to)], body, "matmul", ["M", "N"])
            assert Tiled(text)(a, given, out, sizes=[m, n]) == 0
            # Each sum rounds at most k times, and its terms are of order 1.
            np.testing.assert_allclose(out, exact, rtol=1e-5, atol=k * 2.0**-20)
            results.append(out)
    for other in results[1:]:
        np.testing.assert_array_equal(results[0], other)


def test_pad_and_slice() -> None:
    """Borders are never read from memory."""
    body = """
  %c = arith.constant 7.0 : f32
  %p = tensor.pad %tx low[1, 2] high[3, 70] {
  ^bb0(%i: index, %j: index):
    tensor.yield %c : f32
  } : tensor<3x5xf32> to tensor<7x77xf32>
  %rout = tensor.extract_slice %p[0, 1] [6, 38] [1, 2] : tensor<7x77xf32> to tensor<6x38xf32>"""
    x, out = random(3, 5), np.zeros((6, 38), "f4")
    assert Tiled(kernel([("x", "3x5xf32")], [("out", "6x38xf32")], body))(x, out) == 0
    wanted = np.pad(x, ((1, 3), (2, 70)), constant_values=7)[:6, 1::2][:, :38]
    np.testing.assert_array_equal(out, wanted)


def test_reshapes_of_the_same_order_cost_nothing() -> None:
    body = """
  %f = tensor.collapse_shape %tx [[0, 1], [2]] : tensor<2x3x40xf32> into tensor<6x40xf32>
  %rout = tensor.expand_shape %f [[0], [1, 2]] output_shape [6, 4, 10]
      : tensor<6x40xf32> into tensor<6x4x10xf32>"""
    k = Tiled(kernel([("x", "2x3x40xf32")], [("out", "6x4x10xf32")], body))
    names = [op.name for op in k.op.walk()]
    assert "tile.gather" not in names and not any("div" in n or "rem" in n for n in names)
    x, out = random(2, 3, 40), np.zeros((6, 4, 10), "f4")
    assert k(x, out) == 0
    np.testing.assert_array_equal(out.reshape(-1), x.reshape(-1))


SCATTER = """
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %rout = scf.for %i = %c0 to %c4 step %c1 iter_args(%acc = %tx) -> (tensor<3x5xf32>) {
    %number = tensor.extract %tn[%i] : tensor<4xi64>
    %at = arith.index_cast %number : i64 to index
    %ok = arith.cmpi ult, %at, %c4 : index
    cf.assert %ok, "index out of range"
    %old = tensor.extract %acc[%at, %c1] : tensor<3x5xf32>
    %new = tensor.extract %ts[%i] : tensor<4xf32>
    %sum = arith.addf %old, %new : f32
    %next = tensor.insert %sum into %acc[%at, %c1] : tensor<3x5xf32>
    scf.yield %next : tensor<3x5xf32>
  }"""


def test_updates_in_a_loop() -> None:
    text = kernel(
        [("x", "3x5xf32"), ("n", "4xi64"), ("s", "4xf32")], [("out", "3x5xf32")], SCATTER, "scatter"
    )
    k = Tiled(text)
    x, n, s = random(3, 5), np.array([2, 0, 2, 2]), random(4)
    out = np.zeros((3, 5), "f4")
    assert k(x, n, s, out) == 0
    wanted = x.copy()
    np.add.at(wanted[:, 1], n, s)
    np.testing.assert_array_equal(out, wanted)


def test_an_operation_without_schedule_is_named() -> None:
    body = """
  %c0 = arith.constant 0 : index
  %rout = tensor.reshape %tx(%tn) : (tensor<6xf32>, tensor<2xindex>) -> tensor<2x3xf32>"""
    text = kernel([("x", "6xf32"), ("n", "2xindex")], [("out", "2x3xf32")], body)
    ((_, op),) = machine.functions(parse(text)).items()
    with pytest.raises(ScheduleError, match=r"tensor\.reshape"):
        tile(op, Target.host())


def test_a_hero_that_the_body_does_not_keep() -> None:
    text = kernel([("x", "4xf32")], [("out", "4xf32")], "", "matmul").replace("%rout", "%tx")
    with pytest.warns(HeroWarning, match='@k has the hero "matmul", but it reduces nothing'):
        k = Tiled(text)
    x, out = random(4), np.zeros(4, "f4")
    assert k(x, out) == 0
    np.testing.assert_array_equal(out, x)


def test_joined_tensors_are_written_piece_by_piece() -> None:
    body = """
  %rout = tensor.concat dim(1) %tx, %ty, %tx
      : (tensor<3x5xf32>, tensor<3x70xf32>, tensor<3x5xf32>) -> tensor<3x80xf32>"""
    k = Tiled(kernel([("x", "3x5xf32"), ("y", "3x70xf32")], [("out", "3x80xf32")], body, "view"))
    assert not any(op.name == "arith.select" for op in k.op.walk())
    x, y, out = random(3, 5), random(3, 70), np.zeros((3, 80), "f4")
    assert k(x, y, out) == 0
    np.testing.assert_array_equal(out, np.concatenate([x, y, x], 1))


@pytest.mark.parametrize("shape", [(1, 1), (3, 5), (2, 64), (3, 200), (2, 1000)])
def test_argmax_takes_the_first(shape: tuple[int, int]) -> None:
    body = """
  %low = arith.constant 0xff800000 : f32
  %most = arith.constant 9223372036854775807 : i64
  %ev = tensor.empty(%N) : tensor<?xf32>
  %ei = tensor.empty(%N) : tensor<?xi64>
  %fv = linalg.fill ins(%low : f32) outs(%ev : tensor<?xf32>) -> tensor<?xf32>
  %fi = linalg.fill ins(%most : i64) outs(%ei : tensor<?xi64>) -> tensor<?xi64>
  %v, %rout = linalg.generic {indexing_maps = [#id, #row, #row],
      iterator_types = ["parallel", "reduction"]}
      ins(%tx : tensor<?x?xf32>) outs(%fv, %fi : tensor<?xf32>, tensor<?xi64>) {
  ^bb0(%new: f32, %old: f32, %at: i64):
    %j = linalg.index 1 : index
    %here = arith.index_cast %j : index to i64
    %more = arith.cmpf ogt, %new, %old : f32
    %same = arith.cmpf oeq, %new, %old : f32
    %first = arith.cmpi slt, %here, %at : i64
    %tie = arith.andi %same, %first : i1
    %take = arith.ori %more, %tie : i1
    %a = arith.select %take, %new, %old : f32
    %b = arith.select %take, %here, %at : i64
    linalg.yield %a, %b : f32, i64
  } -> (tensor<?xf32>, tensor<?xi64>)"""
    x = np.random.default_rng(0).integers(0, 5, shape).astype("f4")
    out = np.zeros(shape[0], "i8")
    text = kernel([("x", "?x?xf32")], [("out", "?xi64")], body, "rowwise", ["N"])
    assert Tiled(text)(x, out, sizes=[shape[0]]) == 0
    np.testing.assert_array_equal(out, x.argmax(1))
