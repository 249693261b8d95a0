"""Digests of modules: equal for equal texts, different where anything that is printed differs."""

from __future__ import annotations

import pytest

from calque.ir.fingerprint import fingerprint
from calque.ir.text import from_text, to_text

TEXT = """
func.func @main(%x: tensor<4xf32> {calque.name = "x"}, %y: tensor<4xf32>) -> tensor<4xf32> {
  %z = calque.sub %x, %y : tensor<4xf32>
  %w = calque.exp %z : tensor<4xf32>
  func.return %w : tensor<4xf32>
}
"""


def test_same_text_same_digest() -> None:
    module = from_text(TEXT)
    assert fingerprint(module) == fingerprint(module.clone()) == fingerprint(from_text(TEXT))
    assert fingerprint(from_text(to_text(module))) == fingerprint(module)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("%x, %y :", "%y, %x :"),
        ("calque.exp %z", "calque.exp %x"),
        ("calque.exp", "calque.log"),
        ("4x", "5x"),
        ("f32", "f64"),
        ('"x"', '"input"'),
        ("%w", "%result"),
        ("@main", "@other"),
    ],
)
def test_what_is_printed_counts(old: str, new: str) -> None:
    assert old in TEXT
    assert fingerprint(from_text(TEXT)) != fingerprint(from_text(TEXT.replace(old, new)))
