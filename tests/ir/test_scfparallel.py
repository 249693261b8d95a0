"""`scf.parallel` in MLIR's syntax."""

from __future__ import annotations

from io import StringIO

import pytest
from xdsl.printer import Printer
from xdsl.utils.exceptions import ParseError

from calque.ir.text import from_text, to_text

TEXT = """
func.func @f(%a: index, %b: index, %m: memref<?xindex>, %x: f32) -> f32 {
  scf.parallel (%i, %j) = (%a, %a) to (%b, %b) step (%a, %b) {
    memref.store %j, %m[%i] : memref<?xindex>
  } {calque.map = "threads"}
  %r = scf.parallel (%i) = (%a) to (%b) step (%a) init (%x) -> f32 {
    scf.reduce(%x : f32) {
    ^bb0(%p: f32, %q: f32):
      %s = arith.addf %p, %q : f32
      scf.reduce.return %s : f32
    }
  }
  func.return %r : f32
}
"""


def test_round_trip() -> None:
    module = from_text(TEXT)
    module.verify()
    text = to_text(module)
    assert "scf.parallel (%i, %j) = (%a, %a) to (%b, %b) step (%a, %b) {" in text
    assert '} {calque.map = "threads"}' in text
    assert "init (%x) -> f32 {" in text
    assert to_text(from_text(text)) == text
    generic = StringIO()
    Printer(generic, print_generic_format=True).print_op(module)
    assert to_text(from_text(generic.getvalue())) == text


def test_counts_must_agree() -> None:
    with pytest.raises(ParseError, match="expected 2 values, got 1"):
        from_text(TEXT.replace("to (%b, %b)", "to (%b)"))
