"""Run one expansion over arrays: a loop over vectors of a given width, on this machine."""

from __future__ import annotations

import ctypes
from collections.abc import Callable

import numpy as np

from calque.codegen.cpu import compile_text
from calque.codegen.llvm import Fn, Module, vector
from calque.ir.target import Target

from .machine import Linked

Body = Callable[[Fn, str, list[str]], str]
TYPES = {"f32": "float", "f64": "double", "f16": "half", "bf16": "bfloat", "i32": "i32"}


class Elementwise:
    """`body(f, ty, args)` applied to arrays whose length is a multiple of the width (0: scalar)."""

    def __init__(self, body: Body, arity: int, dtype: str, width: int, target: Target) -> None:
        ty = vector(TYPES[dtype], width)
        params = [("ptr", f"a{i}") for i in range(arity)] + [("ptr", "out"), ("i64", "n")]
        module = Module(target)
        f = module.function("apply", "void", params)
        with f.loop("0", "%n", str(width or 1)) as loop:
            at = [f.gep(TYPES[dtype], f"%a{i}", loop.index) for i in range(arity)]
            value = body(f, ty, [f.load(ty, p) for p in at])
            f.store(ty, value, f.gep(TYPES[dtype], "%out", loop.index))
        f.ret()
        self.text = module.text()
        self._linked = Linked([compile_text(self.text, target)], ["apply"])
        signature = [ctypes.c_void_p] * (arity + 1) + [ctypes.c_int64]
        self._apply = ctypes.CFUNCTYPE(None, *signature)(self._linked.address("apply"))

    def __call__(self, *args: np.ndarray) -> np.ndarray:
        arrays = [np.ascontiguousarray(a) for a in args]
        out = np.empty_like(arrays[0])
        self._apply(*[a.ctypes.data for a in arrays], out.ctypes.data, out.size)
        return out
