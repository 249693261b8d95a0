"""Symbolic sizes: normal forms, bounds, decisions, guards, text."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from calque.ir import sym
from calque.ir.sym import Dim, Guard, SymEnv, UndecidedError, symbol

B, T = symbol("B"), symbol("T")
VALUES = [{"B": b, "T": t} for b, t in itertools.product((2, 3, 12), (2, 9))]


def leaves() -> st.SearchStrategy[Dim]:
    return st.one_of(st.integers(-6, 6), st.sampled_from([B, T]))


def grow(inner: st.SearchStrategy[Dim]) -> st.SearchStrategy[Dim]:
    positive = st.integers(1, 6)
    return st.one_of(
        st.builds(lambda a, b: a + b, inner, inner),
        st.builds(lambda a, b: a - b, inner, inner),
        st.builds(lambda a, b: a * b, inner, inner),
        st.builds(sym.floordiv, inner, positive),
        st.builds(sym.mod, inner, positive),
        st.builds(sym.smin, inner, inner),
        st.builds(sym.smax, inner, inner),
    )


SIZES = st.recursive(leaves(), grow, max_leaves=8)


@pytest.mark.parametrize(
    ("made", "text"),
    [
        (B + 1 - B, "1"),
        (B * T - T * B, "0"),
        (2 * B + B, "3*B"),
        ((B + 1) * (B - 1), "B*B - 1"),
        (3 - B, "-B + 3"),
        (sym.floordiv(6 * B * T, 3 * T), "2*B"),
        (sym.floordiv(4 * B + 2, 4), "B"),
        (sym.floordiv(B + 1, 2), "floordiv(B + 1, 2)"),
        (sym.mod(4 * B, 2), "0"),
        (sym.mod(5 * B + 7, 5), "2"),
        (sym.smin(B, B + 1), "B"),
        (sym.smax(B, 1), "B"),
        (sym.smin(B, T), "min(B, T)"),
        (sym.product([B, 3, T]), "3*B*T"),
    ],
)
def test_normal_form(made: Dim, text: str) -> None:
    assert str(made) == text


def test_equality_is_structural() -> None:
    assert (B + T) * 2 == 2 * T + 2 * B
    assert hash((B + T) * 2) == hash(2 * T + 2 * B)
    assert B != T
    assert B + 0 is not None and B * 1 == B


@settings(max_examples=50, deadline=None)
@given(SIZES)
def test_text_reads_back(size: Dim) -> None:
    assert sym.parse(str(size)) == size


@settings(max_examples=50, deadline=None)
@given(SIZES, SIZES)
def test_arithmetic_agrees_with_integers(a: Dim, b: Dim) -> None:
    pairs: list[tuple[Dim, Callable[[int, int], int]]] = [
        (a + b, lambda x, y: x + y),
        (a - b, lambda x, y: x - y),
        (a * b, lambda x, y: x * y),
        (sym.smin(a, b), min),
        (sym.smax(a, b), max),
    ]
    for values in VALUES:
        x, y = sym.evaluate(a, values), sym.evaluate(b, values)
        for made, wanted in pairs:
            assert sym.evaluate(made, values) == wanted(x, y)
        if y:
            try:
                quotient, rest = sym.floordiv(a, b), sym.mod(a, b)
            except ZeroDivisionError:
                continue
            try:
                assert sym.evaluate(quotient, values) == x // y
                assert sym.evaluate(rest, values) == x % y
            except ZeroDivisionError:
                continue


@settings(max_examples=50, deadline=None)
@given(SIZES)
def test_bounds_hold(size: Dim) -> None:
    low, high = sym.bounds(size)
    for values in VALUES:
        value = sym.evaluate(size, values)
        assert low is None or low <= value
        assert high is None or value <= high


def test_what_the_algebra_decides() -> None:
    assert sym.same(B + T, T + B)
    assert not sym.same(B, B + 1)
    assert not sym.same(B, 1), "sizes 0 and 1 are specialized"
    assert sym.less(0, B) and sym.less(B, B + 1) and not sym.less(B * T, 4)


def test_what_outgrows_the_rest_is_decided() -> None:
    assert sym.less(T, B * T) and not sym.less(B * T, T)
    assert sym.less(B + T, B * T + 1) and not sym.same(B * T + B, T)
    assert sym.bounds(B * T - T) == (2, None)
    assert sym.bounds(T - B * T * T + B) == (None, -4)
    assert sym.bounds(B - T) == (None, None)


def test_an_open_question_needs_an_example() -> None:
    with pytest.raises(UndecidedError, match="cannot tell whether B == T"):
        sym.same(B, T)
    with (
        SymEnv({"B": 4}),
        pytest.raises(UndecidedError, match="T has no example value; give it as"),
    ):
        sym.same(B, T)


def test_examples_decide_and_leave_guards() -> None:
    with SymEnv({"B": 4, "T": 4}) as env:
        assert sym.same(B, T)
        assert not sym.less(T, B)
        assert not sym.same(B, 5)
    assert [str(g) for g in env.guards] == ["B == T", "B != 5"]
    # Later questions are answered by the guards, whatever the example.
    with SymEnv(guards=env.guards):
        assert sym.same(T, B)
        assert not sym.same(5, B)


def test_guards_hold_and_read_back() -> None:
    guard = Guard("<=", B, 2 * T - 1)
    assert Guard.parse(str(guard)) == guard
    assert guard.holds({"B": 5, "T": 3}) and not guard.holds({"B": 6, "T": 3})
    with pytest.raises(ValueError, match="not a guard"):
        Guard.parse("B")


def test_environments_nest_and_end() -> None:
    with SymEnv({"B": 2}) as outer:
        with SymEnv({"B": 3}) as inner:
            assert sym.current_env() is inner
        assert sym.current_env() is outer
    assert sym.current_env() is None


def test_substitution() -> None:
    size = sym.floordiv(B * 3 + T, 2)
    assert sym.substitute(size, {"B": 2, "T": 4}) == 5
    assert str(sym.substitute(size, {"T": 1})) == "floordiv(3*B + 1, 2)"
    with pytest.raises(KeyError, match="T"):
        sym.evaluate(size, {"B": 2})
    assert sym.symbols(size) == {"B", "T"}


@pytest.mark.parametrize("text", ["", "B +", "B / 2", "f(B, 2)", "B.x", "1.5"])
def test_what_is_no_size(text: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        sym.parse(text)
