"""Parameters: tensors that modules register by assignment."""

from __future__ import annotations

from ..creation import empty_concrete
from ..current import untraced
from ..gradmode import no_grad
from ..inplace import copy_
from ..storage import Fields
from ..tensor import Tensor


class Parameter(Tensor):
    """A leaf tensor that requires gradients; assigning one to a module registers it."""

    def __new__(cls, data: Tensor, requires_grad: bool = True) -> Parameter:
        with untraced(), no_grad():
            if data._base is None and data.is_leaf and not data._requires_grad:
                source = data
            else:
                source = copy_(empty_concrete(data._meta), data)
            self = object.__new__(cls)
            for name in (*Fields.__slots__, *vars(source)):
                if hasattr(source, name):  # a traced tensor has no strides
                    setattr(self, name, getattr(source, name))
        self._requires_grad = requires_grad
        return self

    def __init__(self, data: Tensor, requires_grad: bool = True) -> None:
        pass


__all__ = ["Parameter"]
