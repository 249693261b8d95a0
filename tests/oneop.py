"""Programs of one operator, made from the samples that operators carry."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import Block, Region, SSAValue

from calque.ir import attrs, interpreter
from calque.ir.op import Builder, Op, Sample, array_meta, current_builder
from calque.ir.sym import Dim, SymEnv, symbol
from calque.ir.types import TensorMeta, to_type
from calque.ir.verify import set_guards, verify

Body = Callable[..., Sequence[SSAValue]]


def samples(op: type[Op], *, errors: bool = False) -> list[Sample]:
    """The samples of an operator: the good ones, or those that must raise."""
    return [s for s in op.samples() if (s.error is not None) == errors]


def build(
    metas: Sequence[TensorMeta], body: Body, examples: dict[str, int] | None = None
) -> ModuleOp:
    """A verified module whose @main computes `body`; `examples` are those of its symbols."""
    types = [to_type(m) for m in metas]
    block = Block(arg_types=types)
    with SymEnv(examples or {}) as env, Builder(block):
        results = body(*block.args)
    block.add_op(ReturnOp(*results))
    func = FuncOp("main", (types, [r.type for r in results]), Region(block))
    set_guards(func, env.guards)
    module = ModuleOp([func])
    verify(module)
    return module


def run(module: ModuleOp, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The results of @main by the interpreter."""
    return interpreter.run(module, arrays)


def as_tuple(results: Any) -> tuple[Any, ...]:
    """What `bind` and `evaluate` return, always a tuple."""
    return results if isinstance(results, tuple) else (results,)


def apply(op: type[Op], attributes: dict[str, Any]) -> Body:
    """The body of a program of one operator."""
    return lambda *args: current_builder().emit(op, args, attributes).results


def dynamic(
    sample: Sample, op: type[Op]
) -> tuple[list[TensorMeta], dict[str, Any], dict[str, int]]:
    """The metas and attributes of a sample with a symbol for each size of its operands.

    Equal sizes share a symbol; 0 and 1 stay, as they do in capture. Sizes among the attributes
    that equal one of the operands become its symbol. Also returns the symbols' values.
    """
    known = {n: symbol(f"S{n}") for a in sample.args for n in a.shape if n > 1}

    def named(d: Dim) -> Dim:
        return known.get(d, d) if isinstance(d, int) else d

    metas = []
    for array in sample.args:
        meta = array_meta(array)
        metas.append(meta.with_shape([named(d) for d in meta.shape]))
    attributes = dict(sample.attrs)
    for key, codec in op.ATTRS.items():
        if codec is attrs.DIMS and key == "shape":
            attributes[key] = tuple(named(d) for d in attributes[key])
        elif codec is attrs.DIMS and key == "limits":
            sizes = sample.args[0].shape
            attributes[key] = tuple(
                named(d) if d == n else d for d, n in zip(attributes[key], sizes, strict=True)
            )
    return metas, attributes, {f"S{n}": n for n in known}


@contextmanager
def about(op: type[Op], sample: Sample) -> Iterator[None]:
    """Failures inside say which sample they are about."""
    try:
        yield
    except BaseException as error:
        shapes = ", ".join(f"{a.dtype}{list(a.shape)}" for a in sample.args)
        error.add_note(f"sample of {op.name}: ({shapes}) {sample.attrs}")
        raise
