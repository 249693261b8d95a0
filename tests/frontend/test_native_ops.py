"""Every operator's samples through compiled code, eagerly, against its NumPy reference."""

from __future__ import annotations

import re
from typing import Any

import numpy as np
import pytest

from calque.frontend.creation import from_array
from calque.frontend.dispatch import apply
from calque.frontend.tensor import Tensor
from calque.ir.dialect import ALL_OPS
from calque.ir.op import Op, Sample, evaluate

# The longest chain of roundings behind one element: elementary functions are within a few ulp of
# the true value, as NumPy's are.
ULPS = 8
EAGER = [op for op in ALL_OPS if op.REFERENCE is not None]


def reduced(op: type[Op], sample: Sample) -> int:
    """How many terms one element of the result may sum."""
    sizes = [a.size for a in sample.args]
    return max(sizes, default=1) if op.name not in ELEMENTWISE else 1


ELEMENTWISE = {op.name for op in ALL_OPS if hasattr(op, "ARITY")}


def compare(op: type[Op], sample: Sample, got: np.ndarray, want: np.ndarray) -> None:
    assert got.dtype == want.dtype
    assert got.shape == want.shape
    if want.dtype.kind == "V":  # bfloat16: casts are exact
        got, want = got.astype(np.float32), want.astype(np.float32)
        np.testing.assert_array_equal(got, want)
        return
    if want.dtype.kind != "f":
        np.testing.assert_array_equal(got, want)
        return
    eps = float(np.finfo(want.dtype).eps)
    terms = reduced(op, sample)
    scale = max((float(np.nanmax(np.abs(a[np.isfinite(a)]), initial=0)) for a in sample.args
                 if a.dtype.kind == "f"), default=0.0)  # fmt: skip
    atol = eps * terms * max(scale, 1.0) * (scale if op.name == "calque.matmul" else 1.0)
    atol = atol if terms > 1 else float(np.finfo(want.dtype).smallest_subnormal)
    np.testing.assert_allclose(got, want, rtol=ULPS * eps * max(1, terms**0.5), atol=atol)


@pytest.mark.parametrize("op", EAGER, ids=lambda op: op.name.removeprefix("calque."))
def test_samples(op: type[Op]) -> None:
    with np.errstate(all="ignore"):  # samples hold values that overflow narrow types
        samples = list(op.samples())
    for sample in samples:
        tensors = [from_array(a) for a in sample.args]
        if sample.error is not None:
            with pytest.raises(sample.error[0], match=re.escape(sample.error[1])):
                apply(op, tensors, sample.attrs)
            continue
        want = evaluate(op, sample.args, sample.attrs)
        got: Any = apply(op, tensors, sample.attrs)
        pairs = zip(_tuple(got), _tuple(want), strict=True)
        for g, w in pairs:
            assert isinstance(g, Tensor)
            compare(op, sample, np.asarray(g._array()), w)


def _tuple(x: Any) -> tuple[Any, ...]:
    return x if isinstance(x, tuple) else (x,)
