"""What a program costs besides its steps: import, compilation, memory.

Each is measured in processes of its own: `python -m benchmarks.costs calque` prints what the
transformer step of the cases costs there.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Mapping
from importlib import import_module
from pathlib import Path
from typing import Any

STEPS = 5


def measure(library: str) -> dict[str, float]:
    """Seconds to import the library, to compile the step (its first call without what a step
    takes) and for a step; MB of the process at its peak; what steps allocated from the system."""
    start = time.perf_counter()
    import_module(f"{library}.nn")
    imported = time.perf_counter() - start

    from .cases import Peers, transformer_step

    peers = Peers(torch=library == "torch", jax=False)
    step = transformer_step(peers, only=library).runs[library]
    first, *steps = [_timed(step) for _ in range(STEPS)]
    before = _allocations(library)
    steps.append(_timed(step))
    return {
        "import": imported,
        "compile": first - statistics.median(steps),
        "step": statistics.median(steps),
        "peak": _peak_megabytes(),
        "allocations": _allocations(library) - before,
    }


def _timed(step: Any) -> float:
    start = time.perf_counter()
    step()
    return time.perf_counter() - start


def _allocations(library: str) -> int:
    if library != "calque":
        return 0
    from calque.runtime.memory import stats

    return stats().system_allocations


def _peak_megabytes() -> float:
    """The most memory that was resident, as Linux counts it since the program was started (what
    getrusage gives is inherited from the parent)."""
    status = Path("/proc/self/status").read_text().split()
    return int(status[status.index("VmHWM:") + 1]) / 1024


def costs(torch: bool) -> list[tuple[str, str, str]]:
    """(what, calque, torch) for a table; the disk cache is empty at first, then full."""
    with tempfile.TemporaryDirectory() as cache:
        cold = _child("calque", {"CALQUE_CACHE_DIR": cache})
        warm = _child("calque", {"CALQUE_CACHE_DIR": cache})
    other = _child("torch", {}) if torch else None

    def row(what: str, text: str, ours: Mapping[str, float], key: str) -> tuple[str, str, str]:
        return what, text.format(ours[key]), text.format(other[key]) if other else "-"

    return [
        row("import", "{:.3f} s", warm, "import"),
        ("compile, cold", f"{cold['compile']:.2f} s", "-"),
        ("compile, from the disk cache", f"{warm['compile']:.2f} s", "-"),
        ("system allocations of a step", f"{warm['allocations']:.0f}", "-"),
        row("peak memory of the process", "{:.0f} MB", warm, "peak"),
    ]


def _child(library: str, variables: dict[str, str]) -> dict[str, float]:
    root = Path(__file__).resolve().parent.parent
    command = [sys.executable, "-m", "benchmarks.costs", library]
    environment = {**os.environ, **variables}
    done = subprocess.run(
        command, cwd=root, env=environment, check=True, stdout=subprocess.PIPE, text=True
    )
    return json.loads(done.stdout)


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1])))
