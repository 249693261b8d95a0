"""What `explain()` reports."""

from __future__ import annotations

import re
from typing import Any

import calque
import calque.nn as nn
import calque.nn.functional as F


def layer(x: Any, w: Any, b: Any) -> Any:
    return F.relu(x @ w + b)


def test_kernels_are_reported_with_lines_operations_and_bytes() -> None:
    f = calque.compile(layer)
    for rows in (32, 64):
        f(calque.randn(rows, 16), calque.randn(16, 8), calque.zeros(8))
    lines = f.explain().splitlines()
    operations = 2 * 64 * 16 * 8 + 2 * 64 * 8
    read, written = 4 * (64 * 16 + 16 * 8 + 8), 4 * 64 * 8
    cost = f"{operations:,} operations, {read:,} bytes read, {written:,} bytes written"
    assert lines[0] == "layer: 3 inputs, 1 result"
    assert lines[1] == f"kernels: 1, with {cost} at B=64"
    assert lines[2] == f"  k0_matmul_add_relu [matmul]: {cost}"
    assert lines[3] == "    matmul, broadcast_to, add, relu"
    where = f"{__file__}:{layer.__code__.co_firstlineno + 1}: return F.relu(x @ w + b)"
    assert lines[4] == f"      {where}"
    assert lines[5] == "arena: 0 bytes at B=64"
    assert lines[6] == "guards: none"
    assert len(lines) == 7


def test_ptx_is_a_stage_too() -> None:
    f = calque.compile(layer)
    f(calque.randn(32, 16), calque.randn(16, 8), calque.zeros(8))
    text = f.ir("ptx")
    assert re.findall(r"^\.(?:target|visible).*", text, re.MULTILINE) == [
        ".target sm_80", ".visible .entry k0_matmul_add_relu(",
    ]  # fmt: skip


def test_what_all_operators_of_a_step_compute_is_counted() -> None:
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(36, 5))
    x = calque.randn(2, 1, 8, 8)

    @calque.compile
    def step(x: Any) -> Any:
        def add(carry: Any, row: Any) -> Any:
            return carry + row, row * 2

        return calque.scan(add, calque.zeros(8), x)[1]

    step(x[0, 0])
    total = re.search(r"with ([\d,]+) operations", step.explain())
    assert total is not None
    assert int(total[1].replace(",", "")) == 2 * 8 * 8
    compiled = calque.compile(model)
    compiled(x)
    counts = dict(re.findall(r"(k\d+_\w+) \[\w+\]: ([\d,]+) operations", compiled.explain()))
    found = {name: int(count.replace(",", "")) for name, count in counts.items()}
    convolution, pooling, product = 2 * 4 * 36 * 9 * 2 + 2 * 4 * 36, 2 * 36 * 4, 2 * 2 * 36 * 5 + 10
    assert sum(found.values()) == convolution + pooling + product


def test_calls_of_one_kernel_are_counted() -> None:
    f = calque.compile(lambda x, y: (x.exp(), y.exp()))
    f(calque.randn(4, 4), calque.randn(4, 4))
    text = f.explain()
    assert "called 2 times" in text
    assert "with 32 operations" in text
