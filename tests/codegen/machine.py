"""Run kernel-stage text on this machine: parse, generate, link, call with NumPy arrays."""

from __future__ import annotations

import ctypes
import itertools
from collections.abc import Mapping, Sequence

import llvmlite.binding as binding
import numpy as np
from xdsl.dialects import builtin, func

from calque.codegen.cpu import compile_text
from calque.codegen.kernel import SYMBOL, KernelText, kernel_text
from calque.ir.target import Target
from calque.ir.text import from_text

TASK = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)


@ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64, ctypes.c_int64)
def parallel_for(task: int, captured: int | None, count: int, threads: int) -> None:
    """All tasks one after the other, last one first: their order must not matter."""
    run = TASK(task)
    for i in reversed(range(count)):
        run(captured, i, 0)


_numbers = itertools.count()


def parse(text: str, verify: bool = True) -> builtin.ModuleOp:
    module = from_text(text)
    if verify:
        module.verify()
    return module


def functions(module: builtin.ModuleOp) -> dict[str, func.FuncOp]:
    return {op.sym_name.data: op for op in module.ops if isinstance(op, func.FuncOp)}


class Linked:
    """Objects linked together; `address` of a symbol."""

    def __init__(self, objects: Sequence[bytes], symbols: Sequence[str]) -> None:
        binding.initialize_native_target()
        binding.initialize_native_asmprinter()
        self._jit = binding.create_lljit_compiler()
        builder = binding.JITLibraryBuilder().add_current_process()
        address = ctypes.cast(parallel_for, ctypes.c_void_p).value
        assert address is not None
        builder.import_symbol("calque_parallel_for", address)
        for code in objects:
            builder.add_object_img(code)
        for symbol in symbols:
            builder.export_symbol(symbol)
        self._library = builder.link(self._jit, f"test{next(_numbers)}")

    def address(self, symbol: str) -> int:
        return self._library[symbol]


ENTRY = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


def call(
    address: int,
    pointers: Sequence[np.ndarray],
    sizes: Sequence[int] = (),
    scalars: Sequence[np.generic] = (),
    scratch: int = 0,
) -> int:
    """Call a kernel, with `scratch` bytes for one thread; returns its status."""
    addresses = (ctypes.c_void_p * max(1, len(pointers)))(*(p.ctypes.data for p in pointers))
    numbers = (ctypes.c_int64 * max(1, len(sizes)))(*sizes)
    slots = np.zeros(max(1, len(scalars)), "i8")
    for i, scalar in enumerate(scalars):
        raw = np.frombuffer(scalar.tobytes(), "u1")
        slots.view("u1")[8 * i : 8 * i + raw.size] = raw
    memory = np.empty(scratch + 64, "u1")
    start = -(-memory.ctypes.data // 64) * 64
    context = (ctypes.c_int64 * 2)(start, 1)
    return ENTRY(address)(context, addresses, numbers, slots.ctypes.data)


class Kernel:
    """A compiled kernel, callable with arrays, sizes and scalars in the order of the ABI."""

    def __init__(self, text: str, verify: bool = True) -> None:
        (op,) = functions(parse(text, verify)).values()
        self.target = Target.host()
        self.source: KernelText = kernel_text(op, self.target)
        code = compile_text(self.source.text, self.target)
        self._linked = Linked([code], [SYMBOL])

    def __call__(
        self,
        *pointers: np.ndarray,
        sizes: Sequence[int] = (),
        scalars: Sequence[np.generic] = (),
    ) -> int:
        scratch = self.source.scratch + self.source.thread_scratch
        return call(self._linked.address(SYMBOL), pointers, sizes, scalars, scratch)


def numpy_dtypes() -> Mapping[str, str]:
    return {"f32": "f4", "f64": "f8", "i8": "i1", "i32": "i4", "i64": "i8", "index": "i8"}
