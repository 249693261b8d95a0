"""`tensor.expand_shape` of a 0-d tensor, which MLIR allows and xDSL's verifier does not."""

from __future__ import annotations

from functools import cache

from xdsl.dialects.builtin import TensorType
from xdsl.dialects.tensor import ExpandShapeOp
from xdsl.utils.exceptions import VerifyException


@cache
def allow_scalar_reshapes() -> None:
    """Let a tensor without dimensions be expanded to one of unit dimensions, once per process."""
    check = ExpandShapeOp.verify_

    def verify(op: ExpandShapeOp) -> None:
        source, result = op.src.type, op.result.type
        assert isinstance(source, TensorType)
        if source.get_shape() or op.reassociation.data:
            check(op)
        elif any(d != 1 for d in result.get_shape()):
            raise VerifyException("a tensor without dimensions has one element")

    ExpandShapeOp.verify_ = verify  # pyright: ignore[reportAttributeAccessIssue]
