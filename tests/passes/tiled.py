"""Kernels on tensors, as text, tiled and compiled for this machine."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from xdsl.dialects.builtin import MemRefType, ModuleOp

from calque.codegen.cpu import compile_text
from calque.codegen.kernel import SYMBOL, kernel_text
from calque.ir.target import Target
from calque.ir.text import from_text
from calque.passes.parallelize import parallelize
from calque.passes.tile import tile
from codegen import machine

HEADER = """
#id = affine_map<(i, j) -> (i, j)>
#turned = affine_map<(i, j) -> (j, i)>
#row = affine_map<(i, j) -> (i)>
#column = affine_map<(i, j) -> (j)>
"""


def parse(text: str) -> ModuleOp:
    module = from_text(HEADER + text)
    module.verify()
    return module


class Tiled:
    """A kernel after tiling. Calls take arrays, then values of its index arguments."""

    def __init__(self, text: str) -> None:
        module = parse(text)
        ((_, self.op),) = machine.functions(module).items()
        target = Target.host()
        tile(self.op, target)
        parallelize(self.op, target)
        module.verify()
        self._source = kernel_text(self.op, target)
        self._linked = machine.Linked([compile_text(self._source.text, target)], [SYMBOL])

    def __call__(self, *arrays: np.ndarray, sizes: Sequence[int] = ()) -> int:
        """Call with the sizes of dynamic dimensions read off the arrays."""
        numbers: list[int] = []
        types = [a.type for a in self.op.body.block.args]
        for array, type_ in zip(arrays, types, strict=False):
            assert isinstance(type_, MemRefType)
            shape = type_.get_shape()
            numbers += [n for n, static in zip(array.shape, shape, strict=True) if static < 0]
        address = self._linked.address(SYMBOL)
        scratch = self._source.scratch + self._source.thread_scratch
        return machine.call(address, arrays, [*numbers, *sizes], scratch=scratch)


def kernel(
    inputs: Sequence[tuple[str, str]],
    outputs: Sequence[tuple[str, str]],
    body: str,
    hero: str = "generic",
    sizes: Sequence[str] = (),
) -> str:
    """The text of a kernel: `body` computes %r<name> for each output from %t<name> of inputs."""
    args = [f"%{n}: memref<{t}>" for n, t in (*inputs, *outputs)]
    args += [f"%{s}: index" for s in sizes]
    attributes = f'{{calque.kernel, calque.hero = "{hero}"}}'
    lines = [f"func.func private @k({', '.join(args)}) attributes {attributes} {{"]
    lines += [
        f"  %t{n} = bufferization.to_tensor %{n} restrict : memref<{t}> to tensor<{t}>"
        for n, t in inputs
    ]
    lines.append(body)
    lines += [
        f"  bufferization.materialize_in_destination %r{n} in restrict writable %{n}"
        f" : (tensor<{t}>, memref<{t}>) -> ()"
        for n, t in outputs
    ]
    return "\n".join([*lines, "  func.return", "}"])


def random(*shape: int, dtype: str = "f4") -> np.ndarray:
    return np.random.default_rng(sum(shape)).standard_normal(shape).astype(dtype)
