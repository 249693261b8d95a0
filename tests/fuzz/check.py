"""Runs a program in every way there is and says where two of them disagree."""

from __future__ import annotations

import ctypes
import random
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from calque.frontend.autograd import grad
from calque.frontend.creation import as_tensor
from calque.frontend.driver import Program as Compiled
from calque.frontend.driver import compile_graph
from calque.ir import interpreter, sym
from calque.ir.verify import environment
from calque.passes.pipeline import OPTIONAL, Options
from calque.runtime.memory import Buffer
from calque.runtime.threads import get_num_threads, set_num_threads

from .bounds import bounds
from .program import Program, apply

Array = np.ndarray
Sizes = dict[str, int]

# Values that size symbols take: around vector widths, and one that is in no way round.
VALUES = (2, 3, 4, 7, 8, 16, 17, 31, 33, 50)


class Disagreement(AssertionError):
    """Two ways to run a program gave different results; `sizes` are those it happened with."""

    def __init__(self, message: str, sizes: Mapping[str, int]) -> None:
        super().__init__(message)
        self.sizes = dict(sizes)


def check(program: Program, *, without: Sequence[str] | None = None, count: int = 3) -> None:
    """Interpreter, compiled, and compiled without each of the passes `without`; eager; for one
    size alone; on one thread.

    Compiled code must be within the error bound of the interpreter's result; the others must give
    the compiled result bit for bit. Raises Disagreement.
    """
    module = program.module()
    compiled = compile_graph(module.clone())
    others = {
        f"without {name}": compile_graph(module.clone(), Options(without=frozenset((name,))))
        for name in (OPTIONAL if without is None else without)
    }
    for number, sizes in enumerate(assignments(program, count)):
        args = program.arrays(sizes)
        got = run(program, compiled, args, sizes)
        _near(got, bounds(module, args), interpreter.run(module, args), sizes)
        for name, other in others.items():
            _same(run(program, other, args, sizes), got, name, sizes)
        _same(eager(program, args, sizes), got, "eager", sizes)
        if number == 0:
            _same(_on_one_thread(program, compiled, args, sizes), got, "on one thread", sizes)
            if program.symbols:
                alone = program.static(sizes)
                made = compile_graph(alone.module())
                _same(run(alone, made, args, {}), got, "of static sizes", sizes)


def _near(
    got: Sequence[Array], expected: Sequence[tuple[Array, Array]], plain: Sequence[Array],
    sizes: Sizes,
) -> None:  # fmt: skip
    """Whether compiled results are within the bounds of the interpreter's."""
    for i, (array, (value, error), again) in enumerate(zip(got, expected, plain, strict=True)):
        if not np.array_equal(value, again, equal_nan=value.dtype.kind == "f"):
            raise Disagreement(f"result {i} of the interpreter is not reproducible", sizes)
        far = difference(array, value, 2 * error)
        if far:
            raise Disagreement(f"result {i}, compiled, {far}", sizes)


def _on_one_thread(
    program: Program, compiled: Compiled, args: Sequence[Array], sizes: Sizes
) -> list[Array]:
    threads = get_num_threads()
    set_num_threads(1)
    try:
        return run(program, compiled, args, sizes)
    finally:
        set_num_threads(threads)


def _same(found: Sequence[Array], expected: Sequence[Array], how: str, sizes: Sizes) -> None:
    for i, (a, b) in enumerate(zip(found, expected, strict=True)):
        far = difference(a, b, np.zeros(b.shape))
        if far:
            raise Disagreement(f"result {i}, {how}, {far}", sizes)


def assignments(program: Program, count: int) -> Iterator[Sizes]:
    """Up to `count` values of the size symbols that the program's guards allow."""
    main = interpreter.lookup(program.module(), "main")
    guards = environment(main.body.block.last_op or main).guards
    rng = random.Random(program.seed)
    seen: list[Sizes] = []
    if program.examples:
        seen.append({s: program.examples[s] for s in program.symbols})
    for _ in range(40):
        sizes = {s: rng.choice(VALUES) for s in program.symbols}
        if sizes not in seen and all(g.holds(sizes) for g in guards):
            seen.append(sizes)
    yield from seen[:count]


def run(program: Program, compiled: Compiled, args: Sequence[Array], sizes: Sizes) -> list[Array]:
    """Results of compiled code; inputs that it overwrites are copies."""
    call = compiled.prepare([sizes[s] for s in compiled.symbols])
    inputs = [Buffer.empty(a.nbytes) for a in args]
    for buffer, array in zip(inputs, args, strict=True):
        _seen(buffer, array.shape, array.dtype)[...] = array
    pointers = [b.ptr for b in inputs]
    owners: list[Buffer] = []
    overwritten = [i for _, i in program.state]
    plain = len(compiled.outputs) - len(program.state)
    for k, meta in enumerate(compiled.outputs):
        if k < plain:
            shape = call.shapes[len(args) + k]
            owners.append(Buffer.empty(int(np.prod(shape)) * meta.dtype.itemsize))
        else:
            owners.append(inputs[overwritten[k - plain]])
        pointers.append(owners[-1].ptr)
    call.run(pointers)
    shapes = call.shapes[len(args) :]
    return [
        _seen(b, shape, meta.dtype.numpy).copy()
        for b, shape, meta in zip(owners, shapes, compiled.outputs, strict=True)
    ]


def _seen(buffer: Buffer, shape: Sequence[int], dtype: np.dtype) -> Array:
    size = int(np.prod(shape)) * dtype.itemsize
    memory = (ctypes.c_char * size).from_address(buffer.ptr)
    return np.frombuffer(memoryview(memory), dtype).reshape(shape)


def eager(program: Program, args: Sequence[Array], sizes: Sizes) -> list[Array]:
    """Results of the same functions on tensors, each operator compiled by itself."""
    tensors = [as_tensor(a.copy()) for a in args]
    if program.gradient:
        for tensor in tensors:
            tensor.requires_grad_(tensor.is_floating_point())
    values = apply(program.steps, list(tensors), sizes or {"": 0})
    results = [values[i] for i in program.outputs]
    if program.gradient:
        outputs, seeds = program.seeds(values)
        leaves = [t for t in tensors if t.requires_grad]
        live = [(o, s) for o, s in zip(outputs, seeds, strict=True) if o.requires_grad]
        found = grad([o for o, _ in live], leaves, [s for _, s in live], allow_unused=True)
        results += [g for g in found if g is not None]
    results += [values[v] for v, _ in program.state]
    return [np.asarray(r.detach().numpy()) for r in results]


def difference(found: Array, expected: Array, allowed: Array) -> str:
    """What is wrong with a result, or nothing."""
    if found.shape != expected.shape or found.dtype != expected.dtype:
        return f"is {found.dtype}{found.shape}, not {expected.dtype}{expected.shape}"
    a, b = found.astype(np.float64), expected.astype(np.float64)
    with np.errstate(all="ignore"):
        fine = (np.abs(a - b) <= allowed) | (a == b) | (np.isnan(a) & np.isnan(b))
    fine |= ~np.isfinite(allowed)
    if fine.all():
        return ""
    where = tuple(int(i) for i in np.argwhere(~fine)[0])
    return (
        f"differs at {int((~fine).sum())} of {fine.size} places: "
        f"{found[where]!r}, not {expected[where]!r}, at {where} (allowed {allowed[where]:.3g})"
    )


__all__ = ["Disagreement", "assignments", "check", "difference", "eager", "run", "sym"]
