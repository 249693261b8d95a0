"""How values of the kernel stage look in LLVM: types and memref descriptors."""

from __future__ import annotations

from dataclasses import dataclass, replace

from xdsl.dialects.builtin import (
    DYNAMIC_INDEX,
    BFloat16Type,
    Float16Type,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerType,
    MemRefType,
    NoneAttr,
    VectorType,
)
from xdsl.ir import Attribute

from .errors import CodegenError
from .llvm import Fn, size, vector

_cache: dict[Attribute, str] = {}


def llvm_type(ty: Attribute) -> str:
    """LLVM spelling of a scalar or a 1-d vector type; an index is an i64.

    Raises CodegenError for other types.
    """
    found = _cache.get(ty)
    if found is None:
        found = _cache[ty] = _spell(ty)
    return found


def _spell(ty: Attribute) -> str:
    match ty:
        case IndexType():
            return "i64"
        case IntegerType():
            return f"i{ty.width.data}"
        case Float16Type():
            return "half"
        case BFloat16Type():
            return "bfloat"
        case Float32Type():
            return "float"
        case Float64Type():
            return "double"
        case VectorType() if ty.get_num_dims() == 1:
            return vector(_spell(ty.element_type), ty.get_shape()[0])
        case _:
            raise CodegenError(f"type {ty} is not supported at the kernel stage")


@dataclass(frozen=True, slots=True)
class MemRef:
    """A memref while code is written: its first element's address, and extents and strides (in
    elements) as i64 values, which are literals where they are static.

    `base` is the address that `memref.reinterpret_cast` counts from: the buffer's, however many
    subviews lie between.
    """

    ptr: str
    base: str
    element: str
    sizes: tuple[str, ...]
    strides: tuple[str, ...]

    @staticmethod
    def contiguous(f: Fn, ptr: str, element: str, sizes: tuple[str, ...]) -> MemRef:
        return MemRef(ptr, ptr, element, sizes, row_major(f, sizes))

    def address(self, f: Fn, indices: list[str], inbounds: bool = True) -> str:
        """Address of an element, outermost dimension first: what does not depend on the inner
        loops then leaves them."""
        ptr = self.ptr
        for index, stride in zip(indices, self.strides, strict=True):
            ptr = f.gep(self.element, ptr, f.mul("i64", index, stride), inbounds)
        return ptr

    def at(self, ptr: str) -> MemRef:
        return replace(self, ptr=ptr)

    @property
    def bytes(self) -> int:
        """Bytes of one element."""
        return size(self.element)


def row_major(f: Fn, sizes: tuple[str, ...]) -> tuple[str, ...]:
    """Strides of a contiguous memref."""
    strides, product = [], "1"
    for extent in reversed(sizes):
        strides.append(product)
        product = f.mul("i64", product, extent)
    return tuple(reversed(strides))


def element_type(memref: MemRefType) -> str:
    """LLVM type of a memref's elements. Raises CodegenError for i1: bools are stored as i8."""
    element = llvm_type(memref.element_type)
    if element == "i1":
        raise CodegenError(f"{memref}: bools are stored as i8")
    return element


def static_strides(memref: MemRefType) -> tuple[int | None, ...]:
    """The strides of a memref type in elements, None where dynamic.

    Raises CodegenError for layouts that are not strided.
    """
    strides = memref.get_strides()
    if strides is None:
        raise CodegenError(f"{memref}: only strided layouts are supported")
    return tuple(None if s is None or s == DYNAMIC_INDEX else s for s in strides)


def is_strided(memref: MemRefType) -> bool:
    """Whether the type spells out its strides (as opposed to row-major without layout)."""
    return not isinstance(memref.layout, NoneAttr)
