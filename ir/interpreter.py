"""The oracle: runs `graph` IR operator by operator with the NumPy references."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import CallOp, FuncOp
from xdsl.ir import Block, Operation, SSAValue

from . import sym
from .op import Op, evaluate
from .types import from_type, meta_of

Env = dict[SSAValue, np.ndarray]


def lookup(module: ModuleOp, name: str) -> FuncOp:
    """The function called `name`. Raises KeyError."""
    for op in module.ops:
        if isinstance(op, FuncOp) and op.sym_name.data == name:
            return op
    raise KeyError(f"the module has no function '@{name}'")


def run(module: ModuleOp, args: Sequence[np.ndarray], entry: str = "main") -> list[np.ndarray]:
    """Results of a `graph` function on arrays. Raises ValueError where they do not fit."""
    return _Run(module).call(lookup(module, entry), list(args))


def bind_sizes(
    func: FuncOp, args: Sequence[np.ndarray], given: Mapping[str, int] | None = None
) -> dict[str, int]:
    """The values of the size symbols, read off the arguments; checks shapes and dtypes.

    A function that others call may also use symbols of theirs: `given` has the values of these.
    """
    sizes = dict(given or {})
    metas = [from_type(a.type) for a in func.body.block.args]
    if len(metas) != len(args):
        raise ValueError(f"@{func.sym_name.data} takes {len(metas)} arguments, got {len(args)}")
    for meta, array in zip(metas, args, strict=True):
        if array.ndim != meta.rank or array.dtype != meta.dtype.numpy:
            raise ValueError(f"expected {meta}, got {array.dtype}{list(array.shape)}")
        for d, n in zip(meta.shape, array.shape, strict=True):
            if isinstance(d, sym.Expr) and str(d) in sym.symbols(d):
                sizes.setdefault(str(d), n)
    for meta, array in zip(metas, args, strict=True):
        for d, n in zip(meta.shape, array.shape, strict=True):
            if sym.evaluate(d, sizes) != n:
                raise ValueError(f"expected {meta} with {sizes}, got shape {list(array.shape)}")
    return sizes


class _Run:
    def __init__(self, module: ModuleOp) -> None:
        self.module = module

    def call(
        self, func: FuncOp, args: list[np.ndarray], given: Mapping[str, int] | None = None
    ) -> list[np.ndarray]:
        sizes = bind_sizes(func, args, given)
        env: Env = dict(zip(func.body.block.args, args, strict=True))
        return self.block(func.body.block, env, sizes)

    def block(self, block: Block, env: Env, sizes: Mapping[str, int]) -> list[np.ndarray]:
        """Run a block whose arguments are in `env`; the operands of its terminator."""
        for op in block.ops:
            operands = [env[v] for v in op.operands]
            if op is block.last_op:
                return operands
            results = self.step(op, operands, env, sizes)
            env.update(zip(op.results, results, strict=True))
        return []

    def step(
        self, op: Operation, operands: list[np.ndarray], env: Env, sizes: Mapping[str, int]
    ) -> list[np.ndarray]:
        if isinstance(op, CallOp):
            return self.call(lookup(self.module, op.callee.string_value()), operands, sizes)
        if not isinstance(op, Op):
            raise NotImplementedError(f"the interpreter runs graph IR, not '{op.name}'")
        attrs = {k: resolve(v, sizes) for k, v in op.attrs.items()}
        if op.regions:
            runners = [self._region(r.block, env, sizes) for r in op.regions]
            results = op.interpret(runners, operands, attrs)  # type: ignore[attr-defined]
        else:
            results = evaluate(type(op), operands, attrs)
        results = list(results) if isinstance(results, tuple | list) else [results]
        for value, array in zip(op.results, results, strict=True):
            meta = meta_of(value)
            shape = tuple(sym.evaluate(d, sizes) for d in meta.shape)
            if array.shape != shape or array.dtype != meta.dtype.numpy:
                found = f"{array.dtype}{list(array.shape)}"
                raise AssertionError(f"'{op.name}' computed {found} where its type says {meta}")
        return results

    def _region(
        self, block: Block, env: Env, sizes: Mapping[str, int]
    ) -> Callable[..., list[np.ndarray]]:
        def call(*args: np.ndarray) -> list[np.ndarray]:
            return self.block(block, {**env, **dict(zip(block.args, args, strict=True))}, sizes)

        return call


def resolve(value: object, sizes: Mapping[str, int]) -> object:
    """An attribute with its symbolic sizes replaced by numbers."""
    if isinstance(value, sym.Expr):
        return sym.evaluate(value, sizes)
    if isinstance(value, tuple):
        return tuple(resolve(v, sizes) for v in value)
    return value


__all__ = ["bind_sizes", "lookup", "resolve", "run"]
