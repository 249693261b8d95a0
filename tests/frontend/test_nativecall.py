"""The native entry: it recognizes what Python recognizes, leaks nothing, and never crashes."""

from __future__ import annotations

import gc
import os
import signal
import subprocess
import sys
import threading
import weakref
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
from calque.frontend.nativecall import native_code
from calque.frontend.storage import Fields
from calque.optim import SGD, AdamW
from calque.runtime import memory

needs_it = pytest.mark.skipif(
    native_code() is None, reason="this interpreter has no native entry, or CALQUE_NATIVE_ENTRY=0"
)
pytestmark = needs_it


def recognizes(f: Any, *args: Any) -> bool:
    """Whether the native entry takes a call."""
    return f._route.native(args) is not None


def called(function: Callable[..., Any], *args: Any) -> Any:
    """The compiled function after calls like this: the first compiles it, the second looks at
    what it depends on, those that follow are native."""
    f = calque.compile(function)
    f(*args)
    f(*args)
    return f


def product() -> tuple[Any, calque.Tensor, calque.Tensor]:
    x, w = calque.randn(3, 4), calque.randn(4, 5)
    return called(lambda x, w: x @ w, x, w), x, w


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(4, 2)
        self.register_buffer("calls", calque.zeros(1))

    def forward(self, x: calque.Tensor) -> calque.Tensor:
        self.calls += 1
        return self.layer(x)


def training(kind: Any) -> tuple[Any, Model, Any]:
    model = Model()
    optimizer = kind(model.parameters(), lr=0.1)

    def step(x: calque.Tensor) -> calque.Tensor:
        optimizer.zero_grad()
        loss = (model(x) ** 2).mean()
        loss.backward()
        optimizer.step()
        return loss

    return calque.compile(step), model, optimizer


# ---- what it recognizes -------------------------------------------------------------------------


def test_calls_like_the_first_are_taken() -> None:
    f, _, w = product()
    other = calque.randn(3, 4)
    wanted = f._function(other, w).tolist()
    out = f._route.native((other, w))
    assert out.tolist() == wanted
    assert (out.shape, out.stride(), out.requires_grad) == ((3, 5), (5, 1), False)
    assert recognizes(f, other.detach(), w)
    assert recognizes(f, calque.tensor(np.ones((3, 4), np.float32)), w)
    assert recognizes(called(lambda m: m * 2, calque.ones(0, 3)), calque.ones(0, 3))


def test_dynamic_sizes_have_a_record_each() -> None:
    f, x, w = product()
    for n in (5, 6, 7, 5):
        x = calque.randn(n, 4)
        assert f(x, w).tolist() == (x @ w).tolist()
        assert f(x, w).tolist() == (x @ w).tolist()
        assert recognizes(f, x, w)
    assert f.compiles == 2


def test_no_arguments_no_results_and_many_of_both() -> None:
    w = calque.ones(3)
    f = called(lambda: w * 2)
    assert recognizes(f)
    w += 1
    assert f().tolist() == [4.0] * 3
    kept = called(lambda x: (x, None, 7), w)
    assert recognizes(kept, w)
    assert kept(w)[0] is w and kept(w)[1:] == (None, 7)
    xs = [calque.full((2,), float(i)) for i in range(200)]
    many = called(lambda *xs: tuple(x + 1 for x in xs), *xs)
    assert recognizes(many, *xs)
    assert [y.tolist() for y in many(*xs)] == [[i + 1.0] * 2 for i in range(200)]


class Sub(calque.Tensor):
    """A tensor of a user."""


def strange(x: calque.Tensor) -> dict[str, Any]:
    """What is no tensor like x."""
    sub = x.clone()
    sub.__class__ = Sub
    cases: dict[str, Any] = {
        "none": None,
        "number": 1.0,
        "list": [x],
        "type": calque.Tensor,
        "subclass": sub,
        "shape": calque.randn(4, 3),
        "strides": calque.randn(4, 3).t(),
        "offset": calque.randn(6, 4)[3:],
        "dtype": x.double(),
        "device": x.to("meta"),
        "tracked": x.clone().requires_grad_(),
        "traced": None,
        "bare": object.__new__(calque.Tensor),
    }
    calque.compile(lambda v: cases.update(traced=v * 1))(x)
    for name in Fields.__slots__:
        cases[f"without {name}"] = copy = x.clone()
        delattr(copy, name)
    cases["without buffer"] = bare = x.clone()
    delattr(bare._storage, "buffer")
    for name in ("ptr", "nbytes"):
        cases[f"without {name}"] = other = x.clone()
        storage: Any = other._storage
        delattr(storage.buffer, name)
    return cases


