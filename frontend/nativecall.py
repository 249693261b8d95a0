"""The native entry of a route, which looks at what `Route.recognize` does and runs the program, and
of an eager operation."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

from ..runtime import native
from ..runtime.executable import Call
from .current import tracing
from .gradmode import grad_mode
from .guards import Epoch
from .nn.parameter import Parameter
from .storage import Storage
from .tensor import Tensor

if TYPE_CHECKING:
    from .specialize import Route


@cache
def native_code() -> native.Native | None:
    """The native code for tensors, None where Python has to do without it."""
    return native.load(Tensor, Parameter, Storage)


def native_call(route: Route) -> native.NativeCall | None:
    """The native call of a route, which believes nothing yet; None where Python has to do it."""
    entry = route.entry
    code = native_code()
    if code is None or not entry.plain or entry.reads_gradients:
        return None
    guards = entry.captured.guards
    conditions = [
        native.Condition(grad_mode, "enabled", route.grad_mode),
        native.Condition(tracing, "stack", ()),
    ]
    check = entry.holds if entry.looks_closer else None
    if check is None:
        conditions += [native.Condition(read, None, value) for read, value, _ in guards.names]
    conduct = native.Conduct(
        arguments=route.looks,
        epochs=Epoch,
        epoch="value",
        conditions=conditions,
        check=check,
        inputs=entry.others,
        layouts=route.layouts,
        single=entry.single,
        call=route.call,
    )
    return code.prepare(conduct)


def native_operation(
    reaches: Sequence[int], widths: Sequence[int], layouts: Sequence[native.Layout], call: Call
) -> Callable[..., Any] | None:
    """The native way of an eager operation, whose operands reach so many bytes from their first
    element on and have elements of so many bytes; None where Python has to do it."""
    code = native_code()
    if code is None:
        return None
    return code.operation(list(zip(reaches, widths, strict=True)), layouts, call)
