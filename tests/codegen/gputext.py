"""Text of kernels for a GPU."""

from __future__ import annotations

from calque.codegen.nvptx import DeviceText, device_text
from calque.ir.target import Target

from .machine import functions, parse

CONSTANTS = """
  %c0 = arith.constant 0 : index
  %c1 = arith.constant 1 : index
  %c4 = arith.constant 4 : index
  %c8 = arith.constant 8 : index
  %c16 = arith.constant 16 : index
  %c32 = arith.constant 32 : index
  %c256 = arith.constant 256 : index
  %zero = arith.constant 0.0 : f32
"""


def kernel(params: str, body: str) -> str:
    return f"func.func private @k({params}) {{\n{CONSTANTS}\n{body}\nfunc.return\n}}"


def loop(kind: str, bounds: str, body: str) -> str:
    """``bounds`` as in "%i to %n step %s"."""
    index, _, hi, _, step = bounds.split()
    head = f"scf.parallel ({index}) = (%c0) to ({hi}) step ({step})"
    return f'{head} {{\n{body}\nscf.reduce\n}} {{calque.map = "{kind}"}}'


def grid(blocks: str, threads: str, body: str, shared: str = "") -> str:
    inner = loop("thread", f"%t to {threads} step %c1", body)
    return loop("block", f"%b to {blocks}", f"{shared}\n{inner}")


def two_dimensional(kind: str, names: str, bounds: str, steps: str, body: str) -> str:
    head = f"scf.parallel ({names}) = (%c0, %c0) to ({bounds}) step ({steps})"
    return f'{head} {{\n{body}\nscf.reduce\n}} {{calque.map = "{kind}"}}'


def device_of(text: str) -> DeviceText:
    (op,) = functions(parse(text)).values()
    return device_text(op, Target.nvptx("sm_80"))
