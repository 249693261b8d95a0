"""The tile dialect prints, parses and verifies."""

from __future__ import annotations

from io import StringIO

import pytest
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError, VerifyException

from calque.ir.text import from_text, to_text
from calque.ir.tile import BarrierOp, GatherOp, MatmulOp, PrefetchOp

HEAD = """
func.func private @k(%a: memref<?x?xf32>, %b: memref<?x32xf32>, %c: memref<4x32xf32>,
                     %p: memref<?x4xf32, strided<[1, 4]>>, %z: index, %t: i1) {
  %o = vector.broadcast %z : index to vector<16xindex>
  %m = vector.create_mask %z : vector<16xi1>
"""

TEXT = (
    HEAD
    + """
  tile.matmul %a[%z, %z], %b[%z, %z], %c[%z, %z], k=%z, n=%z, acc=%t
    {mr = 4, nr = 32, masked = false, prefetch = 64} epilogue {
  ^bb0(%row: index, %col: index, %v: vector<16xf32>):
    %w = arith.addf %v, %v : vector<16xf32>
    tile.yield %w : vector<16xf32>
  } : memref<?x?xf32>, memref<?x32xf32>, memref<4x32xf32>
  tile.matmul %a[%z, %z], %b[%z, %z], %c[%z, %z], k=%z, n=%z, acc=%t
    {mr = 4, nr = 32, masked = true, prefetch = 0, calque.note = "kept"}
    : memref<?x?xf32>, memref<?x32xf32>, memref<4x32xf32>
  tile.matmul %a[%z, %z], %b[%z, %z], %p[%z, %z], k=%z, n=%z, acc=%t
    {mr = 4, nr = 32, masked = true, padded, prefetch = 0, ahead, transposed}
    : memref<?x?xf32>, memref<?x32xf32>, memref<?x4xf32, strided<[1, 4]>>
  tile.prefetch %a[%z, %z] : memref<?x?xf32>
  tile.barrier
  %g = tile.gather %a[%z, %z], %o, %m
    : memref<?x?xf32>, vector<16xindex>, vector<16xi1> into vector<16xf32>
  func.return
}"""
)


def test_round_trip() -> None:
    module = from_text(TEXT)
    module.verify()
    text = to_text(module)
    assert to_text(from_text(text)) == text
    assert 'calque.note = "kept"' in text
    generic = StringIO()
    Printer(generic, print_generic_format=True).print_op(module)
    assert to_text(from_text(generic.getvalue())) == text


def test_builders_give_what_the_parser_gives() -> None:
    module = from_text(TEXT)
    ops = list(module.walk())
    parsed = [op for op in ops if isinstance(op, MatmulOp)][1]
    built = MatmulOp.get(
        (parsed.a, parsed.ai, parsed.ak),
        (parsed.b, parsed.bk, parsed.bn),
        (parsed.c, parsed.ci, parsed.cn),
        parsed.k,
        parsed.n,
        parsed.acc,
        mr=4,
        nr=32,
        masked=True,
    )
    built.attributes.update(parsed.attributes)
    assert built.is_structurally_equivalent(parsed)
    assert parsed.epilogue_block is None
    parsed = [op for op in ops if isinstance(op, MatmulOp)][2]
    o = parsed.operands
    built = MatmulOp.get(
        (o[0], o[1], o[2]), (o[3], o[4], o[5]), (o[6], o[7], o[8]), parsed.k, parsed.n, parsed.acc,
        mr=4, nr=32, masked=True, padded=True, ahead=True, transposed=True,
    )  # fmt: skip
    assert built.is_structurally_equivalent(parsed)
    (gather,) = (op for op in ops if isinstance(op, GatherOp))
    again = GatherOp.get(gather.base, gather.indices, gather.offsets, gather.mask)
    assert again.is_structurally_equivalent(gather)
    (prefetch,) = (op for op in ops if isinstance(op, PrefetchOp))
    assert PrefetchOp.get(prefetch.base, prefetch.indices).is_structurally_equivalent(prefetch)
    BarrierOp().verify()


PACKED = "memref<?x4xf32, strided<[1, 4]>>"
GATHER = (
    "%g = tile.gather %a[%z, %z], %o, %m : memref<?x?xf32>, vector<16xindex>, vector<16xi1> into "
)
MATMUL = (
    "tile.matmul %a[%z, %z], %b[%z, %z], %c[%z, %z], k=%z, n=%z, acc=%t "
    "{{mr = {mr}, nr = 32, masked = false, prefetch = 0}} {epilogue} "
    ": memref<?x?xf32>, memref<?x32xf32>, memref<4x32xf32>"
)


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (MATMUL.format(mr=0, epilogue=""), "must be positive"),
        (
            MATMUL.format(mr=1, epilogue="epilogue { ^bb0(%r: index):\n tile.yield }"),
            "the epilogue takes",
        ),
        (
            MATMUL.format(
                mr=1,
                epilogue="epilogue {\n^bb0(%r: index, %q: index, %v: vector<8xf32>):\n"
                "tile.yield %r : index }",
            ),
            "must yield one vector<8xf32>",
        ),
        (
            MATMUL.format(mr=4, epilogue="")
            .replace("%b", "%p")
            .replace("memref<?x32xf32>", PACKED),
            "unit inner stride",
        ),
        (
            MATMUL.format(mr=4, epilogue="").replace("prefetch = 0", "prefetch = 0, transposed"),
            "unit outer stride",
        ),
        ("tile.prefetch %a[%z] : memref<?x?xf32>", "expected 2 indices"),
        (GATHER + "vector<8xf32>", "same length"),
        (GATHER + "vector<16xf64>", "element type"),
    ],
)
def test_verifiers(line: str, message: str) -> None:
    with pytest.raises(VerifyException, match=message):
        from_text(f"{HEAD}{line}\nfunc.return\n}}").verify()


def test_indices_are_counted_by_the_parser() -> None:
    with pytest.raises(ParseError, match="expected two indices"):
        from_text(HEAD + "tile.matmul %a[%z], %b[%z, %z]\nfunc.return\n}")
