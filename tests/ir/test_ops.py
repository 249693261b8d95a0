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
from calque.ir.autodiff import gradients
from calque.ir.dialect import ALL_OPS
from calque.ir.op import Op, Sample, array_meta, evaluate, infer
from calque.ir.ops import full_like, mul
from calque.ir.ops import sum as total
from calque.ir.ops._elementwise import Elementwise
from calque.ir.scalar import ScalarBuilder
from calque.ir.sym import SymEnv
from calque.ir.text import from_text, to_text
from calque.ir.types import TensorMeta, meta_of
from calque.ir.verify import verify
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
            _check_gradient(_forward(op, sample, sizes == "symbolic"))


@OPS
@pytest.mark.parametrize("sizes", ["static", "symbolic"])
def test_second_derivative(op: type[Op], sizes: str) -> None:
    for sample in _smooth(op):
        with about(op, sample):
            _check_gradient(_backward(_forward(op, sample, sizes == "symbolic")))


class Program:
    """A function of arrays in IR, of which the arguments `active` are differentiated."""

    def __init__(
        self,
        metas: Sequence[TensorMeta],
        body: oneop.Body,
        arrays: Sequence[np.ndarray],
        examples: dict[str, int],
    ) -> None:
        self.metas, self.body, self.arrays, self.examples = metas, body, list(arrays), examples
        self.active = [i for i, m in enumerate(metas) if m.dtype.is_floating_point]
        self.module = build(metas, body, examples)

    def __call__(self, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
        return oneop.run(self.module, arrays)


def _smooth(op: type[Op]) -> list[Sample]:
    """Samples that can be differentiated, in float64, one for each shape and structure."""
    chosen: dict[Any, Sample] = {}
    for sample in samples(op):
        widths = {a.dtype.itemsize for a in sample.args if a.dtype.kind not in "iub"}
        if not sample.grad or not widths or min(widths) < 4:
            continue
        args = tuple(a.astype(np.float64) if a.dtype == np.float32 else a for a in sample.args)
        key = (tuple((a.shape, a.dtype) for a in args), repr(sample.attrs))
        chosen.setdefault(key, Sample(args, sample.attrs))
    return list(chosen.values())


def _forward(op: type[Op], sample: Sample, symbolic: bool) -> Program:
    """The weighted sum of an operator's float results, as a function of operands and weights."""
    metas, attributes, examples = [array_meta(a) for a in sample.args], sample.attrs, {}
    if symbolic:
        metas, attributes, examples = dynamic(sample, op)
    with SymEnv(examples):
        outs = [m for m in infer(op, metas, attributes) if m.dtype.is_floating_point]
    shapes = [r.shape for r in oneop.as_tuple(evaluate(op, sample.args, sample.attrs))
              if r.dtype.kind not in "iub"]  # fmt: skip
    rng = np.random.default_rng(7)
    weights = [np.asarray(rng.uniform(0.5, 2, s), m.dtype.numpy)
               for s, m in zip(shapes, outs, strict=True)]  # fmt: skip
    count = len(metas)

    def body(*args: SSAValue) -> Sequence[SSAValue]:
        results = [r for r in apply(op, attributes)(*args[:count])
                   if _is_float(r)]  # fmt: skip
        return [total(mul(r, w)) for r, w in zip(results, args[count:], strict=True)]

    return Program([*metas, *outs], body, [*sample.args, *weights], examples)


def _is_float(value: SSAValue) -> bool:
    return meta_of(value).dtype.is_floating_point


def _backward(program: Program) -> Program:
    """The gradient of a program's results, weighted and summed, as a program."""
    rng = np.random.default_rng(8)
    arrays = list(program.arrays)
    weights = [np.asarray(rng.uniform(0.5, 2, arrays[i].shape), arrays[i].dtype)
               for i in program.active]  # fmt: skip
    count = len(arrays)

    def body(*args: SSAValue) -> Sequence[SSAValue]:
        found = _gradients(program, args[:count])
        return [total(mul(g, w)) for g, w in zip(found, args[count:], strict=True) if g is not None]

    metas = [*program.metas, *[program.metas[i] for i in program.active]]
    return Program(metas, body, [*arrays, *weights], program.examples)


def _gradients(program: Program, args: Sequence[SSAValue]) -> list[SSAValue | None]:
    results = [r for r in program.body(*args) if _is_float(r)]
    inputs = [args[i] for i in program.active]
    return gradients(results, [full_like(r, 1) for r in results], inputs)


def _check_gradient(program: Program) -> None:
    """Compare the derivative along one direction with central differences.

    The step is halved until two estimates agree best; how far they are apart, and the rounding of
    values over the step, bound the error of the better one.
    """
    wanted = [i for i in program.active if program.arrays[i].size]
    if not wanted:
        return
    present: list[int] = []

    def body(*args: SSAValue) -> Sequence[SSAValue]:
        found = _gradients(program, args)
        present.extend(i for i, g in zip(program.active, found, strict=True) if g is not None)
        return [g for g in found if g is not None]

    module = build(program.metas, body, program.examples)
    found = dict(zip(present, oneop.run(module, program.arrays), strict=True))
    rng = np.random.default_rng(9)
    move = {i: rng.uniform(0.3, 1, program.arrays[i].shape) for i in wanted}
    slope = sum(float(np.sum(found[i] * move[i])) for i in wanted if i in found)
    assert all(found[i].shape == program.arrays[i].shape for i in present)

    def at(step: float) -> float:
        moved = [a + np.asarray(step * move[i], a.dtype) if i in move else a
                 for i, a in enumerate(program.arrays)]  # fmt: skip
        return sum(float(r) for r in program(moved))

    size = max(1.0, abs(at(0.0)), *(float(np.abs(found[i]).max()) for i in wanted if i in found))
    best, bound = 0.0, np.inf
    for exponent in (10, 12, 14):
        step = 2.0**-exponent
        coarse = (at(2 * step) - at(-2 * step)) / (4 * step)
        fine = (at(step) - at(-step)) / (2 * step)
        rounding = 64 * np.finfo(np.float64).eps * size / step
        error = abs(fine - coarse) + rounding
        if error < bound:
            best, bound = fine, error
    assert bound < 1e-3 * size, "the sample is not smooth enough for finite differences"
    assert abs(slope - best) <= bound, f"derivative {slope}, finite differences {best} ± {bound}"
