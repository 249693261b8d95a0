"""Derivatives that reverse mode emits, against central differences, by the interpreter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.ir import SSAValue

import oneop
from calque.ir.autodiff import gradients
from calque.ir.ops import full_like, mul
from calque.ir.ops import sum as total
from calque.ir.types import TensorMeta, meta_of
from oneop import build


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


def _is_float(value: SSAValue) -> bool:
    return meta_of(value).dtype.is_floating_point


def weighted(
    metas: Sequence[TensorMeta],
    body: oneop.Body,
    arrays: Sequence[np.ndarray],
    examples: dict[str, int] | None = None,
) -> Program:
    """The sums of the float results of `body`, weighted by further arguments."""
    examples = examples or {}
    outs: list[TensorMeta] = []

    def floats(*args: SSAValue) -> Sequence[SSAValue]:
        results = [r for r in body(*args) if _is_float(r)]
        outs[:] = [meta_of(r) for r in results]
        return results

    values = oneop.run(build(metas, floats, examples), arrays)
    rng = np.random.default_rng(7)
    weights = [np.asarray(rng.uniform(0.5, 2, v.shape), v.dtype) for v in values]
    count = len(metas)

    def sums(*args: SSAValue) -> Sequence[SSAValue]:
        return [total(mul(r, w)) for r, w in zip(floats(*args[:count]), args[count:], strict=True)]

    return Program([*metas, *outs], sums, [*arrays, *weights], examples)


def backward(program: Program) -> Program:
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


def check(program: Program) -> None:
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
    best, bound, coarse = 0.0, np.inf, None
    for exponent in (9, 11, 13):
        step = 2.0**-exponent
        fine = (at(step) - at(-step)) / (2 * step)
        if coarse is not None:
            error = abs(fine - coarse) + 64 * np.finfo(np.float64).eps * size / step
            if error < bound:
                best, bound = fine, error
        coarse = fine
    assert bound < 1e-3 * size, "the sample is not smooth enough for finite differences"
    assert abs(slope - best) <= bound, f"derivative {slope}, finite differences {best} ± {bound}"
