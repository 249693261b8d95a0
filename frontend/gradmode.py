"""Whether operations are recorded for differentiation, per thread."""

from __future__ import annotations

import functools
import threading
from collections.abc import Callable
from typing import Any, TypeVar

F = TypeVar("F", bound=Callable[..., Any])


class _Mode(threading.local):
    enabled = True


grad_mode = _Mode()


def is_grad_enabled() -> bool:
    """Whether gradients are tracked in this thread."""
    return grad_mode.enabled


class set_grad_enabled:
    """Context manager (or plain call) that switches gradient tracking on or off."""

    def __init__(self, mode: bool) -> None:
        self._previous = grad_mode.enabled
        grad_mode.enabled = bool(mode)

    def __enter__(self) -> None:
        return None

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self._previous


class _GradContext:
    _value: bool

    def __init__(self) -> None:
        self._previous: list[bool] = []

    def __enter__(self) -> None:
        self._previous.append(grad_mode.enabled)
        grad_mode.enabled = self._value

    def __exit__(self, *exc: object) -> None:
        grad_mode.enabled = self._previous.pop()

    def __call__(self, function: F) -> F:
        context = type(self)

        @functools.wraps(function)
        def wrapped(*args: Any, **kwargs: Any) -> Any:
            with context():
                return function(*args, **kwargs)

        return wrapped  # type: ignore[return-value]


class no_grad(_GradContext):
    """Do not track gradients: context manager and decorator."""

    _value = False


class enable_grad(_GradContext):
    """Track gradients, inside of `no_grad` too: context manager and decorator."""

    _value = True


__all__ = ["enable_grad", "is_grad_enabled", "no_grad", "set_grad_enabled"]
