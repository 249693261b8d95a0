"""How many threads compiled code runs on."""

from __future__ import annotations


def get_num_threads() -> int:
    """The number of threads that kernels are spread over."""
    from ..runtime import threads

    return threads.get_num_threads()


def set_num_threads(n: int) -> None:
    """Spread kernels over n threads from now on; results do not depend on it."""
    from ..runtime import threads

    threads.set_num_threads(n)


__all__ = ["get_num_threads", "set_num_threads"]
