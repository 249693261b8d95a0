"""Weighted minimax polynomials with rounded coefficients, in `decimal` arithmetic."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from decimal import Decimal as D

import numpy as np

Fn = Callable[[D], D]
ZERO, ONE = D(0), D(1)


@dataclass(frozen=True)
class Fit:
    """`target(t)` on [lo, hi] by a polynomial of the given degree; weight(t) makes the error of
    the polynomial into the (usually relative) error of the function it serves."""

    name: str
    fmt: str
    meaning: str
    target: Fn
    lo: D
    hi: D
    degree: int
    weight: Fn


def rounded(x: D, fmt: str) -> D:
    """x rounded to the format (through the nearest double; the double rounding is harmless)."""
    return D(float(np.float32(float(x)))) if fmt == "f32" else D(float(x))


def solve(matrix: list[list[D]], rhs: list[D]) -> list[D]:
    """Gaussian elimination with partial pivoting."""
    n = len(rhs)
    rows = [[*row[:], b] for row, b in zip(matrix, rhs, strict=True)]
    for i in range(n):
        pivot = max(range(i, n), key=lambda r: abs(rows[r][i]))
        rows[i], rows[pivot] = rows[pivot], rows[i]
        for r in range(i + 1, n):
            factor = rows[r][i] / rows[i][i]
            if factor:
                rows[r] = [a - factor * b for a, b in zip(rows[r], rows[i], strict=True)]
    out = [ZERO] * n
    for i in reversed(range(n)):
        tail = sum((rows[i][j] * out[j] for j in range(i + 1, n)), ZERO)
        out[i] = (rows[i][n] - tail) / rows[i][i]
    return out


def horner(coefficients: list[D], t: D) -> D:
    total = ZERO
    for c in reversed(coefficients):
        total = total * t + c
    return total


def extrema(errors: list[D], count: int) -> list[int]:
    """Indices of alternating local extrema of the error, trimmed to `count` large ones."""
    picks: list[int] = []
    for i, e in enumerate(errors):
        if picks and (errors[picks[-1]] > 0) == (e > 0):
            if abs(e) > abs(errors[picks[-1]]):
                picks[-1] = i
        else:
            picks.append(i)
    while len(picks) > count:
        sizes = [abs(errors[p]) for p in picks]
        least = min(range(len(picks)), key=sizes.__getitem__)
        if least in (0, len(picks) - 1) or len(picks) == count + 1:
            picks.pop(0 if sizes[0] < sizes[-1] else -1)
        else:  # with its smaller neighbour, so that the signs still alternate
            other = least - 1 if sizes[least - 1] < sizes[least + 1] else least + 1
            for index in sorted((least, other), reverse=True):
                picks.pop(index)
    return picks


def remez(ts: list[D], ys: list[D], ws: list[D], degree: int) -> list[D]:
    """Coefficients (low to high) of the polynomial with the least max |w (y - p)| on the grid."""
    count = degree + 2
    step = (len(ts) - 1) / (count - 1)
    picks = [round(i * step) for i in range(count)]
    best: list[D] = []
    least = D("inf")
    for _ in range(30):
        matrix = []
        for i, p in enumerate(picks):
            powers = [ONE]
            for _ in range(degree):
                powers.append(powers[-1] * ts[p])
            matrix.append([*powers, (ONE if i % 2 == 0 else -ONE) / ws[p]])
        solution = solve(matrix, [ys[p] for p in picks])
        found, level = solution[:-1], abs(solution[-1])
        errors = [w * (y - horner(found, t)) for t, y, w in zip(ts, ys, ws, strict=True)]
        worst = max(map(abs, errors))
        if worst < least:
            best, least = found, worst
        picks = extrema(errors, count)
        if len(picks) < count or worst <= level * D("1.0005"):
            break
    return best


def run(fit: Fit) -> tuple[list[D], D]:
    """The rounded coefficients and the max weighted error that they leave."""
    n = 60 + 16 * fit.degree
    steps = [(2 * D(k) + 1) / (2 * n) for k in range(n)]
    ts = [fit.lo + (fit.hi - fit.lo) * u * u * (3 - 2 * u) for u in steps]  # denser at the ends
    ys = [fit.target(t) for t in ts]
    ws = [fit.weight(t) for t in ts]
    kept: list[D] = []
    rest, weights = ys, ws
    for degree in reversed(range(fit.degree + 1)):
        kept.append(rounded(remez(ts, rest, weights, degree)[0], fit.fmt))
        rest = [(y - kept[-1]) / t for t, y in zip(ts, rest, strict=True)]
        weights = [w * abs(t) for t, w in zip(ts, weights, strict=True)]
    pairs = zip(ts, ys, ws, strict=True)
    return kept, max(abs(w * (y - horner(kept, t))) for t, y, w in pairs)
