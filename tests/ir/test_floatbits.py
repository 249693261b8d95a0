"""Floats given by their bits, read as MLIR reads them."""

from __future__ import annotations

import re

import numpy as np
import pytest
from xdsl.dialects.builtin import DenseIntOrFPElementsAttr, FloatAttr
from xdsl.parser import Parser
from xdsl.utils.exceptions import ParseError

from calque.ir.dialect import context

BITS = {
    "f16": (np.float16, np.uint16, ["0x7C00", "0xFC00", "0x7E00", "0x0001", "0x3C00"]),
    "f32": (np.float32, np.uint32, ["0x7F800000", "0xff800000", "0x7fc00000", "0x4CEB79A3"]),
    "f64": (np.float64, np.uint64, ["0x7FF0000000000000", "0xfff0000000000000", "0x3FF8"]),
}


def read(text: str) -> object:
    return Parser(context(), text).parse_attribute()


@pytest.mark.parametrize("type", BITS)
def test_bits_mean_the_float_that_has_them(type: str) -> None:
    kind, unsigned, bits = BITS[type]
    wanted = np.array([int(b, 16) for b in bits], unsigned).view(kind)
    elements = read(f"dense<[{', '.join(bits)}]> : tensor<{len(bits)}x{type}>")
    assert isinstance(elements, DenseIntOrFPElementsAttr)
    np.testing.assert_array_equal(np.array(elements.get_values(), kind), wanted)
    for text, value in zip(bits, wanted, strict=True):
        scalar = read(f"{text} : {type}")
        assert isinstance(scalar, FloatAttr)
        np.testing.assert_array_equal(kind(scalar.value.data), value)


@pytest.mark.parametrize("bits", ["0x7F80", "0xff80", "0x7fc0", "0x3fc0"])
def test_bits_of_bf16(bits: str) -> None:
    """The upper half of a single's."""
    wanted = np.array(int(bits, 16) << 16, np.uint32).view(np.float32)
    elements = read(f"dense<{bits}> : vector<2xbf16>")
    assert isinstance(elements, DenseIntOrFPElementsAttr)
    np.testing.assert_array_equal(np.array(elements.get_values(), np.float32), [wanted, wanted])


def test_hexadecimal_integers_stay_integers() -> None:
    elements = read("dense<[0x10, -0x1, 7]> : tensor<3xi32>")
    assert isinstance(elements, DenseIntOrFPElementsAttr)
    assert list(elements.get_values()) == [16, -1, 7]


@pytest.mark.parametrize("form", ["dense<{}> : tensor<2xf32>", "{} : f32"])
@pytest.mark.parametrize(
    ("bits", "message"),
    [
        ("-0x7F800000", "hexadecimal float literal should not have a leading minus"),
        ("0x17F800000", "hexadecimal float constant out of range for type"),
    ],
)
def test_what_mlir_refuses(form: str, bits: str, message: str) -> None:
    with pytest.raises(ParseError, match=re.escape(message)):
        read(form.format(bits))
