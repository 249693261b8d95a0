"""Programs of the fuzzer: a list of steps that runs on IR values, tensors and NumPy arrays alike.

Values are numbered, inputs first. A step names a function of `functions.FUNCTIONS`, the values
that it takes and its static attributes, in which sizes may be symbolic.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from xdsl.dialects.builtin import (
    ArrayAttr,
    DictionaryAttr,
    FunctionType,
    IntegerAttr,
    ModuleOp,
    StringAttr,
    i64,
)
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Attribute, Block, Region

from calque.ir import ops, sym
from calque.ir.autodiff import gradients
from calque.ir.interpreter import resolve
from calque.ir.op import Builder, Value, meta
from calque.ir.types import TensorMeta, meta_of, to_type
from calque.ir.verify import set_guards

from .functions import FUNCTIONS


@dataclass(frozen=True)
class Input:
    """An argument. `below` bounds the elements of an index; `data` overrides random elements."""

    meta: TensorMeta
    below: sym.Dim | None = None
    data: Mapping[tuple[int, ...], np.ndarray] | None = field(default=None, compare=False)


@dataclass(frozen=True)
class Step:
    """One application of a function."""

    function: str
    args: tuple[int, ...]
    attrs: dict[str, Any]


@dataclass(frozen=True)
class Program:
    """`outputs` are the values returned; `state` are pairs (value, input) of inputs that the
    program overwrites with a value, after everything else was computed. With `gradient` it also
    returns the gradients of what it returns with respect to the inputs that have one."""

    seed: int
    symbols: tuple[str, ...]
    examples: Mapping[str, int]
    inputs: tuple[Input, ...]
    steps: tuple[Step, ...]
    outputs: tuple[int, ...]
    state: tuple[tuple[int, int], ...] = ()
    gradient: bool = False

    def module(self) -> ModuleOp:
        """The program as IR. Raises what the operators raise where it is not well-formed."""
        block = Block(arg_types=[to_type(i.meta) for i in self.inputs])
        env = sym.SymEnv(dict(self.examples))
        with env, Builder(block):
            values = apply(self.steps, list(block.args), {})
            grads = self._gradients(values) if self.gradient else []
        returned = [values[i] for i in self.outputs]
        returned += [*grads, *(values[v] for v, _ in self.state)]
        block.add_op(ReturnOp(*returned))
        type_ = FunctionType.from_lists([a.type for a in block.args], [v.type for v in returned])
        owners = {source for _, source in self.state}
        plain = len(returned) - len(self.state)
        arg_attrs = [
            _names(f"x{i}", "state" if i in owners else "input") for i in range(len(self.inputs))
        ]
        res_attrs = [_names(f"y{i}", "output") for i in range(plain)]
        res_attrs += [_names(f"x{source}.new", "state", source) for _, source in self.state]
        func = FuncOp(
            "main",
            type_,
            Region(block),
            arg_attrs=ArrayAttr(arg_attrs),
            res_attrs=ArrayAttr(res_attrs),
        )
        set_guards(func, env.guards)
        return ModuleOp([func])

    def _gradients(self, values: list[Value]) -> list[Value]:
        outputs, seeds = self.seeds(values)
        found = gradients(outputs, seeds, values[: len(self.inputs)])
        return [g for g in found if g is not None]

    def seeds(self, values: list[Value]) -> tuple[list[Value], list[Value]]:
        """The outputs that have gradients, and the cotangents that they are given."""
        outputs = [values[i] for i in self.outputs if meta(values[i]).dtype.is_floating_point]
        return outputs, [ops.clamp(ops.detach(v), -1.0, 1.0) for v in outputs]

    def arrays(self, sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Random arguments for values of the size symbols, the same each time."""
        key = tuple(sizes[s] for s in self.symbols)
        out = []
        for i, given in enumerate(self.inputs):
            if given.data is not None:
                out.append(given.data[key])
                continue
            rng = np.random.default_rng((self.seed, i, *key))
            shape = tuple(sym.evaluate(d, sizes) for d in given.meta.shape)
            out.append(_random(rng, shape, given, sizes))
        return out

    def static(self, sizes: Mapping[str, int]) -> Program:
        """The program for values of the size symbols alone, on the same arguments."""
        inputs = tuple(
            Input(
                given.meta.with_shape(array.shape),
                None if given.below is None else sym.evaluate(given.below, sizes),
                {(): array},
            )
            for given, array in zip(self.inputs, self.arrays(sizes), strict=True)
        )
        steps = tuple(
            replace(s, attrs={k: resolve(v, sizes) for k, v in s.attrs.items()}) for s in self.steps
        )
        return replace(self, symbols=(), examples={}, inputs=inputs, steps=steps)

    def used(self) -> Program:
        """Without steps and inputs that nothing reads (an input may be needed for a symbol)."""
        count = len(self.inputs)
        needed = {*self.outputs, *(v for v, _ in self.state), *(i for _, i in self.state)}
        for k in reversed(range(len(self.steps))):
            if count + k in needed:
                needed |= set(self.steps[k].args)
        for name in self.symbols:
            bare = [i for i, x in enumerate(self.inputs) if sym.symbol(name) in x.meta.shape]
            if bare and not any(i in needed for i in bare):
                needed.add(bare[0])
        kept = sorted(needed)
        number = {old: new for new, old in enumerate(kept)}
        steps = tuple(
            replace(s, args=tuple(number[a] for a in s.args))
            for k, s in enumerate(self.steps)
            if count + k in needed
        )
        return replace(
            self,
            inputs=tuple(x for i, x in enumerate(self.inputs) if i in needed),
            steps=steps,
            outputs=tuple(number[i] for i in self.outputs),
            state=tuple((number[v], number[i]) for v, i in self.state),
        )

    def __str__(self) -> str:
        lines = [f"seed {self.seed}"]
        for i, given in enumerate(self.inputs):
            note = "" if given.below is None else f" (below {given.below})"
            lines.append(f"  v{i} = input {given.meta}{note}")
        for k, step in enumerate(self.steps, len(self.inputs)):
            args = [f"v{a}" for a in step.args] + [f"{a}={v}" for a, v in step.attrs.items()]
            lines.append(f"  v{k} = {step.function}({', '.join(args)})")
        lines.append(f"  return {', '.join(f'v{i}' for i in self.outputs)}")
        lines += [f"  v{i} <- v{v}" for v, i in self.state]
        lines += ["  return gradients"] if self.gradient else []
        return "\n".join(lines)


