"""`python -m benchmarks [part of a name …]`: the table of all cases, or of those that match; with
all of them, or with "costs", also what a program costs besides its steps."""

from __future__ import annotations

import sys

from rich.console import Console
from rich.table import Table

from calque.ir.target import Target

from .cases import Peers, cases
from .costs import costs
from .limits import copy_bandwidth, peak_flops
from .timing import alternate


def main(argv: list[str]) -> None:
    """Print medians, ratios to each peer, and the fraction of the machine's limit."""
    peers = Peers()
    fma, flops = peak_flops(Target.host())
    copy, moved = copy_bandwidth(Target.host())
    table = Table(
        "case", "calque ms", "torch ms", "jax ms", "x torch", "x jax", "of limit", "limit"
    )
    for case in cases(peers):
        if argv and not any(a in case.name for a in argv):
            continue
        runs = dict(case.runs)
        runs["limit"] = fma if case.flops else copy
        times = alternate(runs)
        limit = times.pop("limit").median
        ours = times["calque"].median
        if case.flops:
            rate = flops / limit
            fraction, unit = case.flops / ours / rate, f"{rate / 1e9:.0f} GFLOP/s"
        else:
            rate = moved / limit
            fraction, unit = case.bytes / ours / rate, f"{rate / 1e9:.0f} GB/s"
        cells = [case.name, f"{ours * 1e3:.3f}"]
        peer_times = [times[p].median if p in times else None for p in ("torch", "jax")]
        cells += ["-" if t is None else f"{t * 1e3:.3f}" for t in peer_times]
        cells += ["-" if t is None else f"{t / ours:.2f}" for t in peer_times]
        table.add_row(*cells, f"{fraction:.0%}", unit)
    Console().print(table)
    if not argv or "costs" in argv:
        second = Table("transformer step", "calque", "torch")
        for row in costs(peers.torch is not None):
            second.add_row(*row)
        Console().print(second)


if __name__ == "__main__":
    main(sys.argv[1:])