def test_whatever_else_is_left_to_python() -> None:
    f, x, w = product()
    for name, case in strange(x).items():
        if name != "without nbytes":  # which nobody reads
            assert f._route.native((case, w)) is None, name
    for args in ((), (x,), (x, w, w), (w, x)):
        assert f._route.native(args) is None
    with pytest.raises(SystemError):
        f._route.native([x, w])
    square = called(lambda a, b: a + b, x, calque.randn(3, 4))
    assert not recognizes(square, x, x)
    assert not recognizes(square, x, x.detach())
    assert recognizes(square, x, x.clone())


def test_python_then_does_or_says_what_it_always_does() -> None:
    f, x, w = product()
    cases = strange(x)
    for name in ("subclass", "strides", "offset", "dtype"):
        if name != "dtype":
            assert f(cases[name], w).tolist() == (cases[name] @ w).tolist()
    with pytest.raises(AttributeError):
        f(cases["bare"], w)
    with pytest.raises(RuntimeError, match="outside of the function"):
        f(cases["traced"], w)
    assert f(cases["tracked"], w).requires_grad


def test_modes_traces_and_structure_are_looked_at() -> None:
    f, x, w = product()
    assert recognizes(f, x, w)
    with calque.no_grad():
        assert not recognizes(f, x, w)
    seen: list[bool] = []
    calque.compile(lambda v: (seen.append(recognizes(f, x, w)), v * 1)[1])(x)
    assert seen == [False]
    assert recognizes(f, x, w)
    w.data = calque.randn(4, 5)  # a new epoch
    assert recognizes(called(lambda v: v * 2, x), x)
    assert f(x, w).tolist() == (x @ w).tolist()
    model = Model()
    g = called(lambda v: model(v).detach(), x)
    assert recognizes(g, x)
    model.eval()
    assert not recognizes(g, x)
    assert g(x).tolist() == model(x).tolist()
    model.layer.weight.data = calque.zeros(2, 4)
    assert not recognizes(g, x)
    assert g(x).tolist() == model(x).tolist()
    g(x)
    assert recognizes(g, x)


def test_captured_memory_is_no_argument() -> None:
    weight, x = calque.randn(3, 4), calque.randn(3, 4)
    f = called(lambda v: v + weight, x)
    assert recognizes(f, x)
    assert not recognizes(f, weight)
    assert not recognizes(f, weight.detach())
    assert f(weight).tolist() == (weight * 2).tolist()


SCALE: Any = 2.0


def test_names_are_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    x, bias = calque.ones(2), 1.0

    def scaled(v: calque.Tensor) -> calque.Tensor:
        return v * SCALE + bias

    f = called(scaled, x)
    assert recognizes(f, x)
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert not recognizes(f, x)
    assert f(x).tolist() == [4.0, 4.0]
    f(x)
    assert recognizes(f, x)
    monkeypatch.delitem(globals(), "SCALE")
    assert not recognizes(f, x)
    with pytest.raises(NameError):
        f(x)
    bias = 5.0
    monkeypatch.setitem(globals(), "SCALE", 3.0)
    assert f(x).tolist() == [8.0, 8.0]


def test_data_that_the_trace_read_are_looked_at() -> None:
    flag = calque.ones(1)
    x = calque.ones(2)
    f = called(lambda v: v * 2 if flag else v * 3, x)
    assert recognizes(f, x)
    flag.zero_()
    assert not recognizes(f, x)
    assert f(x).tolist() == [3.0, 3.0]


# ---- references and memory ----------------------------------------------------------------------


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
    with pytest.raises(IndexError):
        code.new_tensor((1, 2))  # type: ignore[arg-type]


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


# ---- threads, signals, processes ----------------------------------------------------------------


