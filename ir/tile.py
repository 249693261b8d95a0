"""The `tile` dialect: what the kernel stage needs beyond the upstream dialects.

It is small on purpose: loops, vectors and memory are upstream ops; only what has no upstream
spelling lives here, neutral to the target. The one large op is the register tile of a matrix
product, which is expanded while LLVM IR is written, because hundreds of ops for one
micro-kernel would cost more time than everything else in the compiler.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

from xdsl.dialects.builtin import (
    I64,
    BoolAttr,
    Float32Type,
    Float64Type,
    IndexType,
    IntegerAttr,
    MemRefType,
    NoneAttr,
    StridedLayoutAttr,
    UnitAttr,
    VectorType,
    i1,
    i32,
    i64,
)
from xdsl.ir import Attribute, Block, Dialect, Operation, Region, SSAValue
from xdsl.irdl import (
    IRDLOperation,
    VarConstraint,
    base,
    eq,
    irdl_op_definition,
    operand_def,
    opt_prop_def,
    prop_def,
    region_def,
    result_def,
    traits_def,
    var_operand_def,
)
from xdsl.parser import Parser
from xdsl.printer import Printer
from xdsl.traits import (
    HasParent,
    IsTerminator,
    MemoryReadEffect,
    MemoryWriteEffect,
    Pure,
)
from xdsl.utils.exceptions import VerifyException

_INDEX = IndexType()

WARP = 32
"""Threads that run together on a GPU."""

SHARED = IntegerAttr(3, i64)
"""The memory space that the threads of a GPU block share: ``memref<256xf32, 3>``."""


@irdl_op_definition
class MatmulOp(IRDLOperation):
    """The register tile of a matrix product.

    For i < mr and j < nr: ``C[ci+i, cn+j] = (acc ? C[ci+i, cn+j] : 0) + sum over p < k of
    A[ai+i, ak+p] * B[bk+p, bn+j]``, with p ascending and one fma per element, the old C being
    added after the sum. A is any strided 2-d memref (a packed panel has strides [1, mr]); B and
    C have unit inner stride. With `masked` only the first `n` columns exist: the other columns
    of C are not written, and those of B, unless it is `padded`, are not read. `prefetch` is the
    distance, in steps of k, at which B is prefetched (0: not at all); with `ahead` each step also
    asks for a cache line of what lies behind the rows of A, in order. With `transposed` it is C's
    outer stride that is 1: vectors of the result, transposed in registers, hold elements of
    consecutive rows.

    The epilogue, if any, is applied to each vector of the result before it is stored. It takes
    the row and the column in C of the vector's first lane, and the vector. Of a transposed one
    the lanes beyond row ``ci + mr - 1`` mean nothing.
    """

    name = "tile.matmul"

    a = operand_def(MemRefType)
    ai = operand_def(_INDEX)
    ak = operand_def(_INDEX)
    b = operand_def(MemRefType)
    bk = operand_def(_INDEX)
    bn = operand_def(_INDEX)
    c = operand_def(MemRefType)
    ci = operand_def(_INDEX)
    cn = operand_def(_INDEX)
    k = operand_def(_INDEX)
    n = operand_def(_INDEX)
    acc = operand_def(i1)
    mr = prop_def(IntegerAttr)
    nr = prop_def(IntegerAttr)
    masked = prop_def(BoolAttr)
    padded = opt_prop_def(UnitAttr)
    prefetch = prop_def(IntegerAttr)
    ahead = opt_prop_def(UnitAttr)
    transposed = opt_prop_def(UnitAttr)
    epilogue = region_def()

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    @staticmethod
    def get(
        a: tuple[SSAValue, SSAValue, SSAValue],
        b: tuple[SSAValue, SSAValue, SSAValue],
        c: tuple[SSAValue, SSAValue, SSAValue],
        k: SSAValue,
        n: SSAValue,
        acc: SSAValue,
        *,
        mr: int,
        nr: int,
        masked: bool = False,
        prefetch: int = 0,
        padded: bool = False,
        ahead: bool = False,
        transposed: bool = False,
        epilogue: Region | None = None,
    ) -> MatmulOp:
        """Build the op; each matrix is (memref, row index, column index)."""
        properties: dict[str, Attribute] = {
            "mr": IntegerAttr(mr, i64),
            "nr": IntegerAttr(nr, i64),
            "masked": BoolAttr.from_bool(masked),
            "prefetch": IntegerAttr(prefetch, i64),
        }
        flags = {"padded": padded, "ahead": ahead, "transposed": transposed}
        properties |= {name: UnitAttr() for name, given in flags.items() if given}
        return MatmulOp.create(
            operands=[*a, *b, *c, k, n, acc],
            properties=properties,
            regions=[Region() if epilogue is None else epilogue],
        )

    @property
    def epilogue_block(self) -> Block | None:
        """The block of the epilogue, None when there is none."""
        return self.epilogue.first_block

    def verify_(self) -> None:
        types = [m.type for m in (self.a, self.b, self.c)]
        for name, memref in zip("ABC", types, strict=True):
            assert isinstance(memref, MemRefType)
            if memref.get_num_dims() != 2:
                raise VerifyException(f"{name} must have 2 dimensions, but is {memref}")
            if name == "C" and self.transposed is not None:
                if not _has_unit_outer_stride(memref):
                    raise VerifyException(f"C must have unit outer stride, but is {memref}")
            elif name != "A" and not has_unit_inner_stride(memref):
                raise VerifyException(f"{name} must have unit inner stride, but is {memref}")
        if self.mr.value.data < 1 or self.nr.value.data < 1 or self.prefetch.value.data < 0:
            raise VerifyException("mr and nr must be positive, prefetch must not be negative")
        block = self.epilogue_block
        if block is None:
            return
        element = types[2].element_type  # pyright: ignore[reportAttributeAccessIssue]
        args = [arg.type for arg in block.args]
        if len(args) != 3 or args[:2] != [_INDEX, _INDEX] or not _is_vector_of(args[2], element):
            raise VerifyException("the epilogue takes (index, index, vector of C's element type)")
        last = block.last_op
        if not isinstance(last, YieldOp) or [v.type for v in last.arguments] != args[2:]:
            raise VerifyException(f"the epilogue must yield one {args[2]}")

    def print(self, printer: Printer) -> None:
        printer.print_string(" ")
        for matrix in (self.operands[0:3], self.operands[3:6], self.operands[6:9]):
            printer.print_ssa_value(matrix[0])
            printer.print_string("[")
            printer.print_list(matrix[1:], printer.print_ssa_value)
            printer.print_string("], ")
        for text, value in (("k=", self.k), (", n=", self.n), (", acc=", self.acc)):
            printer.print_string(text)
            printer.print_ssa_value(value)
        printer.print_op_attributes(self.properties | self.attributes)
        if self.epilogue_block is not None:
            printer.print_string(" epilogue ")
            printer.print_region(self.epilogue)
        printer.print_string(" : ")
        printer.print_list([m.type for m in (self.a, self.b, self.c)], printer.print_attribute)

    @classmethod
    def parse(cls, parser: Parser) -> MatmulOp:
        matrices = []
        for _ in range(3):
            memref = parser.parse_unresolved_operand()
            indices = parser.parse_comma_separated_list(
                Parser.Delimiter.SQUARE, lambda: parser.parse_operand(_INDEX)
            )
            if len(indices) != 2:
                parser.raise_error("expected two indices")
            parser.parse_punctuation(",")
            matrices.append((memref, indices))
        scalars = []
        for keyword, ty in (("k", _INDEX), ("n", _INDEX), ("acc", i1)):
            if scalars:
                parser.parse_punctuation(",")
            parser.parse_keyword(keyword)
            parser.parse_punctuation("=")
            scalars.append(parser.parse_operand(ty))
        attributes = parser.parse_optional_attr_dict()
        names = ("mr", "nr", "masked", "prefetch", "padded", "ahead", "transposed")
        properties = {name: attributes.pop(name) for name in names if name in attributes}
        epilogue = Region()
        if parser.parse_optional_keyword("epilogue"):
            epilogue = parser.parse_region()
        parser.parse_punctuation(":")
        types = parser.parse_comma_separated_list(Parser.Delimiter.NONE, parser.parse_type)
        if len(types) != 3:
            parser.raise_error("expected the types of A, B and C")
        operands = []
        for (memref, indices), memref_type in zip(matrices, types, strict=True):
            operands += [parser.resolve_operand(memref, memref_type), *indices]
        return cls.create(
            operands=operands + scalars,
            properties=properties,
            attributes=attributes,
            regions=[epilogue],
        )


@irdl_op_definition
class GatherOp(IRDLOperation):
    """Read elements at `offsets` (in elements) from ``base[indices]``; lanes whose mask is off
    are 0 and touch no memory."""

    name = "tile.gather"

    base = operand_def(MemRefType)
    indices = var_operand_def(IndexType)
    offsets = operand_def(VectorType.constr(IndexType()))
    mask = operand_def(VectorType.constr(i1))
    result = result_def(VectorType)

    traits = traits_def(MemoryReadEffect())

    assembly_format = (
        "$base `[` $indices `]` `,` $offsets `,` $mask attr-dict `:` type($base) `,` "
        "type($offsets) `,` type($mask) `into` type($result)"
    )

    @staticmethod
    def get(
        base: SSAValue, indices: Sequence[SSAValue], offsets: SSAValue, mask: SSAValue
    ) -> GatherOp:
        """Build the op; its result has the lanes of `offsets` and the element type of `base`."""
        base_type, offsets_type = base.type, offsets.type
        assert isinstance(base_type, MemRefType) and isinstance(offsets_type, VectorType)
        result = VectorType(base_type.element_type, offsets_type.get_shape())
        return GatherOp.create(operands=[base, *indices, offsets, mask], result_types=[result])

    def verify_(self) -> None:
        base, result = self.base.type, self.result.type
        offsets, mask = self.offsets.type, self.mask.type
        assert isinstance(base, MemRefType) and isinstance(result, VectorType)
        assert isinstance(offsets, VectorType) and isinstance(mask, VectorType)
        _verify_indices(base, self.indices)
        if base.element_type != result.element_type:
            raise VerifyException("the result must have the element type of the memref")
        if not offsets.shape == mask.shape == result.shape or result.get_num_dims() != 1:
            raise VerifyException("offsets, mask and result must be vectors of the same length")


@irdl_op_definition
class PrefetchOp(IRDLOperation):
    """Ask for the cache line of ``base[indices]``; any address is allowed."""

    name = "tile.prefetch"

    base = operand_def(MemRefType)
    indices = var_operand_def(IndexType)

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    assembly_format = "$base `[` $indices `]` attr-dict `:` type($base)"

    @staticmethod
    def get(base: SSAValue, indices: Sequence[SSAValue]) -> PrefetchOp:
        return PrefetchOp.create(operands=[base, *indices])

    def verify_(self) -> None:
        assert isinstance(self.base.type, MemRefType)
        _verify_indices(self.base.type, self.indices)


@irdl_op_definition
class BarrierOp(IRDLOperation):
    """All threads of a block wait for each other, and see each other's writes (GPU only)."""

    name = "tile.barrier"

    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    assembly_format = "attr-dict"

    def __init__(self) -> None:
        super().__init__()


