"""`python -m benchmarks [part of a name …]`: the table of all cases, or of those that match."""

from __future__ import annotations

import sys

import numpy as np
from rich.console import Console
from rich.table import Table

from calque.ir.target import Target

from .cases import Peers, cases
from .limits import peak_flops
from .timing import alternate


def main(argv: list[str]) -> None:
    """Print medians, ratios to each peer, and the fraction of the machine's limit."""
    peers = Peers()
    fma, flops = peak_flops(Target.host())
    source, sink = np.ones(1 << 24, np.float32), np.empty(1 << 24, np.float32)
    table = Table(
        "case", "calque ms", "torch ms", "jax ms", "x torch", "x jax", "of limit", "limit"
    )
    for case in cases(peers):
        if argv and not any(a in case.name for a in argv):
            continue
        runs = dict(case.runs)
        if case.flops:
            runs["limit"] = fma
        else:
            runs["limit"] = lambda: np.copyto(sink, source)
        times = alternate(runs)
        limit = times.pop("limit").median
        ours = times["calque"].median
        if case.flops:
            rate = flops / limit
            fraction, unit = case.flops / ours / rate, f"{rate / 1e9:.0f} GFLOP/s"
        else:
            rate = 2.0 * source.nbytes / limit
            fraction, unit = case.bytes / ours / rate, f"{rate / 1e9:.0f} GB/s"
        cells = [case.name, f"{ours * 1e3:.3f}"]
        peer_times = [times[p].median if p in times else None for p in ("torch", "jax")]
        cells += ["-" if t is None else f"{t * 1e3:.3f}" for t in peer_times]
        cells += ["-" if t is None else f"{t / ours:.2f}" for t in peer_times]
        table.add_row(*cells, f"{fraction:.0%}", unit)
    Console().print(table)


if __name__ == "__main__":
    main(sys.argv[1:])
