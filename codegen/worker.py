"""A process that compiles: ``python -m calque.codegen.worker``.

It reads a target, then LLVM texts, from its standard input and writes objects to its standard
output, until the input ends or nothing has come for a while.
"""

from __future__ import annotations

import io
import json
import os
import select
from typing import IO

from ..ir.target import Target
from .cpu import compile_text
from .workers import OK, REFUSED, read, write

IDLE_SECONDS = 60.0


def serve(source: IO[bytes], sink: IO[bytes]) -> None:
    """The worker: a target, then texts, each answered by an object or by LLVM's complaint."""
    first = read(source)
    if first is None:
        return
    target = Target(**json.loads(first[1]))
    while select.select([source], [], [], IDLE_SECONDS)[0]:
        message = read(source)
        if message is None:
            return
        try:
            write(sink, OK, compile_text(message[1].decode(), target))
        except RuntimeError as error:
            write(sink, REFUSED, str(error).encode())


def main() -> None:
    """Keep the pipe to the parent to ourselves: whatever prints goes to the errors."""
    sink = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)
    serve(io.FileIO(0), sink)


if __name__ == "__main__":
    main()
