"""What `y[mask]` is while tracing: elements whose number is not known before the program runs.

It serves `y[mask] += 1` and `y[mask] = y[mask] * 2`: elementwise work, and a masked write with the
same mask. All else is refused where it is asked for.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, NoReturn

from xdsl.ir import Operation, SSAValue

from ..ir import dtype as dt
from ..ir import ops
from ..ir.errors import runtime_error

if TYPE_CHECKING:
    from .tensor import Tensor
    from .trace import Trace


class Masked:
    """The elements of `full` where a mask that broadcasts to it holds.

    Elsewhere it computes with ones: what is there is never seen, and neither a NaN there nor a
    derivative that is infinite reaches the gradient of an operand.
    """

    def __init__(self, full: Tensor, mask: Tensor, trace: Trace) -> None:
        self._trace = trace
        self._mask = trace.wrap(trace.value(mask))  # as it is now, whatever is written into it
        self._set(full)

    def _set(self, full: Tensor) -> None:
        other = True if full.dtype is dt.bool_ else 1
        self._full: Tensor = ops.where(self._mask, full, other)

    def written_into(self, view: Tensor, mask: Tensor) -> Tensor:
        """`view` with these elements in their places, which have to be those of the same mask."""
        if not self._fits(view, mask):
            self._refuse("a write with another mask")
        return ops.where(mask, ops.cast(self._full, view.dtype), view)

    def _fits(self, full: Tensor, mask: Tensor) -> bool:
        alike = _same(self._trace.value(self._mask), self._trace.value(mask))
        return alike and full._meta.shape == self._full._meta.shape

    def _operand(self, x: Any) -> Any:
        """What an operand is at all elements. Refuses what has elements of its own."""
        if isinstance(x, Masked):
            if not self._fits(x._full, x._mask):
                self._refuse("an operation with what another mask selects")
            return x._full
        if hasattr(x, "_meta") and x.dim():
            self._refuse("an operation with elements of a tensor")
        return x

    def _refuse(self, wanted: str) -> NoReturn:
        from .traced import origin

        raise runtime_error(
            f"what a traced mask ({origin(self._mask)}) selects has no size while tracing: it can "
            "be computed with, elementwise and with numbers, and be written back with the same "
            f"mask, but {wanted} is asked for. Use calque.where(mask, new, old), or move this out "
            "of the compiled function."
        )

    def __getattr__(self, name: str) -> NoReturn:
        self._refuse("a use as a tensor" if name.startswith("_") else f"{name}()")


def _same(a: SSAValue, b: SSAValue, depth: int = 4) -> bool:
    """Whether two values are one, or computed alike: `y[y > 0] = y[y > 0] * 2`."""
    x, y = a.owner, b.owner
    if a is b or not (depth and isinstance(x, Operation) and isinstance(y, Operation)):
        return a is b
    if x.name != y.name or x.properties != y.properties or x.attributes != y.attributes:
        return False
    alike = a.type == b.type and x.results.index(a) == y.results.index(b) and not x.regions
    if not alike or len(x.operands) != len(y.operands):
        return False
    return all(_same(v, w, depth - 1) for v, w in zip(x.operands, y.operands, strict=True))


def _elementwise(name: str) -> Callable[..., Masked]:
    def method(self: Masked, *args: Any, **kwargs: Any) -> Masked:
        operands = [self._operand(x) for x in args]
        options = {key: self._operand(x) for key, x in kwargs.items()}
        found = getattr(self._full, name)(*operands, **options)
        if name in _IN_PLACE:
            self._set(found)
            return self
        return Masked(found, self._mask, self._trace)

    return method


def _refused(wanted: str) -> Callable[..., NoReturn]:
    return lambda self, *_: self._refuse(wanted)


_ARITHMETIC = ("add", "sub", "mul", "truediv", "floordiv", "mod", "pow", "and", "or", "xor")
_IN_PLACE = [f"__i{name}__" for name in _ARITHMETIC]
_ELEMENTWISE = [
    *_IN_PLACE, *(f"__{name}__" for name in _ARITHMETIC), *(f"__r{name}__" for name in _ARITHMETIC),
    "__neg__", "__abs__", "__invert__", "abs", "add", "clamp", "clip", "cos", "detach", "div",
    "exp", "log", "mul", "neg", "pow", "reciprocal", "relu", "round", "rsqrt", "sigmoid", "sign",
    "sin", "sqrt", "square", "sub", "tanh",
]  # fmt: skip
# Python looks these up in the class, and some have a meaning for every object.
_REFUSED = {
    "hash": "a result of the function, or a key,",
    "bool": "the truth value", "len": "their number", "iter": "each of them", "float": "a number",
    "int": "a number", "getitem": "some of them", "setitem": "a write of some of them",
    **dict.fromkeys(("matmul", "rmatmul"), "a product of matrices"),
    **dict.fromkeys(("eq", "ne", "lt", "le", "gt", "ge"), "a comparison"),
}  # fmt: skip
for _name in _ELEMENTWISE:
    setattr(Masked, _name, _elementwise(_name))
for _name, _wanted in _REFUSED.items():
    setattr(Masked, f"__{_name}__", _refused(_wanted))
