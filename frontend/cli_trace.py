"""`calque trace`: the program of a Python function or module as MLIR, weights beside it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from ..ir.text import to_text
from .cli_errors import Parser, reported
from .cli_inputs import INPUT_HELP, metas_of, traced_program
from .printing import counted
from .serialization import write_arrays


def trace(argv: Sequence[str]) -> int:
    """Trace `pkg.mod:object` and write or print its graph."""
    parser = Parser("calque trace", description=__doc__)
    parser.add_argument("object", help="what to trace: pkg.mod:object")
    parser.add_argument("--input", action="append", default=[], help=INPUT_HELP)
    parser.add_argument("-o", "--output", help="the .mlir file to write; standard output if none")
    parser.add_argument("--locations", action="store_true", help="print the source line of each op")
    args = parser.parse_args(argv)
    program = traced_program(args.object, metas_of(args.input))
    text = to_text(program.module, locations=args.locations)
    if args.output is None:
        print(text, end="")
        return 0
    target = Path(args.output)
    with reported():
        target.write_text(text)
        if program.values:
            weights = target.with_suffix(".safetensors")
            write_arrays(weights, program.values)
            tensors = counted(len(program.values), "tensor")
            print(f"{target}: the program; {weights}: its {tensors}")
        else:
            print(f"{target}: the program")
    return 0
