"""Description of the machine that code is generated for.

Passes ask it for vector widths, register counts and cache sizes; code generation for the
triple, the processor and its features. It is plain data: two equal targets give equal code.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import llvmlite.binding as llvm

PTX_VERSIONS = {
    "sm_75": 70,
    "sm_80": 71,
    "sm_86": 71,
    "sm_89": 78,
    "sm_90": 80,
    "sm_90a": 80,
    "sm_100": 86,
    "sm_100a": 86,
    "sm_120": 87,
    "sm_120a": 87,
}
"""The version of PTX to write for each GPU architecture: one that knows it, but not a newer one,
so that older drivers read it."""

_CACHES = Path("/sys/devices/system/cpu/cpu0/cache")


@dataclass(frozen=True, slots=True)
class Target:
    """A processor: what LLVM needs to know (`triple`, `cpu`, `features`) and what schedules
    need to know (register width in bits, number of vector registers, threads, and the sizes
    in bytes of a core's caches; `l3` is the share of all cores)."""

    kind: str
    triple: str
    cpu: str
    features: str
    vector_bits: int
    registers: int
    threads: int
    l1: int
    l2: int
    l3: int

    def __post_init__(self) -> None:
        if self.kind not in ("cpu", "nvptx"):
            raise ValueError(f'target kind must be "cpu" or "nvptx", not {self.kind!r}')

    @staticmethod
    def host() -> Target:
        """The machine this process runs on."""
        return _host()

    @staticmethod
    def nvptx(arch: str = "sm_90a") -> Target:
        """An NVIDIA GPU of the given architecture; ValueError for one that is not known.

        `vector_bits` is the widest access of one thread, `threads` the largest block, `l1` what
        a block may share without asking for more. The feature is the version of PTX.
        """
        if arch not in PTX_VERSIONS:
            known = ", ".join(PTX_VERSIONS)
            raise ValueError(f"GPU architecture {arch!r} is not known; known are {known}")
        features = f"+ptx{PTX_VERSIONS[arch]}"
        return Target(
            "nvptx", "nvptx64-nvidia-cuda", arch, features, 128, 255, 1024, 48 << 10, 50 << 20, 0
        )

    def width(self, bits: int) -> int:
        """Lanes of a full vector register for elements of `bits` bits (at least 1)."""
        return max(1, self.vector_bits // max(bits, 8))

    @property
    def tile_shape(self) -> tuple[int, int]:
        """(rows, vectors per row) of the largest `tile.matmul` whose accumulators, one row of B
        and one broadcast element of A fit in the registers, for any element type.

        Wide registers hold two vectors per row and many rows: 14 x 2 with 32 registers, 6 x 2
        with 16. With 128 bits a row is three vectors: 9 x 3 on NEON.
        """
        vectors = 2 if self.vector_bits > 128 else 3
        return (self.registers - vectors - 1) // vectors, vectors

    def has(self, feature: str) -> bool:
        """Whether the processor has an LLVM feature, e.g. ``target.has("avx512f")``."""
        return f"+{feature}" in self.features.split(",")


@lru_cache(maxsize=1)
def _host() -> Target:
    features = llvm.get_host_cpu_features()
    triple = llvm.get_process_triple()
    if features.get("avx512f") and features.get("avx512vl") and features.get("avx512dq"):
        vector_bits, registers = 512, 32
    elif features.get("avx2") and features.get("fma"):
        vector_bits, registers = 256, 16
    elif triple.startswith(("aarch64", "arm64")):
        vector_bits, registers = 128, 32
    else:
        vector_bits, registers = 128, 16
    return Target(
        kind="cpu",
        triple=triple,
        cpu=llvm.get_host_cpu_name(),
        features=features.flatten(),
        vector_bits=vector_bits,
        registers=registers,
        threads=available_threads(),
        l1=_cache_size(1, 32 << 10),
        l2=_cache_size(2, 1 << 20),
        l3=_cache_size(3, 8 << 20),
    )


def available_threads() -> int:
    """Cores this process may use: its affinity, capped by the quota of its control group."""
    try:
        cores = len(os.sched_getaffinity(0))
    except AttributeError:
        cores = os.cpu_count() or 1
    quota = _cgroup_quota()
    return max(1, min(cores, quota) if quota else cores)


def _cgroup_quota() -> int:
    """Whole cores granted by the control group, rounded up; 0 when unlimited or unknown."""
    try:
        limit, period = Path("/sys/fs/cgroup/cpu.max").read_text().split()
        return 0 if limit == "max" else -(-int(limit) // int(period))
    except (OSError, ValueError):
        pass
    try:
        root = Path("/sys/fs/cgroup/cpu")
        limit_us = int((root / "cpu.cfs_quota_us").read_text())
        return 0 if limit_us <= 0 else -(-limit_us // int((root / "cpu.cfs_period_us").read_text()))
    except (OSError, ValueError):
        return 0


def _cache_size(level: int, default: int) -> int:
    """Bytes of the data cache of `level`, as the kernel reports it, else `default`."""
    try:
        for index in _CACHES.glob("index*"):
            kind = (index / "type").read_text().strip()
            if int((index / "level").read_text()) == level and kind != "Instruction":
                size = (index / "size").read_text().strip()
                return int(size.rstrip("KMG")) << {"K": 10, "M": 20, "G": 30}.get(size[-1], 0)
    except (OSError, ValueError):
        pass
    return default
