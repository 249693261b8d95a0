"""The user's line: the innermost Python frame outside of calque."""

from __future__ import annotations

import os
import sys
import sysconfig
from types import CodeType, FrameType

_PACKAGE = os.path.realpath(os.path.join(os.path.dirname(__file__), ".."))
_OWN = tuple(
    os.path.join(_PACKAGE, folder) + os.sep
    for folder in ("ir", "passes", "codegen", "runtime", "frontend")
)
_LIBRARIES = ("<frozen", *(sysconfig.get_path(p) for p in ("stdlib", "purelib", "platlib")))
_COMMAND = os.path.join(_PACKAGE, "frontend", "cli.py")
_ours: dict[str, bool] = {}


def is_ours(filename: str) -> bool:
    """Whether a source file belongs to calque itself."""
    known = _ours.get(filename)
    if known is None:
        known = _ours[filename] = os.path.realpath(filename).startswith(_OWN)
    return known


def is_library(filename: str) -> bool:
    """Whether a source file is calque's, Python's own or installed: not the user's program."""
    return filename.startswith(_LIBRARIES) or is_ours(filename)


def is_command(filename: str) -> bool:
    """Whether a source file is the command line's: what calls it is not the user's program."""
    return is_ours(filename) and os.path.realpath(filename) == _COMMAND


def user_frame(within: CodeType | None = None) -> FrameType | None:
    """The innermost frame that is not calque's, None where there is none (called by `within`)."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and is_ours(frame.f_code.co_filename):
        if frame.f_code is within:
            return None
        frame = frame.f_back
    return frame
