"""Kernels that apply one operation to 16 elements, one by one or as a vector."""

from __future__ import annotations

from collections.abc import Sequence

import ml_dtypes
import numpy as np

from .machine import Kernel

N = 16

DTYPES = {
    "f64": np.dtype("f8"),
    "f32": np.dtype("f4"),
    "f16": np.dtype("f2"),
    "bf16": np.dtype(ml_dtypes.bfloat16),
    "i64": np.dtype("i8"),
    "index": np.dtype("i8"),
    "i32": np.dtype("i4"),
    "i16": np.dtype("i2"),
    "i8": np.dtype("i1"),
    "i1": np.dtype("?"),
}


def kernel(body: str, inputs: Sequence[str], outputs: Sequence[str], vector: bool) -> str:
    """Text of a kernel whose `body` computes %r0, %r1, … of types `outputs` from %x0, %x1, … of
    types `inputs`; `T(f32)` in it stands for f32 or vector<16xf32>. Bools are i8 in memory."""
    wrap = (lambda t: f"vector<{N}x{t}>") if vector else (lambda t: t)
    for ty in DTYPES:
        body = body.replace(f"T({ty})", wrap(ty))
    names = [f"a{i}" for i in range(len(inputs))] + [f"o{i}" for i in range(len(outputs))]
    stored = ["i8" if t == "i1" else t for t in (*inputs, *outputs)]
    params = ", ".join(f"%{n}: memref<{N}x{t}>" for n, t in zip(names, stored, strict=True))
    lines = []
    for i, ty in enumerate(inputs):
        cell = stored[i]
        value = f"%x{i}" if cell == ty else f"%raw{i}"
        source = f"%a{i}[%i] : memref<{N}x{cell}>"
        lines.append(f"{value} = vector.load {source}, {wrap(cell)}" if vector else "")
        lines.append("" if vector else f"{value} = memref.load {source}")
        if cell != ty:
            lines.append(f"%x{i} = arith.trunci %raw{i} : {wrap(cell)} to {wrap(ty)}")
    lines += body.splitlines()
    for i, ty in enumerate(outputs):
        cell = stored[len(inputs) + i]
        value = f"%r{i}"
        if cell != ty:
            value = f"%cell{i}"
            lines.append(f"{value} = arith.extui %r{i} : {wrap(ty)} to {wrap(cell)}")
        tail = f"%o{i}[%i] : memref<{N}x{cell}>"
        lines.append(
            f"vector.store {value}, {tail}, {wrap(cell)}"
            if vector
            else f"memref.store {value}, {tail}"
        )
    step = N if vector else 1
    return (
        f"func.func private @op({params}) {{\n"
        f"  %lo = arith.constant 0 : index\n  %hi = arith.constant {N} : index\n"
        f"  %step = arith.constant {step} : index\n"
        "  scf.for %i = %lo to %hi step %step {\n    "
        + "\n    ".join(line for line in lines if line)
        + "\n  }\n  func.return\n}\n"
    )


def apply(
    body: str,
    inputs: Sequence[tuple[str, np.ndarray]],
    outputs: Sequence[str],
    vector: bool,
) -> list[np.ndarray]:
    """Run such a kernel on arrays of 16 elements; returns its outputs."""
    text = kernel(body, [ty for ty, _ in inputs], outputs, vector)
    results = [np.zeros(N, DTYPES[ty]) for ty in outputs]
    assert Kernel(text)(*(array for _, array in inputs), *results) == 0
    return results


def numbers(ty: str, seed: int = 0, positive: bool = False) -> np.ndarray:
    """16 values of a type: of both signs, with the special ones of floats."""
    rng = np.random.default_rng(seed)
    dtype = DTYPES[ty]
    if ty == "i1":
        return rng.integers(0, 2, N).astype("?")
    if dtype.kind == "i":
        small = 7 if ty == "i8" else 100
        return rng.integers(1 if positive else -small, small, N).astype(dtype)
    values = rng.standard_normal(N) * 10
    if positive:
        return np.abs(values).astype(dtype) + dtype.type(0.5)
    values[:4] = 0.0, np.nan, np.inf, -np.inf
    return rng.permutation(values).astype(dtype)
