"""Which trace the operations of a thread are recorded in, if any."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .trace import Trace


class _State(threading.local):
    stack: tuple[Trace | None, ...] = ()  # the empty one, of which Python has one, outside


tracing = _State()


def current_trace() -> Trace | None:
    """The innermost trace of this thread, None where operations run at once."""
    stack = tracing.stack
    return stack[-1] if stack else None


def enter(trace: Trace | None) -> None:
    """Make a trace the current one of this thread, until `leave`."""
    tracing.stack = (*tracing.stack, trace)


def leave() -> None:
    """Go back to what was current before."""
    tracing.stack = tracing.stack[:-1]


class untraced:
    """Run operations at once although a trace is active (to create optimizer state, say)."""

    def __enter__(self) -> None:
        enter(None)

    def __exit__(self, *exc: object) -> None:
        leave()


__all__ = ["current_trace", "enter", "leave", "tracing", "untraced"]
