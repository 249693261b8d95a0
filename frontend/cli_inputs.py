"""What commands take: Python objects by name, programs from files, and inputs."""

from __future__ import annotations

import importlib
import inspect
import math
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
from xdsl.dialects.builtin import ModuleOp

from ..ir import dtype as dt
from ..ir.errors import user_line
from ..ir.sym import Dim, symbol
from ..ir.text import from_text
from ..ir.types import TensorMeta
from ..ir.verify import verify
from .cli_errors import CommandError, reading, reported
from .program import trace
from .serialization import read_arrays

_DIGITS = 40  # so many are too many for any size
_SPEC = re.compile(r"(\w+)\[([^\[\]]*)\]$")
INPUT_HELP = "an input such as f32[8x784], i64[?x16] or f32[Bx784] with sizes to be known later"
PROGRAM_HELP = "an .mlir file of any stage (- for standard input), or pkg.mod:object"


@dataclass
class LoadedProgram:
    """A module of any stage with the values that go with it, by the names of its arguments."""

    name: str
    module: ModuleOp
    values: dict[str, np.ndarray] = field(default_factory=dict)


def parse_spec(text: str, unknown: int = 0) -> TensorMeta:
    """The meta of `f32[8x784]`. A name without an x, or `?`, is a symbolic size.

    Raises CommandError."""
    match = _SPEC.match(text.strip())
    if not match:
        raise CommandError(f"input '{text}' is not of the form f32[8x784]")
    name, inside = match.groups()
    dtype = dt.BY_MLIR.get(name) or dt.BY_NAME.get(name)
    if dtype is None:
        raise CommandError(f"input '{text}': no dtype '{name}'; known: {', '.join(dt.BY_MLIR)}")
    shape: list[Dim] = []
    for part in inside.replace(" ", "").split("x") if inside.strip() else ():
        if part.isascii() and part.isdigit():
            shape.append(int(part[:_DIGITS]))
        elif part == "?":
            shape.append(symbol(f"D{unknown + len(shape)}"))
        elif part.isidentifier():
            shape.append(symbol(part))
        else:
            raise CommandError(f"input '{text}': '{part}' is no size; use a number, a name or ?")
    known = math.prod(d for d in shape if isinstance(d, int) and d)
    if known * dtype.itemsize >= 1 << 63:
        raise CommandError(f"input '{text}' has more elements than memory has addresses")
    return TensorMeta(tuple(shape), dtype)


def find_object(reference: str) -> Any:
    """The object that `pkg.mod:name` means; a class or a factory is called without arguments."""
    module_name, _, path = reference.partition(":")
    if not path:
        raise CommandError(f"'{reference}' is neither an .mlir file nor of the form pkg.mod:object")
    folder = str(Path.cwd())
    if folder not in sys.path:
        sys.path.insert(0, folder)
    try:
        found: Any = importlib.import_module(module_name)
    except ModuleNotFoundError as error:
        if error.name and (module_name + ".").startswith(error.name + "."):
            raise CommandError(f"there is no module '{module_name}'") from error
        raise
    for name in path.split("."):
        try:
            found = getattr(found, name)
        except AttributeError:
            raise CommandError(f"'{module_name}' has no '{path}'") from None
    if isinstance(found, type):
        found = found()
    if not callable(found):
        raise CommandError(f"'{reference}' cannot be called: it is {type(found).__name__}")
    return getattr(found, "_function", None) or getattr(found, "_module", None) or found


def traced_program(reference: str, metas: Sequence[TensorMeta]) -> LoadedProgram:
    """The program of a Python object for inputs of the given metas, with its state."""
    target = find_object(reference)
    try:
        inspect.signature(getattr(target, "forward", target)).bind(*metas)
    except TypeError as error:
        raise CommandError(f"{reference}: {error}: {len(metas)} are given by --input") from None
    try:
        program = trace(target, *metas)
    except Exception as error:
        raise CommandError(f"{user_line(error) or reference}: {error}") from error
    return LoadedProgram(reference, program.module, program.captured.values())


def read_program(path: str, weights: str | None = None) -> LoadedProgram:
    """A program from an .mlir file ("-" is standard input) and the weights beside it."""
    with reported(path):
        text = sys.stdin.read() if path == "-" else Path(path).read_text()
        if not without_comments(text):
            raise CommandError(f"{path}: there is no program in it")
        with reading(path):
            module = from_text(text, path)
            verify(module)
    beside = Path(path).with_suffix(".safetensors")
    if weights is None and path != "-" and beside.is_file():
        weights = str(beside)
    return LoadedProgram(path, module, {} if weights is None else read_weights(weights))


def read_weights(path: str) -> dict[str, np.ndarray]:
    """The arrays of a .safetensors file, by their names."""
    with reported(path):
        values, _ = read_arrays(Path(path))
    return values


def without_comments(text: str) -> str:
    """MLIR text without what is said after `//`, enough to see whether there is any."""
    return re.sub(r"//.*", "", text).strip()


def is_file_reference(reference: str) -> bool:
    """Whether a program is named by a file rather than as a Python object."""
    return reference == "-" or reference.endswith(".mlir") or ":" not in reference


def metas_of(specs: Sequence[str]) -> list[TensorMeta]:
    """The metas of several inputs; each `?` is a size of its own."""
    return [parse_spec(spec, 10 * i) for i, spec in enumerate(specs)]
