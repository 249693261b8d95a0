"""`calque compile`: take a program to a stage and write it."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path

from ..ir.target import PTX_VERSIONS, Target
from ..passes.pipeline import Options
from .cli_errors import CommandError, Parser, reported
from .cli_inputs import (
    INPUT_HELP,
    LoadedProgram,
    is_file_reference,
    metas_of,
    read_program,
    read_weights,
    traced_program,
)
from .printing import counted

EMIT = ("graph", "linalg", "kernel", "llvm", "asm", "obj", "ptx")


def compile(argv: Sequence[str]) -> int:
    """Compile an .mlir file or `pkg.mod:object` up to a stage."""
    parser = Parser("calque compile", description=__doc__)
    parser.add_argument(
        "program", help="an .mlir file of any stage (- for stdin), or pkg.mod:object"
    )
    parser.add_argument("--input", action="append", default=[], help=INPUT_HELP)
    parser.add_argument("--emit", choices=EMIT, default="kernel", help="the stage to write")
    parser.add_argument("--arch", choices=tuple(PTX_VERSIONS), help="the GPU for --emit ptx")
    parser.add_argument(
        "-o", "--output", help="the file to write, for obj a folder; standard output if none"
    )
    args = parser.parse_args(argv)
    if args.arch and args.emit != "ptx":
        raise CommandError("--arch is for --emit ptx")
    program = load(args.program, args.input)
    target = Target.nvptx(args.arch) if args.arch else None
    with reported(args.program):
        if args.emit == "obj":
            return _write_objects(program, args.output)
        from .stages import stage_text

        text = stage_text(program.module, args.emit, Options(target=target), dump=True)
        if args.output is None:
            sys.stdout.write(text)
        else:
            Path(args.output).write_text(text)
    return 0


def load(reference: str, inputs: Sequence[str], weights: str | None = None) -> LoadedProgram:
    """The program that a command line names. Raises CommandError where inputs do not fit."""
    if is_file_reference(reference):
        return read_program(reference, weights)
    program = traced_program(reference, metas_of(inputs))
    if weights is not None:
        program.values = read_weights(weights)
    return program


def _write_objects(program: LoadedProgram, output: str | None) -> int:
    """One object file per kernel, and the host function in main.o."""
    from .. import codegen
    from .stages import stage_module

    if output is None:
        raise CommandError("--emit obj needs -o with the folder to write")
    kernels = stage_module(program.module, "kernel", dump=True)
    artifact = codegen.compile_module(kernels, Target.host())
    folder = Path(output)
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "main.o").write_bytes(artifact.host)
    for kernel in artifact.kernels:
        (folder / f"{kernel.name}.o").write_bytes(kernel.code)
    print(f"{folder}: main.o and {counted(len(artifact.kernels), 'kernel')}", file=sys.stderr)
    return 0
