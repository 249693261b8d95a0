"""Random functions as users write them: views, writes through them, masks, gradients.

A script is the text of a Python function of two matrices, in the words that calque and PyTorch
share, so it runs eagerly, compiled, and in PyTorch. Its lines are chosen one at a time and kept
where they run.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from dataclasses import dataclass, replace
from types import ModuleType
from typing import Any

import numpy as np

import calque

# What a line that a user could not write either raises.
REFUSED = (RuntimeError, IndexError, TypeError, ValueError)

COLUMNS = 5
ROWS = (6, 9)


@dataclass(frozen=True)
class Script:
    """Lines of a body over the arguments a and b; `results` are names of variables."""

    lines: tuple[str, ...]
    results: tuple[str, ...]

    @property
    def source(self) -> str:
        body = "\n".join(f"    {line}" for line in self.lines)
        total = " + ".join(f"({r} * {i + 1.0}).sum()" for i, r in enumerate(self.results))
        return (
            "def script(a, b):\n"
            "    v0, v1 = a * 1.0, b * 1.0\n"
            f"{body}\n"
            f"    total = {total}\n"
            "    grads = lib.autograd.grad(total, (a, b), allow_unused=True)\n"
            f"    return [{', '.join(f'{r}.detach()' for r in self.results)}, "
            "*(x * 0 if g is None else g for g, x in zip(grads, (a, b)))]\n"
        )

    def function(self, lib: ModuleType) -> Callable[..., Any]:
        """The script in the words of a library."""
        namespace: dict[str, Any] = {"lib": lib}
        exec(compile(self.source, "<script>", "exec"), namespace)
        return namespace["script"]


def run(
    function: Callable[..., Any], lib: ModuleType, rows: int, seed: int = 0
) -> list[np.ndarray]:
    """What a script computes of random arguments with so many rows."""
    rng = np.random.default_rng((seed, rows))
    a, b = (
        lib.from_numpy(rng.standard_normal(shape)).requires_grad_()
        for shape in ((rows, COLUMNS), (COLUMNS, 4))
    )
    return [np.asarray(x.detach().numpy()).copy() for x in function(a, b)]


def script(seed: int) -> Script:
    """The script of a seed."""
    rng = random.Random(seed)
    found = Script((), ("v0", "v1"))
    count = 2
    for _ in range(rng.randint(4, 14)):
        for _ in range(10):
            line, makes = _line(rng, count)
            longer = replace(found, lines=(*found.lines, line))
            if makes:
                longer = replace(longer, results=(*found.results, f"v{count}"))
            if _runs(longer):
                found = longer
                count += makes
                break
    kept = [r for r in found.results if rng.random() < 0.5] or list(found.results[-1:])
    return replace(found, results=tuple(kept))


def _runs(candidate: Script) -> bool:
    try:
        results = run(candidate.function(calque), calque, ROWS[0])
    except REFUSED:
        return False
    return all(np.isfinite(r).all() and r.size < 4000 for r in results)


def _line(rng: random.Random, count: int) -> tuple[str, bool]:
    """A line, and whether it makes a new variable."""
    x, y = (f"v{max(rng.randrange(count), rng.randrange(count))}" for _ in range(2))
    if rng.random() < 0.35:
        return rng.choice(_WRITES).format(x=x, y=y, at=_at(rng), m=_mask(rng, x)), False
    line = rng.choice(_VALUES).format(x=x, y=y, at=_at(rng), m=_mask(rng, x), d=rng.choice("01"))
    return f"v{count} = {line}", True


def _at(rng: random.Random) -> str:
    """An index of views."""
    part = ("1:", ":-1", "::2", ":", "0", "-1", "1:4", "None", "...", "2:3")
    first, second = rng.choice(part), rng.choice(part)
    return first if rng.random() < 0.5 or first == second == "..." else f"{first}, {second}"


def _mask(rng: random.Random, x: str) -> str:
    return rng.choice((f"{x} > 0", f"{x} < 0.5", f"({x} > -1) & ({x} < 1)"))


_VALUES = (
    "{x} + {y}", "{x} * {y}", "{x} - {y} * 0.5", "{x}.tanh()", "{x}.sigmoid() * 2.0", "-{x}",
    "{x}.clamp(-1.0, 1.0).exp()", "{x}.abs() + 0.25", "lib.relu({x})", "{x}[{at}]", "{x}[{at}]",
    "{x}[{at}]", "{x}.t()", "{x}.reshape(-1)", "{x}.reshape({x}.shape[0], -1)",
    "{x}.transpose(0, -1)", "{x}.unsqueeze({d})", "{x}.squeeze()", "{x}.flatten()",
    "{x}.sum({d})", "{x}.sum({d}, keepdim=True)", "{x}.mean({d}, keepdim=True)",
    "{x}.amax({d}, keepdim=True)", "{x}.softmax({d})", "{x}.max({d}).values", "{x}.flip(0)",
    "{x} @ {y}", "{x} @ {y}.t()", "lib.cat([{x}, {y}], {d})", "lib.stack([{x}, {x}], {d})",
    "lib.where({m}, {x}, {y})", "{x}.masked_fill({m}, 0.5)", "{x}.detach()", "{x}.clone()",
    "{x} * {x}.shape[0]", "{x}.chunk(2, -1)[{d}]", "{x}.unbind(-1)[{d}]", "{x}.narrow(0, 1, 2)",
    "{x}[lib.tensor([1, 0, 1])]", "{x}.expand(3, *{x}.shape)", "{x}.view(-1)", "{x}.view_as({x})",
    "{x}.index_select(0, lib.tensor([0, 1, 1]))", "{x}.tril()",
    "{x} / ({y}.abs() + 1.0)", "{x}.split(2, -1)[0]", "{x}.permute(1, 0)", "{x}.movedim(0, -1)",
)  # fmt: skip

_WRITES = (
    "{x}.add_({y})", "{x}.mul_(0.5)", "{x} += {y}", "{x}[{at}] = 0.5", "{x}[{at}] = {y}",
    "{x}[{at}] *= 2.0", "{x}[{m}] = 0", "{x}[{at}].tanh_()", "{x}.copy_({y})", "{x}.zero_()",
    "{x}.masked_fill_({m}, -0.5)", "{x}.t().mul_(0.5)", "{x}[{at}] += {y}[{at}]",
    "{x}[lib.tensor([0, 2])] = 1.0", "{x}.clamp_(-1.0, 1.0)", "{x}.view(-1)[1:] = 0.25",
    "{x}.index_add_(0, lib.tensor([1, 1, 0]), {y}[:3])", "{x}[{m}] *= 0.5",
    "{x}[{at}].copy_({y})", "{x}.unsqueeze(0).sub_(0.5)", "{x}[1:] = {x}[:-1].clone()",
)  # fmt: skip


def shrink(found: Script, fails: Callable[[Script], bool]) -> Script:
    """The script with as few lines and results as still fail."""
    changed = True
    while changed:
        changed = False
        smaller = [replace(found, lines=found.lines[:i] + found.lines[i + 1 :])
                   for i in reversed(range(len(found.lines)))]  # fmt: skip
        if len(found.results) > 1:
            smaller += [replace(found, results=found.results[:i] + found.results[i + 1 :])
                        for i in range(len(found.results))]  # fmt: skip
        for candidate in smaller:
            if fails(candidate):
                found, changed = candidate, True
                break
    return found
