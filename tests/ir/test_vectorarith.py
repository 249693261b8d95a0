"""`arith` on vectors prints, parses and verifies."""

from __future__ import annotations

import pytest
from xdsl.utils.exceptions import VerifyException

from calque.ir.text import from_text, to_text

TEXT = """
func.func @f(%x: vector<4xf32>, %n: vector<4xi32>, %c: i1) -> vector<4xf32> {
  %m = arith.cmpf olt, %x, %x : vector<4xf32>
  %k = arith.cmpi slt, %n, %n : vector<4xi32>
  %both = arith.andi %m, %k : vector<4xi1>
  %f = arith.sitofp %n : vector<4xi32> to vector<4xf32>
  %i = arith.fptosi %x : vector<4xf32> to vector<4xi64>
  %j = arith.index_cast %i : vector<4xi64> to vector<4xindex>
  %b = arith.extui %both : vector<4xi1> to vector<4xi8>
  %t = arith.trunci %b : vector<4xi8> to vector<4xi1>
  %lanes = arith.select %t, %x, %f : vector<4xi1>, vector<4xf32>
  %whole = arith.select %c, %x, %lanes : vector<4xf32>
  func.return %whole : vector<4xf32>
}
"""


def test_round_trip() -> None:
    module = from_text(TEXT)
    module.verify()
    text = to_text(module)
    assert "arith.select %t, %x, %f : vector<4xi1>, vector<4xf32>" in text
    assert to_text(from_text(text)) == text


@pytest.mark.parametrize(
    "line",
    [
        "%r = arith.extsi %n : vector<4xi32> to vector<4xi16>",
        "%r = arith.trunci %n : vector<4xi32> to vector<4xi64>",
        "%r = arith.index_cast %n : vector<4xi32> to vector<4xi64>",
        "%r = arith.select %n, %x, %x : vector<4xi32>, vector<4xf32>",
        '%r = "arith.cmpi"(%n, %n) <{predicate = 0 : i64}> : (vector<4xi32>, vector<4xi32>) -> i1',
    ],
)
def test_mismatches(line: str) -> None:
    text = f"func.func @f(%x: vector<4xf32>, %n: vector<4xi32>) {{\n {line}\n func.return\n}}"
    with pytest.raises(VerifyException):
        from_text(text).verify()
