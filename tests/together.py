"""Work that several threads do at once."""

from __future__ import annotations

import threading
from collections.abc import Callable

THREADS = 4


def together(work: Callable[[int], None]) -> None:
    """Call `work` in several threads, each with its number, and wait for all of them."""
    threads = [threading.Thread(target=work, args=(n,)) for n in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
