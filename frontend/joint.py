"""Compiled forward, eager backward: the tape node that runs a compiled backward program."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from ..ir.errors import runtime_error
from ..runtime.memory import Buffer
from .autograd import _sequence, edge_of
from .creation import zeros
from .driver import compile_graph
from .eager import aligned
from .errors import run
from .gradmode import is_grad_enabled
from .replay import Replay
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
        sizes: dict[str, int],
        leaves: Sequence[Tensor],
        residuals: list[Tensor],
        outputs: list[Tensor],
    ) -> None:
        backward = entry.captured.backward
        assert backward is not None
        self.entry = entry
        self.sizes = sizes
        self.residuals = residuals
        self.versions = _versions(residuals)
        if backward.replay is None:
            backward.replay = Replay(entry.captured)
        self.replay = backward.replay
        self.inputs = self.replay.tensors(leaves)
        self.input_versions = _versions(self.inputs)
        self.number = next(_sequence)
        self.released = False
        targets = [leaf if isinstance(leaf, Tensor) else leaves[leaf] for leaf in backward.leaves]
        self.edges = [edge_of(t) for t in targets]
        self.result_metas = [o._meta for o in outputs]

    def apply(self, cotangents: Sequence[Tensor | None]) -> list[Tensor]:
        """Run the backward program; it is compiled at its first use."""
        if self.released:
            raise runtime_error(
                "Trying to backward through the graph a second time (or directly access saved "
                "tensors after they have already been freed). Specify retain_graph=True if you "
                "need to backward through the graph a second time."
            )
        entry = self.entry
        filled = [
            c if c is not None else zeros(m.shape, dtype=m.dtype)
            for c, m in zip(cotangents, self.result_metas, strict=True)
        ]
        if is_grad_enabled():
            _check_versions(self.inputs, self.input_versions)
            return self.replay.gradients(self.inputs, filled, self.sizes)
        _check_versions(self.residuals, self.versions)
        if entry.backward_program is None:
            assert entry.captured.backward is not None
            graph, name = entry.captured.backward.graph, f"{entry.name}-backward"
            entry.backward_program = compile_graph(graph, name=name, keep=True)
        program = entry.backward_program
        call = program.prepare([self.sizes[s] for s in program.symbols])
        tensors = [*self.residuals, *map(aligned, filled)]
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
        self.inputs = []
        self.released = True


def _versions(tensors: Sequence[Tensor | str]) -> list[tuple[Any, int]]:
    """The memory of tensors, and how often it was written."""
    return [(t._storage, t._storage.version) if isinstance(t, Tensor) else (0, 0) for t in tensors]


def _check_versions(tensors: Sequence[Tensor | str], versions: Sequence[tuple[Any, int]]) -> None:
    """Raise where a tensor that the rules read was written since, or has other memory."""
    pairs = zip(_versions(tensors), versions, strict=True)
    for tensor, ((memory, now), (before, version)) in zip(tensors, pairs, strict=True):
        if not isinstance(tensor, Tensor):
            continue
        if memory is not before:
            raise runtime_error(
                f"one of the variables needed for gradient computation, [{tensor._meta}], has "
                "other data by now: its .data was assigned"
            )
        if now != version:
            raise runtime_error(
                "one of the variables needed for gradient computation has been modified by an "
                f"inplace operation: [{tensor._meta}] is at version {now}; expected version "
                f"{version} instead."
            )


def attach(
    entry: Entry, sizes: dict[str, int], leaves: Sequence[Tensor], outputs: Sequence[Any]
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
            found = aligned(leaves[index]) if tensor is None else tensor
            residuals.append(found._again())  # whatever data it is given later
    differentiable = [outputs[i] for i in captured.differentiable]
    node = CompiledBackward(entry, sizes, leaves, residuals, differentiable)
    for i, output in enumerate(differentiable):
        output._grad_fn, output._output, output._requires_grad = node, i, True