@pytest.fixture
def hasty() -> Iterator[None]:
    """Threads give way to each other all the time."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty", "way")
def test_threads_call_while_others_change_the_arguments() -> None:
    """The memory that a call began with is there until it ends."""
    x = calque.full((64, 64), 1.0)
    f = called(lambda v: v * 2 + 1, x)
    failures: list[Any] = []
    stop = threading.Event()

    def swap() -> None:
        n = 0.0
        while not stop.is_set():
            n += 1.0
            x.data = calque.full((64, 64), n)

    def call() -> None:
        for _ in range(3000):
            out = f(x).numpy()
            if not (out == out[0, 0]).all():
                failures.append(out)

    threads = [threading.Thread(target=call) for _ in range(3)]
    swapper = threading.Thread(target=swap)
    swapper.start()
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    stop.set()
    swapper.join()
    assert not failures


def test_a_signal_in_a_call_is_raised_after_it() -> None:
    f, model, optimizer = training(SGD)
    x = calque.ones(3, 4)
    for _ in range(3):
        f(x)

    class Interrupting(float):
        def __float__(self) -> float:
            signal.raise_signal(signal.SIGINT)
            return 0.5

    optimizer.param_groups[0]["lr"] = Interrupting(0.5)
    before = model.layer.weight.tolist()
    with pytest.raises(KeyboardInterrupt):
        f._route.native((x,))
    assert model.layer.weight.tolist() == before


def script(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-X", "faulthandler", "-W", "error", "-c", code],
        env=os.environ | environment,
        capture_output=True,
        text=True,
        timeout=120,
    )


START = """
import calque, gc, os, threading
from calque.runtime import native
f = calque.compile(lambda x, w: x @ w)
x, w = calque.ones(3, 4), calque.ones(4, 5)
assert f(x, w).tolist() == [[4.0] * 5] * 3
assert f(x, w).tolist() == [[4.0] * 5] * 3
"""


@pytest.mark.parametrize(
    "code",
    [
        "kept = [f(x, w) for _ in range(10)]; cycle = [kept]; cycle.append(cycle)",
        "gc.disable(); x.keep = (f, x, w); del f, x, w",
        "import builtins; builtins.kept = f(x, w); builtins.f = f",
        """
def work():
    while True:
        f(x, w)
threading.Thread(target=work, daemon=True).start()
""",
        """
if not os.fork():
    assert f(x, w).tolist() == [[4.0] * 5] * 3
    os._exit(0)
assert os.wait()[1] == 0
""",
    ],
)
def test_processes_end_well(code: str) -> None:
    done = script(START + code)
    assert (done.returncode, done.stderr) == (0, "")


def test_without_it_python_does_all() -> None:
    done = script(START + "assert f._route.native is None", CALQUE_NATIVE_ENTRY="0")
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.parametrize(
    "broken",
    [
        "native._place = lambda made, name: real(made, {'version': 'rebased'}.get(name, name))",
        "native._METHODS = {**native._METHODS, 'py_gone': 8}",
        "native._places = lambda *t: {**places(*t), 'buffer_nbytes': places(*t)['buffer_ptr']}",
    ],
)
def test_a_layout_that_is_not_as_expected_is_refused(broken: str) -> None:
    real = "from calque.runtime import native\nreal, places = native._place, native._places\n"
    done = script(real + broken + START)
    assert "RuntimeWarning: calls take Python's slower way" in done.stderr


def test_refused_it_does_no_harm() -> None:
    """As above, where the warning is no error: calls and buffers work without it."""
    code = f"""
import warnings
warnings.simplefilter("ignore")
from calque.runtime import native, memory
native._place = lambda made, attribute: (_ for _ in ()).throw(native._Unsupported(attribute))
{START}
assert f._route.native is None and memory._pool.make is None
assert memory.stats().live_bytes > 0
"""
    done = script(code)
    assert (done.returncode, done.stderr) == (0, "")


def test_many_arguments_on_a_small_stack() -> None:
    code = """
import calque, threading
xs = [calque.full((2,), float(i)) for i in range(2000)]
f = calque.compile(lambda *xs: xs[0] + xs[-1])
for _ in range(3):
    f(*xs)
assert f._route.native(tuple(xs)) is not None
results = []
threading.stack_size(32 << 10)
thread = threading.Thread(target=lambda: results.append(f(*xs)))
thread.start()
thread.join()
assert results[0].tolist() == [1999.0] * 2
"""
    done = script(code)
    assert done.returncode == 0, done.stderr
