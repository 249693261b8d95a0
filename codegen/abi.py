"""The one calling convention of kernels and host functions, seen from both sides.

``i32 f(ptr context, ptr pointers, ptr sizes, ptr scalars)``:

- ``context``: for a kernel, the address of its scratch memory and the number of threads that this
  has room for (see `scratch`); for a host function, a counter (i64) for each call, to which the
  cycles that it takes are added, or null;
- ``pointers``: for each memref, the address of its first element; for a host function, the
  context of its kernels comes behind;
- ``sizes`` (i64): for each argument in order, a memref's dynamic dimensions, then, if its layout
  is strided, its dynamic strides in elements; an index argument's value;
- ``scalars`` (8-byte slots): the other scalar arguments in order.

The result is 0, or a positive failure code.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from xdsl.dialects.builtin import DYNAMIC_INDEX, IndexType, MemRefType
from xdsl.ir import Attribute, BlockArgument, SSAValue

from .emit import Emitter
from .llvm import Fn
from .types import MemRef, element_type, is_strided, llvm_type, static_strides

PARAMS = (("ptr", "context"), ("ptr", "pointers"), ("ptr", "sizes"), ("ptr", "scalars"))


class Source(Protocol):
    """Where a function finds its arguments; each kind is numbered from 0."""

    def pointer(self, number: int) -> str: ...

    def size(self, number: int) -> str: ...

    def scalar(self, number: int, ty: str) -> str: ...


class Arrays:
    """The arguments of a function with parameters `PARAMS`."""

    def __init__(self, f: Fn) -> None:
        self._f = f

    def pointer(self, number: int) -> str:
        return self._f.load("ptr", self._f.gep("ptr", "%pointers", str(number)))

    def size(self, number: int) -> str:
        return self._f.load("i64", self._f.gep("i64", "%sizes", str(number)))

    def scalar(self, number: int, ty: str) -> str:
        return self._f.load(ty, self._f.gep("i64", "%scalars", str(number)))


def receive(e: Emitter, args: Sequence[BlockArgument], source: Source) -> None:
    """Define the arguments at the entry of a function."""
    pointers = sizes = scalars = 0
    for arg in args:
        ty = arg.type
        if isinstance(ty, MemRefType):
            ptr = source.pointer(pointers)
            pointers += 1
            e.memrefs[arg], sizes = _receive_memref(e.f, ty, ptr, source, sizes)
        elif isinstance(ty, IndexType):
            e.values[arg] = source.size(sizes)
            sizes += 1
        else:
            e.values[arg] = source.scalar(scalars, llvm_type(ty))
            scalars += 1


def _receive_memref(
    f: Fn, ty: MemRefType, ptr: str, source: Source, number: int
) -> tuple[MemRef, int]:
    """The descriptor of a memref argument, and the number of the next size."""
    sizes = []
    for extent in ty.get_shape():
        if extent == DYNAMIC_INDEX:
            sizes.append(source.size(number))
            number += 1
        else:
            sizes.append(str(extent))
    if not is_strided(ty):
        return MemRef.contiguous(f, ptr, element_type(ty), tuple(sizes)), number
    strides = []
    for stride in static_strides(ty):
        if stride is None:
            strides.append(source.size(number))
            number += 1
        else:
            strides.append(str(stride))
    return MemRef(ptr, ptr, element_type(ty), tuple(sizes), tuple(strides)), number


class Arguments:
    """The three arrays through which one function passes arguments to the others: allocated
    once, as large as the largest call, and filled before each."""

    def __init__(self, signatures: Sequence[Sequence[Attribute]], f: Fn) -> None:
        counts = [argument_counts(types) for types in signatures]
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


def argument_counts(types: Sequence[Attribute]) -> tuple[int, int, int]:
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
