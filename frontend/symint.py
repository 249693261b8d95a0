"""Sizes as users meet them while tracing: integers whose value is not fixed."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ..ir import sym
from ..ir.dtype import int64
from ..ir.errors import runtime_error, type_error
from ..ir.op import Op
from ..ir.ops import creation
from ..ir.sym import Dim, Expr
from ..ir.types import TensorMeta


class SymInt:
    """A symbolic size that behaves like an int.

    Arithmetic stays symbolic. A comparison is answered by the algebra or, where it cannot decide,
    by the example size, and then becomes a guard of the compiled program. `int(size)` fixes the
    size to its example, which is a guard too.
    """

    __slots__ = ("expr",)

    def __init__(self, expr: Expr) -> None:
        self.expr = expr

    # ---- as an operand of tensors ---------------------------------------------------------

    def __calque_meta__(self) -> TensorMeta:
        return TensorMeta((), int64)

    @staticmethod
    def __calque_bind__(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
        """The operator with sizes among its operands as 0-d int64 tensors."""
        from .dispatch import apply

        return apply(op, [_as_tensor(x) if isinstance(x, SymInt) else x for x in operands], attrs)

    # ---- as a number ----------------------------------------------------------------------

    def _op(self, other: Any, apply: Any) -> Any:
        if isinstance(other, SymInt):
            other = other.expr
        if isinstance(other, int | Expr):
            return wrap(apply(self.expr, other))
        if isinstance(other, float):
            return apply(float(self), other)
        return NotImplemented

    def __add__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: a + b)

    __radd__ = __add__

    def __sub__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: a - b)

    def __rsub__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: b - a)

    def __mul__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: a * b)

    __rmul__ = __mul__

    def __floordiv__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: a // b)

    def __rfloordiv__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: b // a)

    def __mod__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: a % b)

    def __rmod__(self, other: Any) -> Any:
        return self._op(other, lambda a, b: b % a)

    def __truediv__(self, other: Any) -> Any:
        return float(self) / other

    def __rtruediv__(self, other: Any) -> Any:
        return other / float(self)

    def __pow__(self, other: Any) -> Any:
        return float(self) ** other if isinstance(other, float) else int(self) ** other

    def __neg__(self) -> Any:
        return wrap(-self.expr)

    def __eq__(self, other: object) -> bool:
        if isinstance(other, SymInt):
            return sym.same(self.expr, other.expr)
        return isinstance(other, int) and sym.same(self.expr, other)

    def __lt__(self, other: SymInt | int) -> bool:
        return sym.less(self.expr, unwrap(other))

    def __gt__(self, other: SymInt | int) -> bool:
        return sym.less(unwrap(other), self.expr)

    def __le__(self, other: SymInt | int) -> bool:
        return not self > other

    def __ge__(self, other: SymInt | int) -> bool:
        return not self < other

    def __hash__(self) -> int:
        return hash(self.expr)

    def __bool__(self) -> bool:
        return not sym.same(self.expr, 0)

    def __int__(self) -> int:
        """The example value; the program is from now on specialized to it."""
        env = sym.current_env()
        if env is None:
            raise type_error(f"size {self.expr} has no value outside of tracing")
        try:
            value = sym.evaluate(self.expr, env.examples)
        except KeyError:
            raise sym.UndecidedError(
                f"size {self.expr} is needed as a number here, but has no example value; "
                "give it as one"
            ) from None
        sym.same(self.expr, value)
        return value

    __index__ = __int__

    def __float__(self) -> float:
        return float(int(self))

    def __repr__(self) -> str:
        return str(self.expr)


def _as_tensor(size: SymInt) -> Any:
    from .dispatch import apply

    return apply(creation.Size, (), {"value": size.expr, "device": "cpu"})


def wrap(size: Dim) -> SymInt | int:
    """A size as users see it."""
    return size if isinstance(size, int) else SymInt(size)


def unwrap(size: SymInt | Dim | Any) -> Dim:
    """A size as the IR sees it. Raises TypeError for anything that is no integer."""
    if type(size) is int:
        return size
    if isinstance(size, SymInt):
        return size.expr
    if isinstance(size, Expr):
        return size
    if isinstance(size, bool) or not hasattr(size, "__index__"):
        raise type_error(f"expected an integer size, got {type(size).__name__}")
    return size.__index__()


class Size(tuple[Any, ...]):
    """The shape of a tensor: a tuple of sizes."""

    def numel(self) -> Any:
        """The number of elements."""
        total: Any = 1
        for size in self:
            total = size * total
        return total

    def __repr__(self) -> str:
        return f"calque.Size([{', '.join(map(str, self))}])"


def sizes(args: Sequence[Any]) -> tuple[Dim, ...]:
    """Sizes given as `f(2, 3)` or `f((2, 3))`."""
    if len(args) == 1 and isinstance(args[0], (tuple, list)):
        args = args[0]
    return tuple([unwrap(a) for a in args])


def new_sizes(args: Sequence[Any]) -> tuple[Dim, ...]:
    """The sizes of a new tensor. Raises RuntimeError for negative ones."""
    shape = sizes(args)
    for d in shape:
        if isinstance(d, int) and d < 0:
            raise runtime_error(
                f"Trying to create tensor with negative dimension {d}: "
                f"[{', '.join(map(str, shape))}]"
            )
    return shape


__all__ = ["Size", "SymInt"]
