"""The command line: `calque <command>` or `python -m calque <command>`."""

from __future__ import annotations

import sys
from collections.abc import Sequence

USAGE = """\
usage: calque <command> [arguments]

commands:
  opt      run passes on MLIR text: calque opt FILE -p 'pass,pass'

options:
  --version   print the version
  --help      print this text; `calque <command> --help` tells about a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; `argv` defaults to `sys.argv[1:]`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["opt", *rest]:
            return opt(rest)
        case ["--version"]:
            from .. import __version__

            print(f"calque {__version__}")
            return 0
        case [] | ["--help" | "-h"]:
            print(USAGE, end="")
            return 0 if arguments else 2
        case [unknown, *_]:
            print(f"calque: unknown command '{unknown}'\n\n{USAGE}", end="", file=sys.stderr)
            return 2
    return 2


def opt(argv: Sequence[str]) -> int:
    """Parse MLIR, run the named passes and print the result, with xDSL's options."""
    from xdsl.xdsl_opt_main import xDSLOptMain

    from ..ir.dialect import complete_xdsl
    from ..universe import CALQUE, passes

    complete_xdsl()

    class OptMain(xDSLOptMain):
        """xDSL's driver with calque's dialects and passes; of one name, calque's is meant."""

        def register_all_dialects(self) -> None:
            super().register_all_dialects()
            for name, dialect in CALQUE.all_dialects.items():
                if name not in self.ctx.registered_dialect_names:
                    self.ctx.register_dialect(name, dialect)

        def register_all_passes(self) -> None:
            super().register_all_passes()
            for name, factory in {**CALQUE.all_passes, **passes()}.items():
                self.register_pass(name, factory)

    OptMain("Runs calque's and xDSL's passes on MLIR text", args=list(argv)).run()
    return 0
