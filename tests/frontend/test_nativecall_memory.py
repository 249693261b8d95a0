"""Native calls leak nothing, also where they fail."""

from __future__ import annotations

import gc
import sys
import weakref
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

import calque
from calque.frontend.nativecall import native_code
from calque.optim import SGD, AdamW
from calque.runtime import memory
from nativecalls import called, needs_it, product, recognizes, training

pytestmark = needs_it


def counts(objects: list[Any]) -> list[int]:
    return [sys.getrefcount(x) for x in objects]


def settled(call: Callable[[], Any], watched: list[Any]) -> None:
    """A thousand calls leave no reference behind."""
    for _ in range(3):
        call()
    gc.collect()
    before, blocks = counts(watched), sys.getallocatedblocks()
    live = memory.stats().live_bytes
    for _ in range(1000):
        call()
    gc.collect()
    assert counts(watched) == before
    assert memory.stats().live_bytes == live
    assert sys.getallocatedblocks() - blocks < 200


def parts(*tensors: Any) -> list[Any]:
    """What a call touches."""
    found: list[Any] = [type(tensors[0]), memory.Buffer, memory.arenas]
    for x in tensors:
        found += [x, x._meta, x._strides, x._storage, x._storage.buffer, x._storage.buffer._block]
    return found


def everything(f: Any) -> list[Any]:
    metas = [layout[0] for layout in f._route.layouts if isinstance(layout, tuple)]
    return [f._route, f._route.native, f._route.call, f._route.entry, *metas]


def test_calls_leak_nothing() -> None:
    f, x, w = product()
    settled(lambda: f(x, w), parts(x, w) + everything(f))
    settled(lambda: f._route.native((x,)), parts(x, w) + everything(f))
    settled(lambda: f._route.native((x, x)), parts(x, w) + everything(f))
    settled(lambda: f._route.native((x, x.double())), parts(x, w) + everything(f))
    pair = called(lambda a, b: (a + 1, [b, a * 2]), x, w)
    assert recognizes(pair, x, w)
    settled(lambda: pair(x, w), parts(x, w) + everything(pair))


@pytest.mark.parametrize("optimizer", [SGD, AdamW])
def test_steps_leak_nothing(optimizer: Any) -> None:
    f, model, _ = training(optimizer)
    x = calque.ones(3, 4)
    for _ in range(3):
        f(x)
    assert recognizes(f, x)
    settled(lambda: f(x), parts(x, *model.parameters(), model.calls) + everything(f))


def test_failed_calls_leak_nothing() -> None:
    table = calque.randn(5, 2)
    i, x = calque.tensor([0, 4]), calque.ones(3)
    f = called(lambda i, x: (x * 2, table[i]), i, x)
    assert recognizes(f, i, x)
    i += 1

    def call() -> None:
        with pytest.raises(IndexError, match="out of"):
            f(i, x)

    assert isinstance(f._route.native((i, x)), int)
    settled(call, parts(i, x, table) + everything(f))
    assert f(i - 1, x)[1].tolist() == table[i - 1].tolist()


def test_exceptions_on_the_way_leak_nothing() -> None:
    f, model, optimizer = training(SGD)
    x = calque.ones(3, 4)
    for _ in range(3):
        f(x)
    before = model.layer.weight.tolist()

    class Failing(float):
        def __float__(self) -> float:
            raise ValueError("no number")

    optimizer.param_groups[0]["lr"] = Failing(0.1)

    def call() -> None:
        with pytest.raises(ValueError, match="no number"):
            f._route.native((x,))

    settled(call, parts(x, *model.parameters()) + everything(f))
    assert model.layer.weight.tolist() == before
    optimizer.param_groups[0]["lr"] = 0.5
    f(x)
    assert model.layer.weight.tolist() != before


def test_no_memory_is_an_error() -> None:
    """The record asks for more than there is, which no program does."""
    f, _, _ = product()
    code = native_code()
    assert code is not None
    layout = (f._route.layouts[0][0], (1,), 1 << 62, memory.blocks(1 << 62))

    def call() -> None:
        with pytest.raises(memory.OutOfMemory):
            code.new_tensor(layout)

    settled(call, [*layout])
    short: Any = (1, 2)
    with pytest.raises(IndexError):
        code.new_tensor(short)


def test_results_are_freed_and_programs_are_collected() -> None:
    f, x, w = product()
    out = f(x, w)
    storage = weakref.ref(out._storage)
    buffer = weakref.ref(out._storage.buffer)
    view = out.numpy()
    del out
    assert storage() is None
    assert buffer() is not None
    del view
    assert buffer() is None
    g, model, _ = training(SGD)
    for _ in range(3):
        g(x)
    assert recognizes(g, x)
    entry, weight = weakref.ref(g._route.entry), weakref.ref(model.layer.weight)
    del g, model, _
    gc.collect()
    assert entry() is None and weight() is None


def test_memory_is_counted() -> None:
    f = called(lambda v: v * 2, x := calque.ones(1 << 18))
    f(x)
    memory.reset_peak()
    start = memory.stats()
    held = [f(x) for _ in range(4)]
    stats = memory.stats()
    assert stats.live_bytes == start.live_bytes + (4 << 20)
    assert stats.peak_bytes == stats.live_bytes
    made = stats.system_allocations
    del held
    stats = memory.stats()
    assert (stats.live_bytes, stats.peak_bytes) == (start.live_bytes, start.live_bytes + (4 << 20))
    held = [f(x) for _ in range(4)]
    assert memory.stats().system_allocations == made + 4 - len(held)
    large = called(lambda v: v * 2, y := calque.ones(6 << 20))  # has a mapping of its own
    assert recognizes(large, y)
    before = memory.stats().live_bytes
    out = large(y)
    assert memory.stats().live_bytes == before + (24 << 20)
    del out
    assert memory.stats().live_bytes == before


def test_a_buffer_is_freed_once() -> None:
    f, x, w = product()
    buffer = f(x, w)._storage.buffer
    live = memory.stats().live_bytes
    buffer.__del__()
    buffer.__del__()
    del buffer
    assert memory.stats().live_bytes == live - 64
    memory.Buffer.wrap(np.ones(3)).__del__()
