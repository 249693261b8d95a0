"""Data types of tensor elements: names, widths, promotion."""

from __future__ import annotations

from dataclasses import dataclass

import ml_dtypes
import numpy as np
from xdsl.dialects.builtin import (
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IntegerType,
    f32,
    f64,
    i1,
    i8,
    i16,
    i32,
    i64,
)
from xdsl.ir import Attribute

from .errors import type_error


@dataclass(frozen=True, slots=True, eq=False)
class DType:
    """An element type. Instances are the module's constants and compare by identity.

    `mlir` is the spelling in IR text, `kind` one of "f" (float), "i" (signed), "u" (unsigned),
    "b" (bool). Signedness is not part of MLIR's signless integers; it travels in the encoding.
    """

    name: str
    mlir: str
    bits: int
    kind: str
    numpy: np.dtype
    element: Attribute

    @property
    def is_floating_point(self) -> bool:
        return self.kind == "f"

    @property
    def is_signed(self) -> bool:
        return self.kind in "fi"

    @property
    def itemsize(self) -> int:
        """Bytes per element in memory; a bool takes one byte."""
        return max(8, self.bits) // 8

    def __repr__(self) -> str:
        return f"calque.{self.name}"

    def __reduce__(self) -> str:
        return "bool_" if self.name == "bool" else self.name  # the name of the constant


def _make(name: str, mlir: str, bits: int, kind: str, scalar: type, element: Attribute) -> DType:
    return DType(name, mlir, bits, kind, np.dtype(scalar), element)


float64 = _make("float64", "f64", 64, "f", np.float64, f64)
float32 = _make("float32", "f32", 32, "f", np.float32, f32)
float16 = _make("float16", "f16", 16, "f", np.float16, Float16Type())
bfloat16 = _make("bfloat16", "bf16", 16, "f", ml_dtypes.bfloat16, BFloat16Type())
int64 = _make("int64", "i64", 64, "i", np.int64, i64)
int32 = _make("int32", "i32", 32, "i", np.int32, i32)
int16 = _make("int16", "i16", 16, "i", np.int16, i16)
int8 = _make("int8", "i8", 8, "i", np.int8, i8)
uint8 = _make("uint8", "i8", 8, "u", np.uint8, i8)
bool_ = _make("bool", "i1", 1, "b", np.bool_, i1)

ALL = (float64, float32, float16, bfloat16, int64, int32, int16, int8, uint8, bool_)
BY_NAME = {d.name: d for d in ALL}
BY_NUMPY = {d.numpy: d for d in ALL}
# The spelling in input specifications such as f32[8x784]; unsigned types have their own.
BY_MLIR = {d.mlir: d for d in ALL if d.kind != "u"} | {"u8": uint8, "bool": bool_}


def from_numpy(dtype: np.dtype | type) -> DType:
    """The DType of a NumPy dtype. Raises TypeError where calque has none."""
    found = BY_NUMPY.get(np.dtype(dtype))
    if found is None:
        raise type_error(f"calque has no data type for NumPy's {np.dtype(dtype)}")
    return found


def from_element(element: Attribute, *, unsigned: bool = False) -> DType:
    """The DType of an IR element type."""
    match element:
        case Float32Type():
            return float32
        case Float64Type():
            return float64
        case Float16Type():
            return float16
        case BFloat16Type():
            return bfloat16
        case IntegerType():
            if unsigned:
                return {8: uint8}[element.width.data]
            return {64: int64, 32: int32, 16: int16, 8: int8, 1: bool_}[element.width.data]
    raise type_error(f"{element} is not a tensor element type")


_CATEGORY = {"b": 0, "u": 1, "i": 1, "f": 2}


def category(dtype: DType) -> int:
    """0 for bool, 1 for integers, 2 for floats: the order of promotion."""
    return _CATEGORY[dtype.kind]


def promote(a: DType, b: DType) -> DType:
    """The common type of two tensor operands, by PyTorch's rules (`torch.promote_types`)."""
    if a is b:
        return a
    ca, cb = category(a), category(b)
    if ca != cb:
        return a if ca > cb else b
    if ca == 2 and a.bits == b.bits == 16:
        return float32
    if ca == 1 and "u" in a.kind + b.kind and a.bits == b.bits:
        return int16
    return a if a.bits > b.bits else b


def weak(value: bool | int | float) -> DType:
    """The default type of a Python number where no tensor decides."""
    if isinstance(value, bool):
        return bool_
    return int64 if isinstance(value, int) else float32


def promote_weak(tensor: DType, value: bool | int | float) -> DType:
    """The result type of a tensor with a Python number: the number only lifts the category."""
    scalar = weak(value)
    return tensor if category(tensor) >= category(scalar) else scalar
