from __future__ import annotations

import pytest

from calque.runtime.sizes import evaluate, row_major


@pytest.mark.parametrize(
    ("dim", "value"),
    [
        (7, 7),
        ("B", 5),
        ("2*B + T", 22),
        ("-B + 6", 1),
        ("floordiv(T - 1, 2)*B", 25),
        ("mod(T, B)", 2),
        ("min(B, T) - max(1, 3)", 2),
        ("x.0", 9),
    ],
)
def test_evaluate(dim: int | str, value: int) -> None:
    assert evaluate(dim, {"B": 5, "T": 12, "x.0": 9}) == value


@pytest.mark.parametrize("dim", ["__import__('os')", "B.real", "B if B else 1", "B +", "B ** 2"])
def test_only_sizes_are_evaluated(dim: str) -> None:
    with pytest.raises(ValueError, match="is not a size"):
        evaluate(dim, {"B": 5})


def test_unknown_symbol() -> None:
    with pytest.raises(KeyError):
        evaluate("B + T", {"B": 5})


def test_row_major() -> None:
    assert row_major(()) == ()
    assert row_major((2, 3, 4)) == (12, 4, 1)
    assert row_major((2, 0, 4)) == (4, 4, 1)