def apply(steps: Sequence[Step], values: list[Value], sizes: Mapping[str, int]) -> list[Value]:
    """All values of a program on given inputs; with `sizes` the attributes become numbers."""
    for step in steps:
        attrs = {k: resolve(v, sizes) if sizes else v for k, v in step.attrs.items()}
        args = [values[a] for a in step.args]
        values.append(FUNCTIONS[step.function].apply(*args, **attrs))
    return values


def metas(program: Program) -> list[TensorMeta]:
    """The metas of all values, inputs first."""
    block = Block(arg_types=[to_type(i.meta) for i in program.inputs])
    with sym.SymEnv(dict(program.examples)), Builder(block):
        return [meta_of(v) for v in apply(program.steps, list(block.args), {})]


def _random(
    rng: np.random.Generator, shape: tuple[int, ...], given: Input, sizes: Mapping[str, int]
) -> np.ndarray:
    dtype = given.meta.dtype
    if given.below is not None:
        return rng.integers(0, sym.evaluate(given.below, sizes), shape).astype(dtype.numpy)
    if dtype.kind == "f":
        return np.clip(rng.standard_normal(shape), -3, 3).astype(dtype.numpy)
    if dtype.kind == "b":
        return rng.random(shape) < 0.5
    return rng.integers(-9, 10, shape).astype(dtype.numpy)


def _names(name: str, role: str, alias: int | None = None) -> DictionaryAttr:
    entries: dict[str, Attribute] = {
        "calque.name": StringAttr(name),
        "calque.role": StringAttr(role),
    }
    if alias is not None:
        entries["calque.alias"] = IntegerAttr(alias, i64)
    return DictionaryAttr(entries)
