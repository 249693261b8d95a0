"""Every `arith` operation, on scalars and vectors, against NumPy."""

from __future__ import annotations

from collections.abc import Callable
from fractions import Fraction

import numpy as np
import pytest

from calque.codegen.errors import CodegenError

from .elementwise import DTYPES, apply, numbers

FLOATS = ("f32", "f64")
INTS = ("i32", "i64", "index", "i8")

both = pytest.mark.parametrize("vector", [False, True], ids=["scalar", "vector"])


def floor_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return a // b


def trunc_div(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (np.abs(a) // np.abs(b)) * np.sign(a) * np.sign(b)


def unsigned(f: Callable[..., np.ndarray]) -> Callable[..., np.ndarray]:
    def wrapped(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        kind = f"u{a.dtype.itemsize}"
        return f(a.view(kind), b.view(kind)).view(a.dtype)

    return wrapped


BINARY: list[tuple[str, Callable[..., np.ndarray], tuple[str, ...]]] = [
    ("addf", np.add, FLOATS),
    ("subf", np.subtract, FLOATS),
    ("mulf", np.multiply, FLOATS),
    ("divf", np.divide, FLOATS),
    ("maximumf", np.maximum, FLOATS),
    ("minimumf", np.minimum, FLOATS),
    ("maxnumf", np.fmax, FLOATS),
    ("minnumf", np.fmin, FLOATS),
    ("addi", np.add, INTS),
    ("subi", np.subtract, INTS),
    ("muli", np.multiply, INTS),
    ("divsi", trunc_div, INTS),
    ("remsi", np.fmod, INTS),
    ("floordivsi", floor_div, INTS),
    ("ceildivsi", lambda a, b: -(-a // b), INTS),
    ("divui", unsigned(floor_div), INTS),
    ("remui", unsigned(np.remainder), INTS),
    ("ceildivui", unsigned(lambda a, b: a // b + (a % b != 0)), INTS),
    ("andi", np.bitwise_and, (*INTS, "i1")),
    ("ori", np.bitwise_or, (*INTS, "i1")),
    ("xori", np.bitwise_xor, (*INTS, "i1")),
    ("maxsi", np.maximum, INTS),
    ("minsi", np.minimum, INTS),
    ("maxui", unsigned(np.maximum), INTS),
    ("minui", unsigned(np.minimum), INTS),
]


@both
@pytest.mark.parametrize(
    ("name", "reference", "ty"), [(n, f, t) for n, f, types in BINARY for t in types]
)
def test_binary(name: str, reference: Callable[..., np.ndarray], ty: str, vector: bool) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2)
    if "div" in name or ("rem" in name and ty in INTS):
        b[b == 0] = 3
    (out,) = apply(f"%r0 = arith.{name} %x0, %x1 : T({ty})", [(ty, a), (ty, b)], [ty], vector)
    with np.errstate(all="ignore"):
        np.testing.assert_array_equal(out, reference(a, b))


@both
@pytest.mark.parametrize("ty", INTS)
@pytest.mark.parametrize(
    ("name", "reference"),
    [
        ("shli", np.left_shift),
        ("shrsi", np.right_shift),
        ("shrui", unsigned(np.right_shift)),
    ],
)
def test_shifts(name: str, reference: Callable[..., np.ndarray], ty: str, vector: bool) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2, positive=True) % 7
    (out,) = apply(f"%r0 = arith.{name} %x0, %x1 : T({ty})", [(ty, a), (ty, b)], [ty], vector)
    np.testing.assert_array_equal(out, reference(a, b))


@both
@pytest.mark.parametrize("ty", ["i32", "i64"])
def test_extended(ty: str, vector: bool) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2)
    bits = 8 * a.itemsize
    wide = [(int(x), int(y)) for x, y in zip(a, b, strict=True)]
    body = (
        f"%r0, %r1 = arith.mulsi_extended %x0, %x1 : T({ty})\n"
        f"%r2, %r3 = arith.mului_extended %x0, %x1 : T({ty})\n"
        f"%r4, %r5 = arith.addui_extended %x0, %x1 : T({ty}), T(i1)"
    )
    outs = apply(body, [(ty, a), (ty, b)], [ty] * 5 + ["i1"], vector)
    mask = (1 << bits) - 1

    def signed(value: int) -> int:
        value &= mask
        return value - (1 << bits) if value >> (bits - 1) else value

    for x, y, *got in zip(*zip(*wide, strict=True), *outs, strict=True):
        unsigned_product = (x & mask) * (y & mask)
        total = (x & mask) + (y & mask)
        assert [int(g) for g in got] == [
            signed(x * y),
            signed((x * y) >> bits),
            signed(unsigned_product),
            signed(unsigned_product >> bits),
            signed(total),
            total >> bits,
        ]


@both
@pytest.mark.parametrize("ty", INTS)
@pytest.mark.parametrize(
    ("predicate", "reference"),
    [
        ("eq", np.equal),
        ("ne", np.not_equal),
        ("slt", np.less),
        ("sle", np.less_equal),
        ("sgt", np.greater),
        ("sge", np.greater_equal),
        ("ult", unsigned(np.less)),
        ("uge", unsigned(np.greater_equal)),
    ],
)
def test_cmpi(predicate: str, reference: Callable[..., np.ndarray], ty: str, vector: bool) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2)
    b[:3] = a[:3]
    body = f"%r0 = arith.cmpi {predicate}, %x0, %x1 : T({ty})"
    (out,) = apply(body, [(ty, a), (ty, b)], ["i1"], vector)
    if predicate.startswith("u"):
        kind = f"u{a.itemsize}"
        a, b = a.view(kind), b.view(kind)
        reference = {"ult": np.less, "uge": np.greater_equal}[predicate]
    np.testing.assert_array_equal(out, reference(a, b))


@both
@pytest.mark.parametrize("ty", FLOATS)
@pytest.mark.parametrize("predicate", ["oeq", "one", "olt", "oge", "ord", "uno", "une", "ugt"])
def test_cmpf(predicate: str, ty: str, vector: bool) -> None:
    a, b = numbers(ty, 1), numbers(ty, 2)
    b[:3] = a[:3]
    unordered = np.isnan(a) | np.isnan(b)
    compare = {"eq": a == b, "ne": a != b, "lt": a < b, "ge": a >= b, "gt": a > b}
    if predicate in ("ord", "uno"):
        expected = unordered if predicate == "uno" else ~unordered
    elif predicate[0] == "o":
        expected = compare[predicate[1:]] & ~unordered
    else:
        expected = compare[predicate[1:]] | unordered
    body = f"%r0 = arith.cmpf {predicate}, %x0, %x1 : T({ty})"
    (out,) = apply(body, [(ty, a), (ty, b)], ["i1"], vector)
    np.testing.assert_array_equal(out, expected)


@both
@pytest.mark.parametrize("ty", [*FLOATS, *INTS, "i1", "f16", "bf16"])
def test_select(ty: str, vector: bool) -> None:
    a, b, c = numbers(ty, 1), numbers(ty, 2), numbers("i1", 3)
    body = f"%r0 = arith.select %x2, %x0, %x1 : T(i1), T({ty})"
    if not vector:
        body = f"%r0 = arith.select %x2, %x0, %x1 : {ty}"
    (out,) = apply(body, [(ty, a), (ty, b), ("i1", c)], [ty], vector)
    np.testing.assert_array_equal(out.view("u1"), np.where(c, a, b).view("u1"))


@both
@pytest.mark.parametrize("ty", FLOATS)
def test_negf(ty: str, vector: bool) -> None:
    a = numbers(ty)
    (out,) = apply(f"%r0 = arith.negf %x0 : T({ty})", [(ty, a)], [ty], vector)
    np.testing.assert_array_equal(out, -a)
    np.testing.assert_array_equal(np.signbit(out[~np.isnan(a)]), np.signbit(-a[~np.isnan(a)]))


CONVERSIONS = [
    ("extsi", "i8", "i32"),
    ("extsi", "i32", "i64"),
    ("extui", "i1", "i8"),
    ("extui", "i1", "i64"),
    ("trunci", "i64", "i32"),
    ("trunci", "i32", "i8"),
    ("sitofp", "i32", "f32"),
    ("sitofp", "i64", "f64"),
    ("sitofp", "i64", "f32"),
    ("sitofp", "i32", "f16"),
    ("sitofp", "i32", "bf16"),
    ("uitofp", "i1", "f32"),
    ("extf", "f32", "f64"),
    ("extf", "f16", "f32"),
    ("extf", "f16", "f64"),
    ("extf", "bf16", "f32"),
    ("extf", "bf16", "f64"),
    ("truncf", "f64", "f32"),
    ("truncf", "f64", "f16"),
    ("truncf", "f64", "bf16"),
    ("truncf", "f32", "f16"),
    ("truncf", "f32", "bf16"),
    ("index_cast", "index", "i32"),
    ("index_cast", "i32", "index"),
    ("index_cast", "i64", "index"),
]


@both
@pytest.mark.parametrize(("name", "source", "target"), CONVERSIONS)
def test_conversion(name: str, source: str, target: str, vector: bool) -> None:
    a = numbers(source)
    body = f"%r0 = arith.{name} %x0 : T({source}) to T({target})"
    (out,) = apply(body, [(source, a)], [target], vector)
    with np.errstate(all="ignore"):
        expected = a.astype("f8").astype("f4") if target == "bf16" and source[0] == "i" else a
        expected = expected.astype(DTYPES[target])
    if target in ("f16", "bf16"):
        out, expected = out.astype("f4"), expected.astype("f4")
    np.testing.assert_array_equal(out, expected)


@both
@pytest.mark.parametrize(
    ("name", "source", "target"),
    [
        ("fptosi", "f32", "i32"),
        ("fptosi", "f64", "i64"),
        ("fptosi", "f16", "i32"),
        ("fptosi", "bf16", "i32"),
        ("fptoui", "f32", "i8"),
    ],
)
def test_to_integer(name: str, source: str, target: str, vector: bool) -> None:
    a = numbers(source, positive=name == "fptoui")
    a[~np.isfinite(a.astype("f4"))] = 2.75
    body = f"%r0 = arith.{name} %x0 : T({source}) to T({target})"
    (out,) = apply(body, [(source, a)], [target], vector)
    np.testing.assert_array_equal(out, a.astype("f8").astype(DTYPES[target]))


@both
@pytest.mark.parametrize(("source", "target"), [("f64", "f16"), ("f64", "bf16"), ("f32", "bf16")])
def test_narrowing_rounds_once(source: str, target: str, vector: bool) -> None:
    """Values just beside the ties of the narrow type, denormals and the ends of its range."""
    one = {"f16": 2.0**-11, "bf16": 2.0**-8}[target]
    near = 2.0**-40 if source == "f64" else 2.0**-23
    tiny = {"f16": 2.0**-24, "bf16": 2.0**-133}[target]
    top = {"f16": 65520.0, "bf16": 3.3961775292304957e38}[target]
    a = np.array(
        [
            *(1 + one, 1 + one + near, 1 + one - near, 1 + 3 * one, 1 + 3 * one - near, -1 - one),
            *(tiny, tiny * 1.5, tiny / 2, tiny / 2 * (1 + near), -tiny * 2.5, tiny / 4),
            *(top, top * (1 - near), -top, np.nan),
        ],
        DTYPES[source],
    )
    body = f"%r0 = arith.truncf %x0 : T({source}) to T({target})"
    (out,) = apply(body, [(source, a)], [target], vector)
    assert [int(x) for x in out[:-1].view("u2")] == [nearest(x, target) for x in a[:-1]]
    assert np.isnan(out[-1].astype("f4"))


def nearest(x: np.floating, target: str) -> int:
    """The bits of the nearest f16 or bf16, ties to even, by exact arithmetic."""
    dtype, sign, exact = DTYPES[target], 0x8000 * int(np.signbit(x)), abs(Fraction(float(x)))
    infinity = {"f16": 0x7C00, "bf16": 0x7F80}[target]
    past_end = {"f16": Fraction(2) ** 16, "bf16": Fraction(2) ** 128}[target]

    def distance(bits: int) -> tuple[Fraction, int]:
        value = past_end
        if bits < infinity:
            value = Fraction(float(np.uint16(bits).view(dtype)))
        return abs(value - exact), bits & 1

    low, high = 0, infinity
    while high - low > 1:
        middle = (low + high) // 2
        below = Fraction(float(np.uint16(middle).view(dtype))) <= exact
        low, high = (middle, high) if below else (low, middle)
    return sign | min((low, high), key=distance)


@both
def test_bitcast(vector: bool) -> None:
    a = numbers("f32")
    (out,) = apply("%r0 = arith.bitcast %x0 : T(f32) to T(i32)", [("f32", a)], ["i32"], vector)
    np.testing.assert_array_equal(out, a.view("i4"))


@both
@pytest.mark.parametrize(
    ("ty", "literal"),
    [
        *[("f32", "0.1"), ("f64", "0.1"), ("f16", "0.1"), ("bf16", "0.1"), ("f32", "-0.0")],
        *[("i32", "-7"), ("i64", "9223372036854775807"), ("i8", "-128"), ("index", "5")],
        *[("i1", "true")],
    ],
)
def test_constant(ty: str, literal: str, vector: bool) -> None:
    value = f"dense<{literal}>" if vector else literal
    body = f"%r0 = arith.constant {value} : T({ty})"
    if ty == "i1" and not vector:
        body = f"%r0 = arith.constant {literal}"
    (out,) = apply(body, [], [ty], vector)
    number = True if literal == "true" else float(literal) if ty[0] in "fb" else int(literal)
    expected = np.full(16, number, DTYPES[ty])
    np.testing.assert_array_equal(out.view("u1"), expected.view("u1"))


def test_constant_lanes() -> None:
    lanes = ", ".join(map(str, range(16)))
    (out,) = apply(f"%r0 = arith.constant dense<[{lanes}]> : T(index)", [], ["index"], True)
    np.testing.assert_array_equal(out, range(16))


@pytest.mark.parametrize("ty", ["f16", "bf16"])
def test_narrow_arithmetic_is_refused(ty: str) -> None:
    with pytest.raises(CodegenError, match=r"arith\.addf.*must be extended"):
        apply(f"%r0 = arith.addf %x0, %x0 : T({ty})", [(ty, numbers(ty))], [ty], True)
