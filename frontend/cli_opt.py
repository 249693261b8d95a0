"""`calque opt`: passes on MLIR text, by xDSL's driver with calque's dialects and passes."""

from __future__ import annotations

import argparse
import inspect
import re
import sys
from collections.abc import Sequence
from io import BytesIO
from typing import IO, Any

from xdsl.dialects.builtin import ModuleOp
from xdsl.passes import ModulePass, PassPipeline
from xdsl.printer import Printer
from xdsl.xdsl_opt_main import xDSLOptMain

from ..ir.verify import verify
from ..passes.pipeline import PASSES
from ..universe import CALQUE
from .cli_errors import CommandError, Parser, reading, reported
from .cli_inputs import without_comments


class OptMain(xDSLOptMain):
    """xDSL's driver; calque's passes come first where both have one of a name."""

    def register_all_dialects(self) -> None:
        super().register_all_dialects()
        for name, dialect in CALQUE.all_dialects.items():
            if name not in self.ctx.registered_dialect_names:
                self.ctx.register_dialect(name, dialect)

    def register_all_passes(self) -> None:
        super().register_all_passes()
        for name, kind in PASSES.items():
            self.register_pass(name, lambda kind=kind: kind)

    def register_all_arguments(self, arg_parser: argparse.ArgumentParser) -> None:
        super().register_all_arguments(arg_parser)
        arg_parser.prog = "calque opt"
        arg_parser.error = Parser.error.__get__(arg_parser)
        arg_parser.set_defaults(frontend="mlir")  # whatever the file is called
        arg_parser.add_argument(
            "--list-passes", action="store_true", help="List the passes with what they do"
        )
        arg_parser.add_argument(
            "--print-ir-after-all",
            action="store_true",
            help="Print the IR to stderr after each pass",
        )

    def setup_pipeline(self) -> None:
        """The pipeline of `-p`. Raises CommandError for passes that do not exist."""
        if not self.args.list_passes:
            super().setup_pipeline()
            if self.args.print_ir_after_all:
                passes = self.pipeline.passes
                self.pipeline = PassPipeline(passes, self._after)

    def parse_chunk(self, chunk: IO[bytes], file_extension: str, start_offset: int = 0) -> Any:
        """The module of a piece of the input."""
        name = self.get_input_name()
        text = chunk.read()
        if not without_comments(text.decode(errors="replace")):
            raise CommandError(f"{name}: there is no program in it")
        with reading(name):
            return super().parse_chunk(BytesIO(text), file_extension, start_offset)

    def apply_passes(self, prog: ModuleOp) -> None:
        """Run the passes on what is well formed: xDSL does not check that uses follow values."""
        if not self.args.disable_verify:
            with reading(self.get_input_name()):
                verify(prog)
        super().apply_passes(prog)

    def _after(
        self, previous: ModulePass | None, module: ModuleOp, following: ModulePass | None
    ) -> None:
        if not self.args.disable_verify:
            verify(module)
        if previous is not None:
            print(f"// -----// IR Dump After {previous.name} //----- //", file=sys.stderr)
            Printer(sys.stderr).print_op(module)
            print("\n", file=sys.stderr)


def opt(argv: Sequence[str]) -> int:
    """Parse MLIR from a file or standard input, run the named passes, print the result."""
    arguments = list(argv)
    if "-" in arguments:
        arguments.remove("-")  # standard input is what is read without a file
    main = _prepare(arguments)
    if main.args.list_passes:
        _list_passes(main)
        return 0
    with reported(main.get_input_name()):
        main.run()
    return 0


def _prepare(arguments: list[str]) -> OptMain:
    with reported():
        try:
            return OptMain("Runs calque's and xDSL's passes on MLIR text", args=arguments)
        except ValueError as error:
            unknown = re.match(r"Unrecognized passes: \[(.*)\]$", str(error))
            if unknown is None:
                raise
            names = unknown[1].replace("'", "")
            raise CommandError(
                f"no pass is called {names}; `calque opt --list-passes` lists what there is"
            ) from error


def _list_passes(main: OptMain) -> None:
    """Calque's passes in the order of the pipeline, then xDSL's."""
    width = max(map(len, PASSES)) + 2
    print("passes of calque:")
    for name, kind in PASSES.items():
        print(f"  {name:<{width}}{_summary(kind)}")
    others = sorted(set(main.available_passes) - set(PASSES) - set(CALQUE.all_passes))
    width = max(map(len, others)) + 2
    print("\npasses of xDSL:")
    for name in others:
        try:
            summary = _summary(main.available_passes[name]())
        except ImportError as error:
            summary = f"(needs {error.name})"
        print(f"  {name:<{width}}{summary}")


def _summary(kind: type[ModulePass]) -> str:
    """The first line of a pass's own documentation."""
    text = inspect.cleandoc(kind.__dict__.get("__doc__") or "")
    return "" if text.startswith(f"{kind.__name__}(") else text.split("\n")[0]
