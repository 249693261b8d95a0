"""Whether a module is at the stage that a pass works on."""

from __future__ import annotations

from xdsl.dialects.builtin import MemRefType, ModuleOp, TensorType
from xdsl.dialects.func import FuncOp
from xdsl.utils.exceptions import PassFailedException

GRAPH, LINALG, KERNEL = "graph", "linalg", "kernel"
_BOUNDARIES = ("bufferization.to_tensor", "bufferization.materialize_in_destination")


def require_stage(module: ModuleOp, name: str, stage: str) -> None:
    """Raises PassFailedException where the pass called `name` meets a module of another stage."""
    found = _stages(module)
    if stage not in found:
        raise PassFailedException(
            f"the pass {name} works on the {stage} stage; this is the {found[0]} stage"
        )


def require_kernels(module: ModuleOp, name: str, *, tiled: bool) -> None:
    """As `require_stage` for "kernel", with kernels that are loops already, or are not yet."""
    require_stage(module, name, KERNEL)
    kernels = any("calque.kernel" in op.attributes for op in module.ops)
    if kernels and tiled and on_tensors(module):
        raise PassFailedException(f"the pass {name} works on loops; run the pass tile before")
    if kernels and not tiled and not on_tensors(module):
        raise PassFailedException(f"the pass {name} works on tensors; these kernels are tiled")


def require_unplanned(module: ModuleOp, name: str) -> None:
    """As `require_stage` for "kernel", with a host whose memory is not planned yet."""
    require_stage(module, name, KERNEL)
    if any(isinstance(op, FuncOp) and op.sym_name.data == "main.plan" for op in module.ops):
        raise PassFailedException(f"the pass {name} adds @main.plan, which this module has")


def on_tensors(module: ModuleOp) -> bool:
    """Whether kernels still compute tensors, between the memory they read and write."""
    return any(op.name in _BOUNDARIES for op in module.walk())


def _stages(module: ModuleOp) -> tuple[str, ...]:
    """The stages that a module may be at: several where it holds little more than its signature."""
    names = {op.name for op in module.walk()}
    if any(name.startswith("calque.") for name in names):
        return (GRAPH,)
    functions = [op for op in module.ops if isinstance(op, FuncOp)]
    types = [t for f in functions for t in (*f.function_type.inputs, *f.function_type.outputs)]
    if any(isinstance(t, MemRefType) for t in types):
        return (KERNEL,)
    if any(name.startswith(("linalg.", "tensor.")) for name in names):
        return (LINALG,)
    if any(isinstance(t, TensorType) for t in types):
        return (LINALG, GRAPH)
    return (LINALG, GRAPH, KERNEL)
