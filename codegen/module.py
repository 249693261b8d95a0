"""A kernel-stage module to an artifact that the runtime can load."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

import llvmlite.binding as llvm
from xdsl.dialects import func
from xdsl.dialects.builtin import ModuleOp

from ..ir.target import Target
from ..runtime.artifact import Artifact, KernelObject
from . import cpu
from .errors import CodegenError
from .host import HOST, PLAN
from .kernel import SYMBOL
from .llvm import joined
from .program import llvm_text, program
from .signature import signature
from .workers import compile_texts


class ObjectCache(Protocol):
    """Where objects are kept between runs; the key says all that they depend on."""

    def get(self, key: str, /) -> bytes | None: ...

    def put(self, key: str, data: bytes, /) -> None: ...


def compile_module(module: ModuleOp, target: Target, cache: ObjectCache | None = None) -> Artifact:
    """Machine code for a kernel-stage module with a host function and a plan function.

    Kernels of equal structure are compiled once, all others side by side where that pays.
    Raises CodegenError for IR that is not at the kernel stage.
    """
    texts = program(module, target)
    functions = {op.sym_name.data: op for op in module.ops if isinstance(op, func.FuncOp)}
    host = texts.host
    if host is None or PLAN not in functions:
        raise CodegenError(f"the module needs the functions @{HOST} and @{PLAN}")
    distinct = list(dict.fromkeys([*(k.text for k in texts.kernels.values()), host.text]))
    objects = dict(zip(distinct, compile_cached(distinct, target, cache), strict=True))
    params, symbols, scalars = signature(functions[HOST])
    return Artifact(
        kernels=tuple(
            KernelObject(
                name, objects[k.text], k.messages, SYMBOL, k.source, k.scratch, k.thread_scratch
            )
            for name, k in texts.kernels.items()
        ),
        host=objects[host.text],
        call_names=host.calls,
        host_messages=host.messages,
        params=params,
        symbols=symbols,
        scalars=scalars,
        entry=HOST,
        plan_entry=PLAN,
        kind=target.kind,
        triple=target.triple,
        features=target.features,
    )


def assembly(module: ModuleOp, target: Target) -> str:
    """Assembly of a whole module, for reading: kernels have the names that the IR gives them."""
    return cpu.assembly(joined(llvm_text(module, target)), target)


def compile_cached(texts: Sequence[str], target: Target, cache: ObjectCache | None) -> list[bytes]:
    """The object of each text, from the cache where it has it."""
    if cache is None:
        return compile_texts(texts, target)
    keys = [object_key(text, target) for text in texts]
    found = {key: data for key in keys if (data := cache.get(key)) is not None}
    missing = [(key, text) for key, text in zip(keys, texts, strict=True) if key not in found]
    compiled = compile_texts([text for _, text in missing], target)
    for (key, _), data in zip(missing, compiled, strict=True):
        cache.put(key, data)
        found[key] = data
    return [found[key] for key in keys]


def object_key(text: str, target: Target) -> str:
    """Cache key of an object, from all that it depends on: the text, LLVM, the passes and the
    processor."""
    head = "\0".join((*_versions(), target.triple, target.cpu, target.features, text))
    return f"object-{hashlib.sha256(head.encode()).hexdigest()}"


@lru_cache(maxsize=1)
def _versions() -> tuple[str, str]:
    return ".".join(map(str, llvm.llvm_version_info)), cpu.VERSION
