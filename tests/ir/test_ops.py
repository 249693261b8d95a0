"""Every operator against its samples: inference, errors, text, meaning, derivatives."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from xdsl.dialects.builtin import f32
from xdsl.ir import Block, SSAValue

import oneop
import scalars
from calque.ir.dialect import ALL_OPS
from calque.ir.op import Op, Sample, array_meta, evaluate, infer
from calque.ir.ops._elementwise import Elementwise
from calque.ir.scalar import ScalarBuilder
from calque.ir.text import from_text, to_text
from calque.ir.types import TensorMeta
from calque.ir.verify import verify
from derivatives import Program, backward, check, weighted
from oneop import about, apply, build, dynamic, samples

OPS = pytest.mark.parametrize("op", ALL_OPS, ids=lambda op: op.name.removeprefix("calque."))
ELEMENTWISE = pytest.mark.parametrize(
    "op", [op for op in ALL_OPS if issubclass(op, Elementwise)], ids=lambda op: op.name
)


@OPS
def test_is_complete(op: type[Op]) -> None:
    assert op.name.startswith("calque.")
    assert op.__doc__
    assert op.REFERENCE is not None or hasattr(op, "interpret")
    assert samples(op) or hasattr(op, "interpret")
    assert hasattr(op, "lower") or hasattr(op, "decompose")


@OPS
def test_reference_has_the_inferred_meta(op: type[Op]) -> None:
    # `evaluate` casts, so the reference itself is asked for its shape only.
    for sample in samples(op):
        with about(op, sample):
            metas = infer(op, [array_meta(a) for a in sample.args], sample.attrs)
            results = oneop.as_tuple(evaluate(op, sample.args, sample.attrs))
            assert [array_meta(r) for r in results] == list(metas)


@OPS
def test_bad_inputs_raise(op: type[Op]) -> None:
    for sample in samples(op, errors=True):
        assert sample.error is not None
        kind, words = sample.error
        with about(op, sample), pytest.raises(kind) as raised:
            evaluate(op, sample.args, sample.attrs)
        with about(op, sample):
            assert words in str(raised.value)


@OPS
def test_text_is_stable_and_runs(op: type[Op]) -> None:
    for sample in samples(op):
        with about(op, sample):
            module = build([array_meta(a) for a in sample.args], apply(op, sample.attrs))
            text = to_text(module)
            again = from_text(text)
            verify(again)
            assert to_text(again) == text
            wanted = oneop.as_tuple(evaluate(op, sample.args, sample.attrs))
            _same(oneop.run(again, sample.args), wanted)


@OPS
def test_symbolic_sizes(op: type[Op]) -> None:
    for sample in samples(op):
        with about(op, sample):
            metas, attributes, examples = dynamic(sample, op)
            module = from_text(to_text(build(metas, apply(op, attributes), examples)))
            wanted = oneop.as_tuple(evaluate(op, sample.args, sample.attrs))
            _same(oneop.run(module, sample.args), wanted)


def _same(got: Sequence[np.ndarray], wanted: Sequence[np.ndarray]) -> None:
    for a, b in zip(got, wanted, strict=True):
        assert a.dtype == b.dtype
        np.testing.assert_array_equal(_wide(a), _wide(b))


def _wide(x: np.ndarray) -> np.ndarray:
    """NumPy's comparison knows the NaN of its own floats only."""
    return x if x.dtype.kind in "iub" else x.astype(np.float64)


# ---- bodies --------------------------------------------------------------------------------


@ELEMENTWISE
def test_body_is_the_reference(op: type[Elementwise]) -> None:
    for sample in samples(op):
        with about(op, sample):
            wanted = evaluate(op, sample.args, sample.attrs)
            got = _run_body(op, sample, wanted)
            if op.EXACT:
                np.testing.assert_array_equal(_wide(got), _wide(wanted))
                if wanted.dtype.kind not in "iub":
                    zeros = wanted == 0
                    np.testing.assert_array_equal(np.signbit(got[zeros]), np.signbit(wanted[zeros]))
            else:
                close = 1e-14 if wanted.dtype == np.float64 else 1e-6
                if wanted.dtype.itemsize == 2:
                    close = 1e-2
                np.testing.assert_allclose(
                    got.astype(np.float64), wanted.astype(np.float64), rtol=close, atol=1e-37
                )


def _run_body(op: type[Elementwise], sample: Sample, wanted: np.ndarray) -> np.ndarray:
    """A body on a sample, 16-bit floats in float32 as the lowering computes them."""
    metas, out = [array_meta(a) for a in sample.args], array_meta(wanted)
    narrow = any(m.dtype.bits == 16 and m.dtype.kind == "f" for m in (*metas, out))
    block = Block(arg_types=[m.dtype.element for m in metas])
    s = ScalarBuilder(block.add_op, unsigned=any(m.dtype.kind == "u" for m in metas))
    args: list[SSAValue] = list(block.args)
    if narrow and op.name != "calque.bitcast":
        args = [s.cast(x, f32) if m.dtype.kind == "f" and m.dtype.bits == 16 else x
                for x, m in zip(args, metas, strict=True)]  # fmt: skip
    result = op.body(s, *args, **sample.attrs)
    if narrow:
        result = s.cast(result, out.dtype.element)
    arrays = [a.view(np.int8) if a.dtype == np.uint8 else a for a in sample.args]
    got = scalars.run(block, result, arrays)
    return np.broadcast_to(got, wanted.shape).astype(_signless(out)).view(out.dtype.numpy)


def _signless(m: TensorMeta) -> Any:
    return np.int8 if m.dtype.kind == "u" else m.dtype.numpy


# ---- derivatives ---------------------------------------------------------------------------


@OPS
@pytest.mark.parametrize("sizes", ["static", "symbolic"])
def test_first_derivative(op: type[Op], sizes: str) -> None:
    for sample in _smooth(op):
        with about(op, sample):
            check(_forward(op, sample, sizes == "symbolic"))


@OPS
@pytest.mark.parametrize("sizes", ["static", "symbolic"])
def test_second_derivative(op: type[Op], sizes: str) -> None:
    for sample in _smooth(op):
        with about(op, sample):
            check(backward(_forward(op, sample, sizes == "symbolic")))


def _smooth(op: type[Op]) -> list[Sample]:
    """Samples that can be differentiated, in float64, one for each shape and structure."""
    chosen: dict[Any, Sample] = {}
    for sample in samples(op):
        widths = {a.dtype.itemsize for a in sample.args if a.dtype.kind not in "iub"}
        if not sample.grad or not widths or min(widths) < 4:
            continue
        args = tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in sample.args)
        # What an elementwise rule does is the same at every shape, a rank each is enough.
        same = (lambda a: a.ndim) if issubclass(op, Elementwise) else (lambda a: a.shape)
        key = (tuple((same(a), a.dtype) for a in args), repr(sample.attrs))
        chosen.setdefault(key, Sample(args, sample.attrs))
    return list(chosen.values())


def _forward(op: type[Op], sample: Sample, symbolic: bool) -> Program:
    """An operator's weighted float results as a function of operands and weights."""
    metas, attributes, examples = [array_meta(a) for a in sample.args], sample.attrs, {}
    if symbolic:
        metas, attributes, examples = dynamic(sample, op)
    return weighted(metas, apply(op, attributes), sample.args, examples)