@irdl_op_definition
class ShuffleOp(IRDLOperation):
    """The value of another thread: of the one whose number differs by exclusive or with `mask`,
    which is less than the 32 threads of a warp, all of which must take part (GPU only)."""

    name = "tile.shuffle"

    TYPE: ClassVar = VarConstraint("T", base(Float32Type) | base(Float64Type) | eq(i32) | eq(i64))

    value = operand_def(TYPE)
    mask = prop_def(IntegerAttr[I64])
    result = result_def(TYPE)

    # Moving it into a branch would leave threads behind, so it is not pure.
    traits = traits_def(MemoryReadEffect(), MemoryWriteEffect())

    assembly_format = "$value `xor` $mask attr-dict `:` type($result)"

    @staticmethod
    def get(value: SSAValue, mask: int) -> ShuffleOp:
        return ShuffleOp.create(
            operands=[value],
            properties={"mask": IntegerAttr(mask, i64)},
            result_types=[value.type],
        )

    def verify_(self) -> None:
        if not 0 < self.mask.value.data < WARP:
            raise VerifyException(f"the mask must be from 1 to {WARP - 1}")


@irdl_op_definition
class YieldOp(IRDLOperation):
    """Ends an epilogue with the value to store."""

    name = "tile.yield"

    arguments = var_operand_def()

    traits = traits_def(IsTerminator(), HasParent(MatmulOp), Pure())

    assembly_format = "attr-dict ($arguments^ `:` type($arguments))?"

    def __init__(self, *arguments: SSAValue | Operation) -> None:
        super().__init__(operands=[list(arguments)])


def has_unit_inner_stride(memref: MemRefType) -> bool:
    """Whether the last dimension of a memref type is known to be contiguous."""
    layout = memref.layout
    if isinstance(layout, NoneAttr):
        return True
    if not isinstance(layout, StridedLayoutAttr):
        return False
    inner = layout.get_strides()[-1:]
    return tuple(inner) in ((), (1,))


def _has_unit_outer_stride(memref: MemRefType) -> bool:
    layout = memref.layout
    return isinstance(layout, StridedLayoutAttr) and layout.get_strides()[0] == 1


def _is_vector_of(vector: Attribute, element: Attribute) -> bool:
    return isinstance(vector, VectorType) and vector.element_type == element


def _verify_indices(memref: MemRefType, indices: Sequence[SSAValue]) -> None:
    if memref.get_num_dims() != len(indices):
        raise VerifyException(f"expected {memref.get_num_dims()} indices, got {len(indices)}")


Tile = Dialect("tile", [MatmulOp, GatherOp, PrefetchOp, BarrierOp, ShuffleOp, YieldOp])
