"""The road from a graph program to code that runs: passes, code generation, loading, cache."""

from __future__ import annotations

import gc
import hashlib
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from xdsl.dialects.builtin import ModuleOp

from .. import codegen
from ..ir.fingerprint import fingerprint
from ..ir.interpreter import lookup
from ..ir.target import Target
from ..ir.types import TensorMeta, from_type
from ..passes.pipeline import Options, compile_pipeline
from ..runtime import cache as disk
from ..runtime.artifact import Artifact
from ..runtime.executable import Call, Executable


@dataclass
class Program:
    """A compiled graph function, ready to be called with pointers."""

    executable: Executable
    inputs: list[TensorMeta]
    outputs: list[TensorMeta]
    symbols: tuple[str, ...]

    def prepare(self, sizes: Sequence[int]) -> Call:
        """The call for values of the size symbols."""
        return self.executable.prepare(sizes)


@cache
def source_hash() -> str:
    """A hash of calque's own compiler sources: code that another version made is not reused."""
    root = Path(os.path.realpath(__file__)).parent.parent
    digest = hashlib.sha256()
    for folder in ("ir", "passes", "codegen", "runtime"):
        for path in sorted((root / folder).rglob("*.py")):
            digest.update(path.read_bytes())
    return digest.hexdigest()


def compile_graph(
    module: ModuleOp, options: Options | None = None, name: str = "", *, keep: bool = False
) -> Program:
    """Compile a module with a graph-stage `@main`, which is consumed unless it is to be kept; the
    disk cache may help. `name` is what dumps call it."""
    options = options or Options()
    main = lookup(module, "main")
    inputs = [from_type(a.type) for a in main.body.block.args]
    outputs = [from_type(t) for t in main.function_type.outputs.data]
    artifact = artifact_of(module, options, name, keep=keep)
    return Program(Executable(artifact), inputs, outputs, tuple(artifact.symbols))


def artifact_of(
    module: ModuleOp, options: Options, name: str = "", *, keep: bool = False
) -> Artifact:
    """The compiled form of a graph module, from the cache or freshly made."""
    target = options.target or Target.host()
    store = disk.default()
    digest = disk.key("program", fingerprint(module), str(target), str(options), source_hash())
    # A dump shows how the program is made, so it is made again.
    if not os.environ.get("CALQUE_DUMP") and (known := store.get(digest)) is not None:
        return Artifact.from_bytes(known)
    kernels = lower(module.clone() if keep else module, options, name)
    artifact = codegen.compile_module(kernels, target, store)
    store.put(digest, artifact.to_bytes())
    return artifact


def lower(module: ModuleOp, options: Options, name: str = "") -> ModuleOp:
    """Run the whole pass pipeline on a module."""
    from .stages import dumped

    with _uncollected():
        for _, stage in dumped(compile_pipeline(module, options), options, name):
            module = stage
    return module


@contextmanager
def _uncollected() -> Iterator[None]:
    """Without garbage collection, which would go through the whole IR again and again."""
    was_on = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_on:
            gc.enable()
