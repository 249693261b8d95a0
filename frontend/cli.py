"""The command line: `calque <command>` or `python -m calque <command>`."""

from __future__ import annotations

import os
import sys
import warnings
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from ..ir.location import is_library
from .cli_errors import CommandError, one_line

USAGE = """\
usage: calque <command> [arguments]

commands:
  trace    write the program of a Python function or module as MLIR
  opt      run passes on MLIR text
  compile  take a program to a stage: graph, linalg, kernel, llvm, asm, obj, ptx
  run      compile a program and run it on files or random data
  demo     train a convolutional network on images of digits

options:
  --version   print the version
  --help      print this text; `calque <command> --help` tells about a command
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command and return its exit status; `argv` defaults to `sys.argv[1:]`."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    match arguments:
        case ["--version"]:
            from .. import __version__

            print(f"calque {__version__}")
            return 0
        case [] | ["--help" | "-h"]:
            print(USAGE, end="")
            return 0 if arguments else 2
        case [name, *rest]:
            return _run(name, rest)
    return 2


def _run(name: str, arguments: Sequence[str]) -> int:
    """Run a command; what a user can mend becomes one line on stderr and status 2."""
    try:
        command = _command(name)  # imports what the command needs, which takes a while
        if command is None:
            print(f"calque: unknown command '{name}'\n\n{USAGE}", end="", file=sys.stderr)
            return 2
        with _warnings_in_one_line():
            return command(arguments)
    except (CommandError, MemoryError) as error:
        print(f"calque {name}: {one_line(error)}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of a pipe has seen enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except KeyboardInterrupt:
        return 130


@contextmanager
def _warnings_in_one_line() -> Iterator[None]:
    """What calque warns of is told without a line of its own source; the user's are shown."""
    shown = warnings.formatwarning

    def form(message: Any, category: Any, filename: str, *rest: Any, **more: Any) -> str:
        if is_library(filename):
            return f"warning: {one_line(message)}\n"
        return shown(message, category, filename, *rest, **more)

    warnings.formatwarning = form
    try:
        yield
    finally:
        warnings.formatwarning = shown


def _command(name: str) -> Callable[[Sequence[str]], int] | None:
    match name:
        case "opt":
            from .cli_opt import opt

            return opt
        case "trace":
            from .cli_trace import trace

            return trace
        case "compile":
            from .cli_compile import compile

            return compile
        case "run":
            from .cli_run import run

            return run
        case "demo":
            from .demo import demo

            return demo
    return None
