"""Derivatives of derivatives through a compiled forward: its graph, run again on the tape.

The residuals that the native forward left are data. For `create_graph=True` they are computed
again from the inputs, operator by operator, and so is the backward graph: then the tape knows how
gradients depend on the inputs.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from xdsl.dialects.func import ReturnOp
from xdsl.ir import Operation, SSAValue

from ..ir.autodiff import describe
from ..ir.errors import runtime_error
from ..ir.interpreter import resolve
from ..ir.op import Op
from .dispatch import apply
from .tensor import Tensor

if TYPE_CHECKING:
    from .capture import Captured


class Replay:
    """How the residuals of a program are computed. `inputs` are the indices of what is needed."""

    def __init__(self, captured: Captured) -> None:
        assert captured.backward is not None
        block = captured.trace.block
        self._captured = captured
        self._residuals = [
            block.args[i] if kind == "input" else captured.results[i].value
            for kind, i in captured.backward.residuals
        ]
        live = set(self._residuals)
        needed: list[Operation] = []
        for op in reversed(list(block.ops)):
            if any(r in live for r in op.results):
                needed.append(op)
                live.update(op.operands)
        self._ops = needed[::-1]
        self.inputs = [i for i, arg in enumerate(block.args) if arg in live]

    def tensors(self, arguments: Sequence[Tensor]) -> list[Tensor | str]:
        """What the needed inputs are in a call; the name of one that has no value any more."""
        found: list[Tensor | str] = []
        for i in self.inputs:
            entry = self._captured.inputs[i]
            tensor = arguments[i] if i < len(arguments) else entry.tensor
            found.append(entry.name if tensor is None or entry.storage.version else tensor)
        return found

    def gradients(
        self,
        tensors: Sequence[Tensor | str],
        cotangents: Sequence[Tensor],
        sizes: Mapping[str, int],
    ) -> list[Tensor]:
        """The gradients, connected to `tensors` and cotangents.

        Raises RuntimeError where an input was written by the program itself.
        """
        backward = self._captured.backward
        assert backward is not None
        env: dict[SSAValue, Tensor] = {}
        for i, tensor in zip(self.inputs, tensors, strict=True):
            if isinstance(tensor, str):
                random = tensor.startswith("rng.")
                written = f"'{tensor}' is written by the function, or read by name"
                raise _unsupported("it draws random numbers" if random else written)
            env[self._captured.trace.block.args[i]] = tensor
        _run(self._ops, env, sizes)
        given = [*(env[v] for v in self._residuals), *cotangents]
        env = dict(zip(backward.block.args, given, strict=True))
        _run(backward.block.ops, env, sizes)
        return [env[v] for v in backward.grads]


def _run(ops: Iterable[Operation], env: dict[SSAValue, Tensor], sizes: Mapping[str, int]) -> None:
    for op in ops:
        if isinstance(op, ReturnOp):
            return
        if not isinstance(op, Op) or op.regions:
            raise _unsupported(f"of {describe(op)}")
        attrs = {key: resolve(value, sizes) for key, value in op.attrs.items()}
        made = apply(type(op), [env[v] for v in op.operands], attrs)
        env.update(zip(op.results, made if isinstance(made, tuple) else (made,), strict=True))


def _unsupported(reason: str) -> RuntimeError:
    return runtime_error(
        f"create_graph=True through a compiled function is not supported here, because {reason}: "
        "compile the function that takes the gradient instead"
    )
