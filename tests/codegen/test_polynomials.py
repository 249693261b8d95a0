from __future__ import annotations

import dataclasses
import itertools
import re
import subprocess
import sys
from collections.abc import Callable
from functools import cache
from pathlib import Path

import ml_dtypes
import numpy as np
import pytest

from calque.codegen.llvm import Fn
from calque.codegen.polynomials import NAMES, ULPS, expand, expand_fpowi
from calque.codegen.polynomials_pow import ipowi
from calque.ir.target import Target

from .expansion import Elementwise

ROOT = Path(__file__).resolve().parents[2]
EXTENDED = np.longdouble
DTYPES = {"f32": np.dtype("f4"), "f64": np.dtype("f8")}
BINARY = ("powf", "atan2")
CASES = [(name, fmt) for name in ULPS if name != "fpowi" for fmt in DTYPES]

pytestmark = [
    pytest.mark.skipif(np.finfo(EXTENDED).nmant < 60, reason="needs extended precision"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


def erf(x: np.ndarray) -> np.ndarray:
    """In extended precision: a series up to 3, a continued fraction for erfc beyond."""
    a = np.abs(x)
    pi = EXTENDED("3.14159265358979323846264338327950288")
    factor = 2 / np.sqrt(pi)
    near = np.minimum(a, 3)
    term = total = near
    for n in range(1, 100):
        term = term * (2 * near * near / (2 * n + 1))
        total = total + term
    far = np.maximum(a, 3)
    fraction = np.zeros_like(far)
    for n in range(100, 0, -1):
        fraction = (EXTENDED(n) / 2) / (far + fraction)
    tail = np.exp(-far * far) * factor / 2 / (far + fraction)
    value = np.where(a < 3, factor * np.exp(-near * near) * total, 1 - tail)
    return np.copysign(np.where(np.isnan(x), x, value), x)


REFERENCES: dict[str, Callable[..., np.ndarray]] = {
    "exp": np.exp,
    "exp2": np.exp2,
    "expm1": np.expm1,
    "sinh": np.sinh,
    "cosh": np.cosh,
    "tanh": np.tanh,
    "erf": erf,
    "log": np.log,
    "log2": np.log2,
    "log10": np.log10,
    "log1p": np.log1p,
    "asinh": np.arcsinh,
    "acosh": np.arccosh,
    "atanh": np.arctanh,
    "sin": np.sin,
    "cos": np.cos,
    "tan": np.tan,
    "asin": np.arcsin,
    "acos": np.arccos,
    "atan": np.arctan,
    "atan2": np.arctan2,
    "powf": np.power,
    "cbrt": np.cbrt,
    "rsqrt": lambda x: 1 / np.sqrt(x),
}


def reference(name: str, args: list[np.ndarray]) -> np.ndarray:
    """The result in extended precision; f64 arithmetic is enough for one argument of f32."""
    wide = np.dtype("f8") if args[0].dtype.itemsize == 4 and len(args) == 1 else EXTENDED
    if name == "erf":
        wide = EXTENDED
    return REFERENCES[name](*[a.astype(wide) for a in args]).astype(EXTENDED)


@cache
def compiled(name: str, fmt: str, width: int, target: Target) -> Elementwise:
    def body(f: Fn, ty: str, args: list[str]) -> str:
        return expand(f, name, ty, args)

    return Elementwise(body, 2 if name in BINARY else 1, fmt, width, target)


def native(name: str, fmt: str) -> Elementwise:
    target = Target.host()
    return compiled(name, fmt, target.width(8 * DTYPES[fmt].itemsize), target)


def samples(dtype: np.dtype, seed: int) -> np.ndarray:
    """Every bit pattern alike, every exponent, several ranges, and neighbourhoods of +-1."""
    random = np.random.default_rng(seed)
    info = np.finfo(dtype)
    words = random.bytes(dtype.itemsize << 15)
    exponents = np.arange(info.minexp - info.nmant, info.maxexp).repeat(1 << 15 >> 11)
    mantissas = random.uniform(1, 2, exponents.size) * random.choice([-1.0, 1.0], exponents.size)
    n = 1 << 13
    parts = [
        np.frombuffer(words, dtype),
        np.ldexp(mantissas, exponents.astype("i4")),
        *[random.uniform(-bound, bound, n) for bound in (1, 3, 20, 120, 1000)],
        (1 + random.uniform(-1, 1, n) * 2.0 ** random.integers(-30, 0, n))
        * random.choice([-1.0, 1.0], n),
    ]
    x = np.concatenate([p.astype(dtype) for p in parts])
    return x[: x.size // 16 * 16]


def arguments(name: str, fmt: str) -> list[np.ndarray]:
    x = samples(DTYPES[fmt], 1)
    if name not in BINARY:
        return [x]
    random = np.random.default_rng(2)
    y = random.permutation(x)
    if name == "atan2":
        return [x, y]
    # Exponents that keep the power within range, for half of the bases.
    logs = np.abs(np.log2(np.abs(x).astype("f8")))
    within = random.uniform(-1, 1, x.size) * np.finfo(x.dtype).maxexp / np.maximum(logs, 1e-30)
    y[::2] = within.astype(x.dtype)[::2]
    return [np.where(random.uniform(size=x.size) < 0.75, np.abs(x), x), y]


SPECIAL = [0.0, 1.0, 0.5, 1.5, 2.0, 3.0, 4.0, 1e-40, 5e-324, 1e10, 1e300, np.inf, np.nan]


def specials(name: str, fmt: str) -> list[np.ndarray]:
    """All (combinations of) special values of both signs."""
    dtype = DTYPES[fmt]
    info = np.finfo(dtype)
    one = np.array([*SPECIAL, info.max, info.tiny, info.smallest_subnormal], dtype)
    values = np.concatenate([one, -one])
    if name not in BINARY:
        return [values]
    return [a.ravel().copy() for a in np.meshgrid(values, values)]


def ulps(got: np.ndarray, exact: np.ndarray) -> np.ndarray:
    """Errors in units of the last place of the exact result; infinite for a wrong NaN or
    infinity. A result that rounds to infinity may be the largest number, and vice versa."""
    info = np.finfo(got.dtype)
    want = exact.astype(got.dtype)
    exponent = np.maximum(np.frexp(np.abs(exact))[1] - 1, info.minexp)
    error = np.abs(got.astype(EXTENDED) - exact) / np.ldexp(EXTENDED(1), exponent - info.nmant)
    same = (np.isnan(got) & np.isnan(want)) | (got == want)
    edge = np.isinf(got) != np.isinf(want)
    edge &= (np.abs(got) >= info.max) & (np.abs(want) >= info.max)
    error = np.where(np.isfinite(error), error, np.inf)
    exceptional = ~np.isfinite(want) | ~np.isfinite(got)
    return np.where(exceptional & (same | edge), 0, error)


def same_bits(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    """Equality of bits, all NaNs being equal."""
    words = f"u{a.itemsize}"
    return (a.view(words) == b.view(words)) | (np.isnan(a) & np.isnan(b))


@pytest.mark.parametrize(("name", "fmt"), CASES)
def test_error(name: str, fmt: str) -> None:
    bound = ULPS[name][list(DTYPES).index(fmt)]
    args = arguments(name, fmt)
    error = ulps(native(name, fmt)(*args), reference(name, args))
    worst = int(error.argmax())
    assert error[worst] <= bound, [a[worst] for a in args]


@pytest.mark.parametrize(("name", "fmt"), CASES)
def test_special_values(name: str, fmt: str) -> None:
    args = specials(name, fmt)
    count = args[0].size
    padded = [np.concatenate([a, np.ones(-count % 16, a.dtype)]) for a in args]
    got = native(name, fmt)(*padded)[:count]
    exact = reference(name, args)
    assert (ulps(got, exact) <= ULPS[name][list(DTYPES).index(fmt)]).all()
    signs = (np.signbit(got) == np.signbit(exact)) | np.isnan(got)
    assert signs.all(), [a[~signs] for a in args]


@pytest.mark.parametrize(("name", "fmt"), CASES)
def test_width_does_not_matter(name: str, fmt: str) -> None:
    args = [a[::8][: a[::8].size // 16 * 16] for a in arguments(name, fmt)]
    results = [compiled(name, fmt, w, Target.host())(*args) for w in (0, 4, 8, 16)]
    for other in results[1:]:
        assert same_bits(results[0], other).all()


@pytest.mark.skipif(not Target.host().has("avx512vl"), reason="compares with AVX-512")
@pytest.mark.parametrize(("name", "fmt"), CASES)
def test_instruction_set_does_not_matter(name: str, fmt: str) -> None:
    host = Target.host()
    plain = dataclasses.replace(
        host, cpu="x86-64-v3", features="+avx2,+fma", vector_bits=256, registers=16
    )
    width = plain.width(8 * DTYPES[fmt].itemsize)
    args = arguments(name, fmt)
    assert same_bits(native(name, fmt)(*args), compiled(name, fmt, width, plain)(*args)).all()


@pytest.mark.parametrize("name", [n for n in NAMES if n not in BINARY])
def test_no_library_calls(name: str) -> None:
    arity = {"fma": 3, "copysign": 2}.get(name, 1)
    kernel = Elementwise(lambda f, ty, a: expand(f, name, ty, a), arity, "f64", 8, Target.host())
    called = re.findall(r"call [^@]*@([\w.]+)", kernel.text)
    assert all(symbol.startswith("llvm.") for symbol in called)


@pytest.mark.parametrize("name", ["sin", "cos", "tan"])
@pytest.mark.parametrize("fmt", DTYPES)
def test_arguments_next_to_multiples_of_half_pi(name: str, fmt: str) -> None:
    dtype = DTYPES[fmt]
    hardest = {"f32": 16367173 * 2.0**72, "f64": 6381956970095103 * 2.0**797}[fmt]
    halves = np.arange(1, 1 << 20, 37) * (np.pi / 2)
    x = np.concatenate([halves, [hardest, -hardest, 2.0**30, 2.0**16]]).astype(dtype)
    x = np.concatenate([x, np.nextafter(x, np.inf, dtype=dtype)])
    x = x[-(x.size // 16 * 16) :]
    exact = REFERENCES[name](x.astype(EXTENDED))
    assert ulps(native(name, fmt)(x), exact).max() <= ULPS[name][list(DTYPES).index(fmt)]


@pytest.mark.parametrize("fmt", ["f16", "bf16"])
@pytest.mark.parametrize("name", ["exp", "tanh", "log", "sin", "floor"])
def test_narrow_types_round_once(name: str, fmt: str) -> None:
    dtype = np.dtype("f2") if fmt == "f16" else np.dtype(ml_dtypes.bfloat16)
    x = np.arange(1 << 16, dtype="u2").view(dtype)
    got = Elementwise(lambda f, ty, a: expand(f, name, ty, a), 1, fmt, 16, Target.host())(x)
    want = native(name, "f32")(x.astype("f4")).astype(dtype)
    nan = np.isnan(got) & np.isnan(want)
    assert ((got.view("u2") == want.view("u2")) | nan).all()


def test_round_to_integers() -> None:
    x = np.array([0.5, 1.5, 2.5, -0.5, -1.5, -2.5, 0.49999997, -0.0] * 2, "f4")
    away = native("round", "f32")(x)
    even = native("roundeven", "f32")(x)
    assert away.tolist() == [1, 2, 3, -1, -2, -3, 0, 0] * 2
    assert even.tolist() == [0, 2, 2, 0, -2, -2, 0, 0] * 2
    assert np.signbit(away[7]) and np.signbit(even[3])


@pytest.mark.parametrize("fmt", DTYPES)
def test_powers_with_integer_exponents(fmt: str) -> None:
    dtype = DTYPES[fmt]
    bases = np.array([0.0, -0.0, 1.0, -1.0, 2.0, -3.0, 0.7, -1.01, np.inf, -np.inf, np.nan])
    exponents = [0, 1, -1, 2, 3, -3, 10, 301, -2147483648, 2147483647]
    for n in exponents:

        def body(f: Fn, ty: str, args: list[str], n: int = n) -> str:
            return expand_fpowi(f, ty, args[0], f.const("<11 x i32>", n), "<11 x i32>")

        x = bases.astype(dtype)
        got = Elementwise(body, 1, fmt, 11, Target.host())(x)
        exact = np.power(x.astype(EXTENDED), EXTENDED(n))
        assert (ulps(got, exact) <= ULPS["fpowi"][list(DTYPES).index(fmt)]).all(), n
        assert ((np.signbit(got) == np.signbit(exact)) | np.isnan(got)).all(), n


def test_integer_powers() -> None:
    def body(f: Fn, ty: str, args: list[str]) -> str:
        return ipowi(f, ty, args[0], args[1])

    pairs = list(itertools.product([0, 1, -1, 2, -3, 7], [0, 1, -1, 2, 3, -2, 31]))
    pairs += [(1, 1)] * (-len(pairs) % 4)
    x, y = (np.array(column, "i4") for column in zip(*pairs, strict=True))
    got = Elementwise(body, 2, "i32", 4, Target.host())(x, y)
    for a, b, result in zip(x.tolist(), y.tolist(), got.tolist(), strict=True):
        exact = a**b if b >= 0 else (0 if a == 0 else int(a**b))
        assert result == (exact + 2**31) % 2**32 - 2**31


def test_coefficients_are_what_the_tool_writes() -> None:
    tool = ROOT / "tools" / "fit_polynomials.py"
    written = subprocess.run([sys.executable, tool], capture_output=True, text=True, check=True)
    assert written.stdout == (ROOT / "codegen" / "coefficients.py").read_text()
