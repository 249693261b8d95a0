"""What the control groups of this process allow: processors and memory.

A container sees all of the host's processors and memory; its limits are in the cgroup file system.
Every ancestor of the process's group counts, so each walk goes up to the root.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path

_ROOT = Path("/sys/fs/cgroup")


def _ancestors(root: Path) -> Iterator[Path]:
    """The folders of this process's cgroup (version 2) and of all its ancestors."""
    group = "/"
    try:
        for line in Path("/proc/self/cgroup").read_text().splitlines():
            if line.startswith("0::"):
                group = line[3:]
    except OSError:
        pass
    # The path is seen from the namespace of the process: it may lead outside of it ("/../x").
    relative = Path(group.lstrip("/"))
    if ".." not in relative.parts:
        yield from (root / relative, *(root / parent for parent in relative.parents))
    else:
        yield root


def _read(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []


def cpu_quota(root: Path = _ROOT) -> int | None:
    """Processors that the quota is worth, rounded up; None where there is no quota."""
    limits = [_read(folder / "cpu.max") for folder in _ancestors(root)]
    legacy = [_read(root / "cpu" / f"cpu.cfs_{name}_us") for name in ("quota", "period")]
    limits.append([*legacy[0], *legacy[1]])
    quotas = (
        max(1, math.ceil(int(words[0]) / int(words[1])))
        for words in limits
        if len(words) == 2 and words[0].isdigit() and int(words[1]) > 0
    )
    return min(quotas, default=None)


def memory_limit(root: Path = _ROOT) -> int | None:
    """The smallest memory limit in bytes; None where there is none."""
    words = [_read(folder / "memory.max") for folder in _ancestors(root)]
    words.append(_read(root / "memory" / "memory.limit_in_bytes"))
    return min((int(w[0]) for w in words if len(w) == 1 and w[0].isdigit()), default=None)
