"""What the native entry of a route looks at: the same as `Route.recognize`, and does: `Route.run`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from ..runtime import native
from .gradmode import grad_mode
from .guards import Epoch
from .nn.parameter import Parameter
from .storage import Storage
from .tensor import Tensor
from .trace import tracing

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
        native.Condition(Epoch, "value", None),
        native.Condition(grad_mode, "enabled", route.grad_mode),
        native.Condition(tracing, "stack", ()),
    ]
    check = entry.holds if entry.looks_closer else None
    if check is None:
        conditions += [native.Condition(read, None, value) for read, value, _ in guards.names]
    return code.prepare(
        native.Conduct(
            route.looks, conditions, check, entry.others, route.layouts, entry.single, route.call
        )
    )
