"""Symbolic sizes: the algebra of `polynomial.py`, and questions about sizes.

Questions that the algebra cannot decide (`same`, `less`) are answered by the current `SymEnv` from
the symbols' example values and recorded there as guards; without one they raise `UndecidedError`.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field

from .polynomial import (
    MIN,
    Dim,
    Expr,
    Func,
    bounds,
    evaluate,
    floordiv,
    gcd_of,
    mod,
    parse,
    product,
    smax,
    smin,
    substitute,
    symbol,
    symbols,
)


class UndecidedError(ValueError):
    """A comparison of sizes has no known answer and no example to answer it."""


@dataclass(frozen=True, slots=True)
class Guard:
    """A fact about sizes that a program relies on: `lhs op rhs`, op one of == != < <=."""

    op: str
    lhs: Dim
    rhs: Dim

    def __str__(self) -> str:
        return f"{self.lhs} {self.op} {self.rhs}"

    def holds(self, values: Mapping[str, int]) -> bool:
        a, b = evaluate(self.lhs, values), evaluate(self.rhs, values)
        return {"==": a == b, "!=": a != b, "<": a < b, "<=": a <= b}[self.op]

    @staticmethod
    def parse(text: str) -> Guard:
        """The guard that `str` printed."""
        for op in ("==", "!=", "<=", "<"):
            lhs, found, rhs = text.partition(f" {op} ")
            if found:
                return Guard(op, parse(lhs), parse(rhs))
        raise ValueError(f"'{text}' is not a guard")


@dataclass
class SymEnv:
    """Examples for symbols and the guards taken with them. `with env:` makes it current."""

    examples: dict[str, int] = field(default_factory=dict)
    guards: list[Guard] = field(default_factory=list)

    def __enter__(self) -> SymEnv:
        _local.stack = [*_stack(), self]
        return self

    def __exit__(self, *exc: object) -> None:
        _local.stack = _stack()[:-1]

    def decide(self, op: str, a: Dim, b: Dim) -> bool:
        """The truth of `a op b`: from the guards taken so far, else by example, recorded."""
        for guard in self.guards:
            known = _implied(guard, op, a, b)
            if known is not None:
                return known
        try:
            truth = Guard(op, a, b).holds(self.examples)
        except KeyError as missing:
            raise UndecidedError(
                f"cannot tell whether {a} {op} {b}: size {missing.args[0]} has no example value; "
                "give it as a number, or give sizes that are equal one name"
            ) from None
        negated = {"==": "!=", "!=": "=="}
        if truth:
            self.guards.append(Guard(op, a, b))
        elif op in negated:
            self.guards.append(Guard(negated[op], a, b))
        else:
            self.guards.append(Guard("<=" if op == "<" else "<", b, a))
        return truth


def _implied(guard: Guard, op: str, a: Dim, b: Dim) -> bool | None:
    """What one guard says directly of `a op b`, or None."""
    known, asked = guard.lhs - guard.rhs, a - b
    straight, reverse = known == asked, known == -asked
    if not (straight or reverse):
        return None
    if op in ("==", "!="):
        if guard.op in ("==", "!="):
            return guard.op == op
        return op == "!=" if guard.op == "<" else None
    if guard.op == "==":
        return op == "<="
    if guard.op == "!=":
        return None
    if straight:
        return True if guard.op == "<" or op == "<=" else None
    return False if guard.op == "<" or op == "<" else None


_local = threading.local()


def _stack() -> list[SymEnv]:
    return getattr(_local, "stack", [])


def current_env() -> SymEnv | None:
    """The innermost environment of this thread."""
    stack = _stack()
    return stack[-1] if stack else None


def _decide(op: str, a: Dim, b: Dim) -> bool:
    env = current_env()
    if env is None:
        raise UndecidedError(
            f"cannot tell whether {a} {op} {b} for every size; give sizes or an example"
        )
    return env.decide(op, a, b)


def same(a: Dim, b: Dim) -> bool:
    """Whether two sizes are equal, guarded where only the example tells."""
    if a is b or a == b:
        return True
    if isinstance(a, int) and isinstance(b, int):
        return False
    low, high = bounds(a - b)
    if (low is not None and low > 0) or (high is not None and high < 0):
        return False
    return _decide("==", a, b)


def same_shape(a: Iterable[Dim], b: Iterable[Dim]) -> bool:
    """Whether two shapes are equal, dimension by dimension."""
    a, b = tuple(a), tuple(b)
    return len(a) == len(b) and all(same(x, y) for x, y in zip(a, b, strict=True))


def fixed(x: Dim) -> int:
    """x as a number: its example value, guarded. Raises UndecidedError where it has none."""
    if isinstance(x, int):
        return x
    env = current_env()
    try:
        value = evaluate(x, env.examples if env is not None else {})
    except KeyError:
        raise UndecidedError(
            f"size {x} is needed as a number here, but has no example value; give it as one"
        ) from None
    same(x, value)
    return value


def shown(x: Dim) -> str:
    """A size as messages show it: the one that was met, where its symbols have examples."""
    env = current_env()
    if isinstance(x, int) or env is None:
        return str(x)
    try:
        return str(evaluate(x, env.examples))
    except KeyError:
        return str(x)


def less(a: Dim, b: Dim) -> bool:
    """Whether a < b, guarded where only the example tells."""
    if isinstance(a, int) and isinstance(b, int):
        return a < b
    low, high = bounds(a - b)
    if high is not None and high < 0:
        return True
    if low is not None and low >= 0:
        return False
    return _decide("<", a, b)


__all__ = [
    "MIN",
    "Dim",
    "Expr",
    "Func",
    "Guard",
    "SymEnv",
    "UndecidedError",
    "bounds",
    "current_env",
    "evaluate",
    "floordiv",
    "gcd_of",
    "less",
    "mod",
    "parse",
    "product",
    "same",
    "same_shape",
    "shown",
    "smax",
    "smin",
    "substitute",
    "symbol",
    "symbols",
]
