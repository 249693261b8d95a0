"""Native calls among threads, signals and processes; where there are none."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from typing import Any

import pytest

import calque
from calque.optim import SGD
from nativecalls import called, needs_it, training

pytestmark = needs_it


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


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, also where the tests run in the background of a shell, which ignores it."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
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
