"""The data types under the names that users know."""

from __future__ import annotations

from ..ir.dtype import (
    DType,
    bfloat16,
    float16,
    float32,
    float64,
    int8,
    int16,
    int32,
    int64,
    uint8,
)
from ..ir.dtype import bool_ as bool

dtype = DType
double = float64
float = float32
half = float16
long = int64
int = int32

__all__ = [
    "bfloat16", "bool", "double", "dtype", "float", "float16", "float32", "float64", "half", "int",
    "int16", "int32", "int64", "int8", "long", "uint8",
]  # fmt: skip
