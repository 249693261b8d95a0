"""Runs the snippets of Markdown files, so that what the documentation shows is true.

- ` ```python ` blocks of one file run in order in one namespace, in a scratch folder.
- ` ```console ` blocks run their `$ ` lines with bash in the same scratch folder, `calque` and
  `python` at hand; a line that ends in `\\` continues. Where lines follow a command, they are what
  it must print, spaces aside; `...` stands for anything.
- `<!-- skip: reason -->` just above a block skips it.
- `<!-- prints -->` just above a block of another language says that the Python block before it
  printed that, compared likewise.
- All other blocks name a language too (`mlir`, `text`, ...), and are not run.
"""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import subprocess
import sys
import textwrap
import types
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tree import ROOT

SHOWN = frozenset({"asm", "c", "json", "llvm", "mlir", "text", "toml"})
SKIP = re.compile(r"<!--\s*skip:\s*(.*?)\s*-->")
PRINTS = re.compile(r"<!--\s*prints\s*-->")
COMPARE = doctest.ELLIPSIS | doctest.NORMALIZE_WHITESPACE


@dataclass(frozen=True)
class Snippet:
    """One fenced block: `line` is that of its first line of content, counted from 1."""

    path: Path
    language: str
    line: int
    text: str
    skip: str = ""
    prints: bool = False


@dataclass
class Session:
    """What the snippets of one file share: a scratch folder and a Python namespace."""

    folder: Path
    module: types.ModuleType = field(default_factory=lambda: types.ModuleType("__main__"))
    printed: str = ""

    def run(self, snippet: Snippet) -> None:
        """Run a snippet; raises what a Python block raises, AssertionError for a console block."""
        if snippet.language == "python":
            self._python(snippet)
        elif snippet.language == "console":
            self._console(snippet)
        elif snippet.prints:
            place = f"{snippet.path.name}:{snippet.line}"
            shown = f"{place}\nshould be\n{snippet.text}\nbut is\n{self.printed}"
            assert agree(snippet.text, self.printed), shown

    def _python(self, snippet: Snippet) -> None:
        # Blank lines in front make tracebacks, and errors that cite lines, point into the file.
        source = "\n" * (snippet.line - 1) + snippet.text
        code = compile(source, str(snippet.path), "exec", dont_inherit=True)
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(io.StringIO()) as out:
            exec(code, self.module.__dict__)
        self.printed = out.getvalue()

    def _console(self, snippet: Snippet) -> None:
        for line, command, expected in commands(snippet):
            run = subprocess.run(
                ["bash", "-euo", "pipefail", "-c", command],
                cwd=self.folder,
                env=environment(self.folder),
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
            )
            place = f"{snippet.path.name}:{line}: $ {command}"
            assert run.returncode == 0, f"{place}\nreturned {run.returncode}:\n{run.stdout}"
            shown = f"{place}\nshould print\n{expected}\nbut printed\n{run.stdout}"
            assert not expected or agree(expected, run.stdout), shown


def agree(expected: str, printed: str) -> bool:
    """Whether a text is what the documentation shows, spaces and `...` aside."""
    return doctest.OutputChecker().check_output(expected, printed, COMPARE)


def snippets(path: Path) -> list[Snippet]:
    """All fenced blocks of a Markdown file; raises ValueError for one without a known language."""
    lines = path.read_text().splitlines()
    return list(_blocks(path, lines))


def _blocks(path: Path, lines: list[str]) -> Iterator[Snippet]:
    start, above = 0, ""
    for number, line in enumerate(lines, start=1):
        if not line.lstrip().startswith("```"):
            if not start and line.strip():
                above = line
            continue
        if not start:
            start = number
            continue
        language = lines[start - 1].strip().removeprefix("```")
        if language not in SHOWN | {"python", "console"}:
            raise ValueError(f"{path}:{start}: a block must name its language, not '{language}'")
        text = textwrap.dedent("\n".join(lines[start : number - 1])) + "\n"
        skip = SKIP.fullmatch(above.strip())
        prints = PRINTS.fullmatch(above.strip()) is not None
        yield Snippet(path, language, start + 1, text, skip[1] if skip else "", prints)
        start, above = 0, ""


def commands(snippet: Snippet) -> Iterator[tuple[int, str, str]]:
    """Line number, command and expected output of each `$ ` line of a console block."""
    found: list[tuple[int, str, str]] = []
    continued = False
    for number, line in enumerate(snippet.text.splitlines(), start=snippet.line):
        if continued:
            start, command, _ = found.pop()
            found.append((start, f"{command}\n{line}", ""))
        elif line.startswith("$ "):
            found.append((number, line[2:], ""))
        elif found:
            start, command, expected = found.pop()
            found.append((start, command, f"{expected}{line}\n"))
        elif line.strip():
            raise ValueError(f"{snippet.path}:{number}: a console block starts with '$ '")
        continued = bool(found) and not found[-1][2] and line.endswith("\\")
    yield from found


def environment(folder: Path) -> dict[str, str]:
    """Environment variables under which `calque` and `python` mean this tree and interpreter."""
    binaries = folder / ".bin"
    if not binaries.exists():
        binaries.mkdir()
        for name, arguments in (("python", ""), ("calque", " -m calque")):
            script = binaries / name
            script.write_text(f'#!/bin/sh\nexec "{sys.executable}"{arguments} "$@"\n')
            script.chmod(0o755)
    path = os.pathsep.join([str(binaries), os.environ.get("PATH", os.defpath)])
    return {**os.environ, "PATH": path, "PYTHONPATH": str(ROOT / ".dev"), "COLUMNS": "100"}
