"""Nested Python structures of tensors: what functions take and return."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from ..ir.errors import type_error
from .symint import SymInt
from .tensor import Tensor


class Leaf:
    """The place of a tensor in a structure."""

    __slots__ = ()

    def __repr__(self) -> str:
        return "*"


LEAF = Leaf()


def flatten(tree: Any, leaves: list[Any]) -> Any:
    """Append the tensors, floats and symbolic sizes of `tree` to `leaves`; a spec of the rest.

    Floats become leaves because their values do not belong to a program's structure. Raises
    TypeError for values that cannot be compared between calls.
    """
    if isinstance(tree, (Tensor, SymInt, float, np.floating)):
        leaves.append(tree)
        return LEAF
    if isinstance(tree, dict):
        return (type(tree), tuple([(k, flatten(v, leaves)) for k, v in tree.items()]))
    if isinstance(tree, (list, tuple)):
        return (type(tree), tuple([flatten(v, leaves) for v in tree]))
    try:
        if isinstance(tree, Iterator):  # it can be gone through but once
            raise TypeError
        hash(tree)
    except TypeError:
        raise type_error(
            f"a compiled function takes and returns tensors, numbers, strings, and lists, tuples "
            f"and dicts of them; got {type(tree).__name__}"
        ) from None
    # 1 == True == np.float32(1) in Python, but they mean different programs.
    return (type(tree), tree) if isinstance(tree, bool | int | np.generic) else tree


def unflatten(spec: Any, leaves: Sequence[Any]) -> Any:
    """The structure with `leaves` in their places."""
    return _build(spec, iter(leaves))


def _build(spec: Any, leaves: Any) -> Any:
    if spec is LEAF:
        return next(leaves)
    if isinstance(spec, tuple) and len(spec) == 2 and isinstance(spec[0], type):
        kind, inner = spec
        if issubclass(kind, bool | int | np.generic):
            return inner
        if issubclass(kind, dict):
            return kind((k, _build(v, leaves)) for k, v in inner)
        items = [_build(v, leaves) for v in inner]
        return kind(*items) if hasattr(kind, "_fields") else kind(items)
    return spec
