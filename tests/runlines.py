"""Runs the `// RUN:` lines of a file test inside this process.

The lines are lit's: a pipeline of commands, `%s` for the file, `%S` for its folder, `%t` for a
scratch path, `\\` at the end to continue. `calque` and `filecheck` run in process, which costs
milliseconds instead of an interpreter start each; any other command runs as a process. Shell
features beyond `|` are refused, so that `lit` and this runner cannot disagree.
"""

from __future__ import annotations

import contextlib
import io
import re
import shlex
import subprocess
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

import needs

RUN = re.compile(r"^\s*(?://|#|;)\s*RUN:\s*(.*?)\s*$", re.MULTILINE)
OPERATORS = "|&;<>()"


class StageFailed(AssertionError):
    """A command of a pipeline returned a nonzero status; the message shows what it printed."""


def run_file(path: Path, scratch: Path) -> None:
    """Run every RUN line of `path`; raises `StageFailed` at the first that fails."""
    for line in run_lines(path):
        text = ""
        for command in pipeline(line, path, scratch):
            text = run_stage(command, text)


def run_lines(path: Path) -> list[str]:
    """The RUN lines of a file, continuations joined; raises ValueError if there are none."""
    lines: list[str] = []
    continued = False
    for part in RUN.findall(path.read_text()):
        if continued:
            lines[-1] += part.removesuffix("\\")
        else:
            lines.append(part.removesuffix("\\"))
        continued = part.endswith("\\")
    if not lines:
        raise ValueError(f"{path} has no RUN line")
    return lines


def pipeline(line: str, path: Path, scratch: Path) -> list[list[str]]:
    """The commands of one RUN line, each as its argument list."""
    lexer = shlex.shlex(line, posix=True, punctuation_chars=OPERATORS)
    lexer.whitespace_split = True
    known = {"%s": str(path), "%S": str(path.parent), "%t": str(scratch)}
    commands: list[list[str]] = [[]]
    for token in lexer:
        if token == "|":
            commands.append([])
        elif set(token) <= set(OPERATORS):
            raise ValueError(f"{path}: RUN lines may not use '{token}'")
        else:
            commands[-1].append(re.sub("%[sSt]", lambda found: known[found.group()], token))
    return commands


def run_stage(command: list[str], stdin: str) -> str:
    """Run one command on `stdin` and return what it wrote to its standard output."""
    name, *arguments = command
    if name == "calque":
        return _in_process(command, stdin, lambda: _calque(arguments))
    if name == "filecheck":
        return _in_process(command, stdin, lambda: _filecheck(arguments))
    if name == "mlir-opt-22":
        command = [needs.mlir_opt(), *arguments]
    run = subprocess.run(command, input=stdin, capture_output=True, text=True)
    if run.returncode:
        raise StageFailed(f"{shlex.join(command)} failed:\n{run.stdout}{run.stderr}\n{stdin}")
    return run.stdout


def _calque(arguments: list[str]) -> int:
    from calque.frontend.cli import main

    return main(arguments)


def _filecheck(arguments: list[str]) -> int:
    from filecheck.matcher import Matcher
    from filecheck.options import parse_argv_options

    return Matcher.from_opts(parse_argv_options(["filecheck", *arguments])).run()


def _in_process(command: list[str], stdin: str, run: Callable[[], object]) -> str:
    out, err = io.StringIO(), io.StringIO()
    before = sys.stdin
    sys.stdin = io.TextIOWrapper(io.BytesIO(stdin.encode()))
    try:
        with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
            status = _status(run)
    finally:
        sys.stdin = before
    if status:
        said = f"{out.getvalue()}{err.getvalue()}"
        raise StageFailed(f"{shlex.join(command)} failed:\n{said}\n{stdin}")
    return out.getvalue()


def _status(run: Callable[[], object]) -> object:
    """The exit status that a process would have had."""
    try:
        return run()
    except SystemExit as stop:
        return stop.code
    except Exception:
        traceback.print_exc()
        return 1
