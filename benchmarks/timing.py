"""Alternating measurement: every candidate is timed in each round, and medians are compared.

A shared machine is noisy: only ratios of one run mean anything, so peers alternate and the
machine's limits are measured in the same rounds.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

Run = Callable[[], object]


@dataclass(frozen=True)
class Timing:
    """Seconds per call: the median over rounds, and the best."""

    median: float
    best: float


def alternate(
    candidates: Mapping[str, Run], *, rounds: int = 9, seconds: float = 0.05
) -> dict[str, Timing]:
    """Time all candidates in turns; each turn repeats a call for about `seconds`."""
    repeats: dict[str, int] = {}
    for name, run in candidates.items():
        run()
        start = time.perf_counter()
        run()
        once = time.perf_counter() - start
        repeats[name] = max(1, int(seconds / max(once, 1e-7)))
    samples: dict[str, list[float]] = {name: [] for name in candidates}
    for _ in range(rounds):
        for name, run in candidates.items():
            run()  # bring code and data back into the caches
            start = time.perf_counter()
            for _ in range(repeats[name]):
                run()
            samples[name].append((time.perf_counter() - start) / repeats[name])
    return {n: Timing(statistics.median(s), min(s)) for n, s in samples.items()}
