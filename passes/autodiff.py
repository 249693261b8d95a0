"""Append the gradient of a function's first result to its results."""

from __future__ import annotations

from dataclasses import dataclass

from xdsl.context import Context
from xdsl.dialects.builtin import ArrayAttr, DictionaryAttr, FunctionType, ModuleOp, StringAttr
from xdsl.dialects.func import FuncOp, ReturnOp
from xdsl.ir import SSAValue
from xdsl.passes import ModulePass
from xdsl.utils.exceptions import PassFailedException

from ..ir.autodiff import gradients
from ..ir.interpreter import lookup
from ..ir.op import Builder
from ..ir.ops.creation import full
from ..ir.types import meta_of
from ..ir.verify import environment
from .stages import GRAPH, require_stage


@dataclass(frozen=True)
class Autodiff(ModulePass):
    """Append gradients of the first result to the results of @main: autodiff{wrt=0,2}."""

    name = "autodiff"

    wrt: tuple[int, ...] | None = None
    """Arguments to differentiate with respect to; all floating-point ones by default."""

    def apply(self, ctx: Context, op: ModuleOp) -> None:
        require_stage(op, self.name, GRAPH)
        try:
            differentiate(lookup(op, "main"), self.wrt)
        except (KeyError, RuntimeError) as error:
            raise PassFailedException(f"autodiff: {error}") from error


def differentiate(func: FuncOp, wrt: tuple[int, ...] | None = None) -> None:
    """Make `func` also return the gradients of its first result, a scalar.

    Raises RuntimeError where the result is no floating-point scalar or an index is out of range.
    """
    block = func.body.block
    args = list(block.args)
    if wrt is None:
        wrt = tuple(i for i, a in enumerate(args) if meta_of(a).dtype.is_floating_point)
    for i in wrt:
        if not 0 <= i < len(args):
            raise RuntimeError(f"@main has {len(args)} arguments, there is no argument {i}")
    end = block.last_op
    assert isinstance(end, ReturnOp)
    loss = end.operands[0]
    meta = meta_of(loss)
    if meta.numel != 1 or not meta.dtype.is_floating_point:
        raise RuntimeError(f"the first result must be a floating-point scalar, not {meta}")
    with environment(func), Builder(block, before=end, location=lambda: end.location):
        seed = full(meta.shape, 1.0, meta.dtype, loss)
        found = gradients([loss], [seed], [args[i] for i in wrt])
        grads: list[SSAValue] = [
            full(meta_of(args[i]).shape, 0, meta_of(args[i]).dtype, args[i]) if g is None else g
            for i, g in zip(wrt, found, strict=True)
        ]
    results = [*end.operands, *grads]
    block.insert_op_before(ReturnOp(*results), end)
    block.erase_op(end)
    inputs = [a.type for a in block.args]
    func.function_type = FunctionType.from_lists(inputs, [v.type for v in results])
    if func.res_attrs is not None:
        names = [_name(func, i) for i in wrt]
        func.res_attrs = ArrayAttr([*func.res_attrs.data, *names])


def _name(func: FuncOp, argument: int) -> DictionaryAttr:
    name = f"arg{argument}"
    if func.arg_attrs is not None:
        given = func.arg_attrs.data[argument].data.get("calque.name")
        name = given.data if isinstance(given, StringAttr) else name
    role = StringAttr("output")
    return DictionaryAttr({"calque.name": StringAttr(f"{name}.grad"), "calque.role": role})
