"""The one calling convention of kernels and host functions, seen from both sides.

``i32 f(ptr context, ptr pointers, ptr sizes, ptr scalars)``:

- ``pointers``: for each memref, the address of its first element;
- ``sizes`` (i64): for each argument in order, a memref's dynamic dimensions, then, if its layout
  is strided, its dynamic strides in elements; an index argument's value;
- ``scalars`` (8-byte slots): the other scalar arguments in order.

The result is 0, or a positive failure code.
"""

from __future__ import annotations

from collections.abc import Sequence

from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType
from xdsl.ir import Attribute, BlockArgument, SSAValue

from .emit import Emitter
from .llvm import Fn
from .types import MemRef, element_type, is_strided, llvm_type, static_strides

PARAMS = (("ptr", "context"), ("ptr", "pointers"), ("ptr", "sizes"), ("ptr", "scalars"))


def receive(e: Emitter, args: Sequence[BlockArgument]) -> None:
    """Read the arguments at the entry of a function with parameters `PARAMS`."""
    f = e.f
    pointers = sizes = scalars = 0
    for arg in args:
        ty = arg.type
        if isinstance(ty, MemRefType):
            ptr = f.load("ptr", f.gep("ptr", "%pointers", str(pointers)))
            pointers += 1
            e.memrefs[arg], sizes = _receive_memref(f, ty, ptr, sizes)
        elif isinstance(ty, IndexType):
            e.values[arg] = _size(f, sizes)
            sizes += 1
        else:
            slot = f.gep("i64", "%scalars", str(scalars))
            e.values[arg] = f.load(llvm_type(ty), slot)
            scalars += 1


def _size(f: Fn, number: int) -> str:
    return f.load("i64", f.gep("i64", "%sizes", str(number)))


def _receive_memref(f: Fn, ty: MemRefType, ptr: str, number: int) -> tuple[MemRef, int]:
    """The descriptor of a memref argument, and the number of the next size."""
    sizes = []
    for extent in ty.get_shape():
        if extent == DYNAMIC_INDEX:
            sizes.append(_size(f, number))
            number += 1
        else:
            sizes.append(str(extent))
    if not is_strided(ty):
        return MemRef.contiguous(f, ptr, element_type(ty), tuple(sizes)), number
    strides = []
    for stride in static_strides(ty):
        if stride is None:
            strides.append(_size(f, number))
            number += 1
        else:
            strides.append(str(stride))
    return MemRef(ptr, ptr, element_type(ty), tuple(sizes), tuple(strides)), number


class Arguments:
    """The three arrays through which one function passes arguments to the others: allocated
    once, as large as the largest call, and filled before each."""

    def __init__(self, signatures: Sequence[Sequence[Attribute]], f: Fn) -> None:
        counts = [_counts(types) for types in signatures]
        kinds = ("ptr", "i64", "i64")
        most = [max((c[k] for c in counts), default=0) for k in range(3)]
        self.arrays = [
            f.alloca(kind, n, 8) if n else "null" for kind, n in zip(kinds, most, strict=True)
        ]

    def send(self, e: Emitter, operands: Sequence[SSAValue]) -> None:
        """Write the arguments of one call."""
        f = e.f
        written = [0, 0, 0]

        def write(kind: int, ty: str, value: str) -> None:
            array = self.arrays[kind]
            f.store(ty, value, f.gep("i64", array, str(written[kind])), 8)
            written[kind] += 1

        for operand in operands:
            ty = operand.type
            if isinstance(ty, MemRefType):
                m = e.memrefs[operand]
                write(0, "ptr", m.ptr)
                for extent, value in zip(ty.get_shape(), m.sizes, strict=True):
                    if extent == DYNAMIC_INDEX:
                        write(1, "i64", value)
                if is_strided(ty):
                    for stride, value in zip(static_strides(ty), m.strides, strict=True):
                        if stride is None:
                            write(1, "i64", value)
            elif isinstance(ty, IndexType):
                write(1, "i64", e.values[operand])
            else:
                write(2, e.type(operand), e.values[operand])


def _counts(types: Sequence[Attribute]) -> tuple[int, int, int]:
    """How many pointers, sizes and scalars a signature takes."""
    pointers = sizes = scalars = 0
    for ty in types:
        if isinstance(ty, MemRefType):
            pointers += 1
            sizes += sum(extent == DYNAMIC_INDEX for extent in ty.get_shape())
            if is_strided(ty):
                sizes += sum(stride is None for stride in static_strides(ty))
        elif isinstance(ty, IndexType):
            sizes += 1
        else:
            scalars += 1
    return pointers, sizes, scalars
