"""`calque.trace`: a function's program without compiling it, in torch.fx's terms too."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from xdsl.dialects.builtin import FileLineColLoc, ModuleOp
from xdsl.ir import Operation, SSAValue

from ..ir import interpreter
from ..ir.op import Op
from ..ir.sym import SymEnv
from ..ir.text import to_text
from ..ir.types import TensorMeta, meta_of
from .capture import Captured, capture
from .pytree import flatten
from .storage import Storage
from .tensor import Tensor


@dataclass(frozen=True)
class Node:
    """One line of a traced program, as in torch.fx: read-only.

    `kwargs` are the attributes of an operator. Of several results, other nodes name the one they
    take as `scan[1]`; `meta` is the first one's.
    """

    op: str
    name: str
    target: str
    args: tuple[str, ...]
    kwargs: dict[str, Any]
    meta: TensorMeta | None
    location: str


class Program:
    """A traced program: `str(program)` is its IR, `program(*tensors)` interprets it with NumPy."""

    def __init__(self, captured: Captured) -> None:
        self.captured = captured
        self.module: ModuleOp = captured.module()

    def __str__(self) -> str:
        return to_text(self.module)

    @property
    def nodes(self) -> tuple[Node, ...]:
        """Inputs, operations and the output, in order."""
        func = interpreter.lookup(self.module, "main")
        names: dict[SSAValue, str] = {}
        taken: set[str] = set()
        out: list[Node] = []
        for arg, entry in zip(func.body.block.args, self.captured.inputs, strict=True):
            names[arg] = entry.name.replace(".", "_")
            taken.add(names[arg])
            kind = "get_attr" if entry.role == "state" else "placeholder"
            out.append(Node(kind, names[arg], entry.name, (), {}, meta_of(arg), ""))
        for op in func.body.block.ops:
            args = tuple(names[v] for v in op.operands)
            if not op.results:
                out.append(Node("output", "output", "output", args, {}, None, ""))
                continue
            short = op.name.removeprefix("calque.")
            name = short if short not in taken else f"{short}_{len(out)}"
            taken.add(name)
            for i, result in enumerate(op.results):
                names[result] = name if len(op.results) == 1 else f"{name}[{i}]"
            kwargs = op.attrs if isinstance(op, Op) else {}
            meta = meta_of(op.results[0])
            out.append(Node("call_function", name, op.name, args, kwargs, meta, _where(op)))
        return tuple(out)

    def print_tabular(self) -> None:
        """Print the nodes as a table."""
        rows = [("opcode", "name", "target", "args", "type", "line")]
        for n in self.nodes:
            given = [*n.args, *(f"{name}={_shown(value)}" for name, value in n.kwargs.items())]
            args = f"({', '.join(given)})" if given else ""
            rows.append((n.op, n.name, n.target, args, str(n.meta or ""), n.location))
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        for row in (rows[0], ["-" * width for width in widths], *rows[1:]):
            cells = [cell.ljust(width) for cell, width in zip(row, widths, strict=True)]
            print("  ".join(cells).rstrip())

    def __call__(self, *args: Any) -> list[np.ndarray]:
        """Results by the NumPy references, state inputs as they are now."""
        given = [np.asarray(a.detach()) if isinstance(a, Tensor) else np.asarray(a) for a in args]
        values: list[np.ndarray] = []
        for entry in self.captured.inputs:
            if entry.getter is not None:
                values.append(np.asarray(entry.getter(), np.float64))
            elif entry.tensor is not None:
                values.append(np.array(entry.tensor._array(), order="C"))
            else:
                values.append(np.asarray(given.pop(0), order="C"))
        return interpreter.run(self.module, values)


def _shown(value: Any) -> str:
    """An attribute in a cell of a table: of constants with many elements only what they are."""
    if isinstance(value, np.ndarray):
        return str(value.item()) if value.size == 1 else f"{value.dtype}{list(value.shape)}"
    if isinstance(value, tuple):
        return f"[{', '.join(map(_shown, value))}]"
    return str(value)


def _where(op: Operation) -> str:
    loc = op.location
    return f"{loc.filename.data}:{loc.line.data}" if isinstance(loc, FileLineColLoc) else ""


def trace(function: Callable[..., Any], *examples: Any, **kwargs: Any) -> Program:
    """The program that `function` runs on arguments like `examples`, not compiled.

    An example is a tensor, a NumPy array, or a `TensorMeta` with symbolic sizes.
    """
    from .creation import as_tensor

    metas: list[TensorMeta] = []

    def concrete(x: Any) -> Any:
        if isinstance(x, TensorMeta):
            metas.append(x)
            example = Tensor._blank(x)
            example._storage = Storage(None)
            return example
        if isinstance(x, np.ndarray):
            x = as_tensor(x)
        if isinstance(x, Tensor):
            metas.append(x._meta)
        return x

    args = tuple(concrete(x) for x in examples)
    named = {k: concrete(v) for k, v in kwargs.items()}
    leaves: list[Any] = []
    spec = flatten((args, named), leaves)
    return Program(capture_metas(function, spec, metas, leaves))


def capture_metas(
    function: Callable[..., Any], spec: Any, metas: Sequence[TensorMeta], leaves: Sequence[Any]
) -> Captured:
    """Capture with the given metas; sizes have no examples."""
    if hasattr(function, "_guard_state"):
        function = function.__call__  # a module: its paths are the names of its parameters
    return capture(function, spec, metas, leaves, SymEnv(), split=False)


__all__ = ["Node", "Program", "trace"]
