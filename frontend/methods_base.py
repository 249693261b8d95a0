"""What the mixins of `Tensor` know of it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, TypeAlias, cast

from ..ir.dtype import DType

if TYPE_CHECKING:
    from ..ir.types import TensorMeta
    from .tensor import Tensor

Dims: TypeAlias = int | Sequence[int] | None


class TensorBase:
    """The attributes of `Tensor` that its methods in other files use."""

    if TYPE_CHECKING:
        _meta: TensorMeta
        _requires_grad: bool
        __calque_weak__: bool

        @property
        def _is_traced(self) -> bool: ...

        @property
        def dtype(self) -> DType: ...

        @property
        def device(self) -> str: ...

        @property
        def shape(self) -> Any: ...

        def dim(self) -> int: ...

        def is_contiguous(self) -> bool: ...


def this(x: TensorBase) -> Tensor:
    """x itself: every object with these methods is a Tensor."""
    return cast("Tensor", x)
