"""Compiled forward, eager backward: the tape node that runs a compiled backward program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..runtime.memory import Buffer
from .autograd import _sequence, edge_of
from .creation import zeros
from .driver import compile_graph
from .eager import aligned
from .errors import run
from .gradmode import is_grad_enabled
from .storage import Storage
from .tensor import Tensor

if TYPE_CHECKING:
    from .specialize import Entry


class CompiledBackward:
    """A node of the tape for one call of a compiled function.

    Residuals are buffers of their own, freed with the node or after its backward.
    """

    name = "CompiledBackward"

    def __init__(
        self,
        entry: Entry,
        sizes: tuple[int, ...],
        leaves: Sequence[Tensor],
        residuals: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        backward = entry.captured.backward
        assert backward is not None
        self.entry = entry
        self.sizes = sizes
        self.residuals = residuals
        self.versions = [r._storage.version for r in residuals]
        self.number = next(_sequence)
        self.released = False
        targets = [leaf if isinstance(leaf, Tensor) else leaves[leaf] for leaf in backward.leaves]
        self.edges = [edge_of(t) for t in targets]
        self.node = _Metas([o._meta for o in outputs])

    def apply(self, cotangents: Sequence[Tensor | None]) -> list[Tensor]:
        """Run the backward program; it is compiled at its first use."""
        if self.released:
            raise RuntimeError(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Specify retain_graph=True if you "
                "need to backward through the graph a second time."
            )
        if is_grad_enabled():
            raise RuntimeError(
                "create_graph=True through a compiled function is not supported: compile the "
                "function that takes the gradient instead"
            )
        for tensor, version in zip(self.residuals, self.versions, strict=True):
            if tensor._storage.version != version:
                raise RuntimeError(
                    "one of the variables needed for gradient computation has been modified by "
                    f"an inplace operation: [{tensor._meta}] is at version "
                    f"{tensor._storage.version}; expected version {version} instead."
                )
        entry = self.entry
        if entry.backward_program is None:
            assert entry.captured.backward is not None
            module = entry.captured.backward.module()
            entry.backward_program = compile_graph(module, name=f"{entry.name}-backward")
        program = entry.backward_program
        filled = [
            aligned(c) if c is not None else zeros(m.shape, dtype=m.dtype)
            for c, m in zip(cotangents, self.node.result_metas, strict=True)
        ]
        known = dict(zip(entry.program.symbols, self.sizes, strict=True))
        call = program.prepare([known[s] for s in program.symbols])
        tensors = [*self.residuals, *filled]
        grads: list[Tensor] = []
        for meta, shape in zip(program.outputs, call.shapes[len(tensors) :], strict=True):
            nbytes = meta.dtype.itemsize
            for n in shape:
                nbytes *= n
            grads.append(Tensor._concrete(Storage(Buffer.empty(nbytes)), meta.with_shape(shape)))
        run(call, [x.data_ptr() for x in (*tensors, *grads)])
        return grads

    def release(self) -> None:
        self.residuals = []
        self.released = True


class _Metas:
    def __init__(self, result_metas: list[Any]) -> None:
        self.result_metas = result_metas


def attach(
    entry: Entry, sizes: tuple[int, ...], leaves: Sequence[Tensor], outputs: Sequence[Any]
) -> None:
    """Connect the outputs of a call to the tape."""
    captured = entry.captured
    assert captured.backward is not None
    residuals: list[Tensor] = []
    for kind, index in captured.backward.residuals:
        if kind == "result":
            residuals.append(outputs[index])
        else:
            tensor = captured.inputs[index].tensor
            residuals.append(aligned(leaves[index]) if tensor is None else tensor)
    differentiable = [outputs[i] for i in captured.differentiable]
    node = CompiledBackward(entry, sizes, leaves, residuals, differentiable)
    for i, output in enumerate(differentiable):
        output._grad_fn, output._output, output._requires_grad = node, i, True
