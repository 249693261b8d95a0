"""Makes a failing program small: steps become inputs that hold what they computed, or go away."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

import numpy as np

from .check import Disagreement, assignments
from .program import Input, Program, Step, apply, metas

Test = Callable[[Program], None]


def failure(program: Program, test: Test) -> Exception | None:
    """What a test says of a program."""
    try:
        test(program)
    except Exception as error:
        return error
    return None


def shrink(program: Program, test: Test, budget: int = 200) -> tuple[Program, Exception | None]:
    """A small program on which `test` still fails in the same way, and the failure."""
    found = failure(program, test)
    if found is None:
        return program, None
    changed = True
    while changed and budget > 0:
        changed = False
        for candidate in _smaller(program):
            budget -= 1
            if budget <= 0:
                break
            error = failure(candidate, test)
            if error is not None and _kind(error) == _kind(found):
                program, found, changed = candidate, error, True
                break
    return program, found


def _kind(error: Exception) -> tuple[type[Exception], str]:
    """What has to stay the same: the exception and, of a disagreement, between whom."""
    if isinstance(error, Disagreement):
        return type(error), str(error).partition(", ")[2].partition(",")[0]
    return type(error), str(error)[:24]


def _smaller(program: Program) -> Iterator[Program]:
    """Programs one change smaller, the boldest changes first."""
    results = [*program.outputs, *(v for v, _ in program.state)]
    if len(results) > 1:
        for i in dict.fromkeys(program.outputs):
            yield replace(program, outputs=(i,), state=()).used()
        for pair in program.state:
            yield replace(program, outputs=(pair[0],), state=()).used()
    if program.state:
        yield replace(program, state=()).used()
    computed = list(_values(program))
    for k in reversed(range(len(program.steps))):
        cut = _cut(program, k, computed)
        if cut is not None:
            yield cut


def _values(program: Program) -> Iterator[tuple[tuple[int, ...], list[np.ndarray]]]:
    """All values of the program, for each assignment of sizes that is tested."""
    for sizes in assignments(program, 3):
        values = apply(program.steps, list(program.arrays(sizes)), sizes or {"": 0})
        yield tuple(sizes[s] for s in program.symbols), values


def _cut(
    program: Program, k: int, computed: list[tuple[tuple[int, ...], list[np.ndarray]]]
) -> Program | None:
    """The program with step `k` replaced by an input that holds its result."""
    count = len(program.inputs)
    number = count + k
    if number in program.outputs and len(program.steps) == 1:
        return None
    data: Mapping[tuple[int, ...], np.ndarray] = {key: v[number] for key, v in computed}
    made = Input(metas(program)[number], data=data)

    def renumber(i: int) -> int:
        if i == number:
            return count
        return i if i < count else (i + 1 if i < number else i)

    steps = tuple(
        Step(s.function, tuple(renumber(a) for a in s.args), s.attrs)
        for j, s in enumerate(program.steps)
        if j != k
    )
    return replace(
        program,
        inputs=(*program.inputs, made),
        steps=steps,
        outputs=tuple(renumber(i) for i in program.outputs),
        state=tuple((renumber(v), i) for v, i in program.state),
    ).used()
