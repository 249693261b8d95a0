"""Random programs. The same seed gives the same program."""

from __future__ import annotations

import random
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from xdsl.ir import Block

from calque.ir import dtype as dt
from calque.ir import sym
from calque.ir.op import Builder, Value
from calque.ir.sym import Dim, Expr
from calque.ir.types import TensorMeta, meta_of, to_type

from . import functions as fn
from .program import Input, Program, Step

SYMBOLS = ("B", "T", "S")
STATIC = (1, 2, 3, 4, 5, 8, 16, 17, 33)
RARE = (0, 1, 40, 65)
FLOATS = (dt.float32, dt.float32, dt.float32, dt.float64)
INTS = (dt.int64, dt.int32)
KINDS = (*FLOATS, *FLOATS, *INTS, dt.bool_)
# Values larger than this are brought down before they are used again.
LARGE = 1e5
MAX_INPUTS = 8
MAX_ELEMENTS = 20000

Move = Callable[["Generator"], int | None]


def generate(seed: int) -> Program:
    """The program of a seed."""
    return Generator(seed).program()


class Generator:
    """Builds a program step by step; a step that an operator refuses is dropped."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self.rng = random.Random(seed)
        count = self.rng.choice((0, 1, 1, 2, 2, 3))
        self.symbols = SYMBOLS[:count]
        # With examples, sizes that the algebra cannot compare are compared by example: guards.
        guarded = self.rng.random() < 0.25
        self.examples = {s: self.rng.choice((4, 6, 7, 12)) for s in self.symbols} if guarded else {}
        self.inputs: list[Input] = []
        self.steps: list[Step] = []
        # Of all values, numbered in order of creation: inputs are (True, i), steps (False, i).
        self.origin: list[tuple[bool, int]] = []
        self.values: list[Value] = []
        self.large: list[float] = []
        self.exact: list[bool] = []
        self.block = Block()
        self.env = sym.SymEnv(dict(self.examples))

    def program(self) -> Program:
        with self.env, Builder(self.block):
            for _ in range(self.rng.choice((1, 2, 2, 3))):
                self.input(TensorMeta(self.shape(), self.rng.choice(KINDS)))
            for name in self.symbols:
                if not self.appears(name):
                    shape = (*self.rng.choice(((), (3,), (8,))), sym.symbol(name))
                    self.input(TensorMeta(shape, self.rng.choice((*FLOATS, *INTS))))
            for _ in range(self.rng.randint(3, 14)):
                self.step()
            return self.finish()

    # -- values --------------------------------------------------------------------------------

    def dim(self) -> Dim:
        if self.symbols and self.rng.random() < 0.55:
            return sym.symbol(self.rng.choice(self.symbols))
        return self.rng.choice(RARE) if self.rng.random() < 0.06 else self.rng.choice(STATIC)

    def shape(self) -> tuple[Dim, ...]:
        shape = tuple(self.dim() for _ in range(self.rng.choice((0, 1, 2, 2, 2, 3, 3, 4))))
        return shape if elements(shape) <= MAX_ELEMENTS else shape[:2]

    def input(self, meta: TensorMeta, below: Dim | None = None) -> int:
        """A new input; its number."""
        self.inputs.append(Input(meta, below))
        self.values.append(self.block.insert_arg(to_type(meta), len(self.block.args)))
        limit = 9.0 if meta.dtype.kind == "i" else 3.0
        return self._add((True, len(self.inputs) - 1), limit, True)

    def _add(self, origin: tuple[bool, int], large: float, exact: bool) -> int:
        self.origin.append(origin)
        self.large.append(large)
        self.exact.append(exact)
        return len(self.origin) - 1

    def meta(self, value: int) -> TensorMeta:
        return meta_of(self.values[value])

    def pick(self, kinds: str, rank: int = 0, exact: bool = False) -> int | None:
        """A value of one of the dtype kinds, later ones more often; None where there is none."""
        found = [
            i
            for i in range(len(self.values))
            if self.meta(i).dtype.kind in kinds
            and self.meta(i).rank >= rank
            and (self.exact[i] or not exact)
        ]
        if not found:
            return None
        return self.rng.choice(found[-6:] if self.rng.random() < 0.7 else found)

    def fitting(self, meta: TensorMeta, *, exact: bool = False, below: Dim | None = None) -> int:
        """A value of the given meta: one there is, or a new input."""
        found = [
            i
            for i in range(len(self.values))
            if self.meta(i) == meta and (self.exact[i] or not exact)
        ]
        if below is None and found and (self.rng.random() < 0.7 or len(self.inputs) >= MAX_INPUTS):
            return self.rng.choice(found)
        return self.input(meta, below)

    def apply(self, function: str, *args: int, **attrs: Any) -> int:
        """Add a step; its number. Raises what the operators raise."""
        known = fn.FUNCTIONS[function]
        made = known.apply(*(self.values[a] for a in args), **attrs)
        if elements(meta_of(made).shape) > MAX_ELEMENTS:
            raise RuntimeError("too large")
        exact = known.exact or meta_of(made).dtype.kind != "f"
        large = known.grows(*(self.large[a] for a in args))
        self.steps.append(Step(function, args, attrs))
        self.values.append(made)
        exact = exact and all(self.exact[a] for a in args)
        return self.tamed(self._add((False, len(self.steps) - 1), large, exact))

    def tamed(self, value: int) -> int:
        """The value, or a small one made from it where it may be large."""
        if self.large[value] <= LARGE:
            return value
        match self.meta(value).dtype.kind:
            case "f":
                return self.apply("tanh" if self.rng.random() < 0.3 else "clamp", value)
            case "i":
                return self.apply("imod", value)
        return value

    # -- steps ---------------------------------------------------------------------------------

    def step(self) -> None:
        from .moves import MOVES

        names = list(MOVES)
        weights = [MOVES[n][0] for n in names]
        for _ in range(20):
            move = MOVES[self.rng.choices(names, weights)[0]][1]
            before = len(self.values)
            try:
                if move(self) is not None:
                    return
            except (RuntimeError, IndexError, TypeError, ValueError):
                pass  # the operator refuses: another one
            if len(self.values) > before:
                return

    def finish(self) -> Program:
        """Outputs are what nothing else reads and a few others; some inputs are overwritten."""
        count = len(self.inputs)
        numbers = [i if is_input else count + i for is_input, i in self.origin]
        made = [i for i, (is_input, _) in enumerate(self.origin) if not is_input]
        read = {a for s in self.steps for a in s.args}
        outputs = [i for i in made if i not in read or self.rng.random() < 0.15]
        state: list[tuple[int, int]] = []
        if self.rng.random() < 0.4:
            for i in range(len(self.values)):
                is_input, k = self.origin[i]
                same = [m for m in made if self.meta(m) == self.meta(i)]
                if is_input and self.inputs[k].below is None and same and self.rng.random() < 0.5:
                    state.append((numbers[self.rng.choice(same)], k))
        steps = tuple(Step(s.function, tuple(numbers[a] for a in s.args), s.attrs)
                      for s in self.steps)  # fmt: skip
        program = Program(
            self.seed,
            self.symbols,
            self.examples,
            tuple(self.inputs),
            steps,
            tuple(numbers[i] for i in outputs),
            tuple(state),
        )
        program = program.used()
        if self.rng.random() < 0.3:
            derived = replace(program, gradient=True)
            try:
                derived.module()
            except (RuntimeError, IndexError, TypeError, ValueError):
                return program  # an operator has no derivative there
            return derived
        return program

    def appears(self, name: str) -> bool:
        return any(sym.symbol(name) in i.meta.shape for i in self.inputs)


def elements(shape: Sequence[Dim]) -> int:
    """How many elements a shape has where sizes are moderate."""
    total = 1
    for d in shape:
        total *= sym.evaluate(d, dict.fromkeys(SYMBOLS, 9)) if isinstance(d, Expr) else d
    return total
