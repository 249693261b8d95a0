"""State that is overwritten in place: old values are read first, and failures leave it alone."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pytest

from calque.frontend.driver import compile_graph
from calque.ir.text import from_text
from calque.passes.commit import Step, schedule
from calque.runtime.executable import KernelError

A = np.array([1, 2, 3, 4], np.float32)
B = np.array([5, 6, 7, 8], np.float32)
VECTOR = "tensor<4xf32>"


def run(arguments: str, body: str, results: str, arrays: Sequence[np.ndarray]) -> list[np.ndarray]:
    """Run a main of float vectors whose `results` are written as attributes of `tensor<4xf32>`.

    Returns all arguments and results afterwards; a result with an alias is its argument.
    """
    outs = [f"{VECTOR} {attrs}" for attrs in results.split(" | ")]
    text = f"func.func @main({arguments}) -> ({', '.join(outs)}) {{\n{body}\n}}"
    program = compile_graph(from_text(text))
    memory = [a.copy() for a in arrays]
    for attrs in results.split(" | "):
        alias = attrs.partition("alias = ")[2][:1]
        memory.append(memory[int(alias)] if alias else np.zeros(4, np.float32))
    call = program.prepare(())
    try:
        call.run([a.ctypes.data for a in memory])
    except KernelError as error:
        error.memory = memory  # type: ignore[attr-defined]
        raise
    return memory


def state(*arguments: int) -> str:
    return " | ".join(f"{{calque.alias = {i} : i64}}" for i in arguments)


def test_states_change_places() -> None:
    a, b, *_ = run(
        f"%a: {VECTOR}, %b: {VECTOR}", f"func.return %b, %a : {VECTOR}, {VECTOR}",
        state(0, 1), [A, B],
    )  # fmt: skip
    np.testing.assert_array_equal([a, b], [B, A])


def test_the_old_value_is_a_result() -> None:
    body = f"%0 = calque.add %a, %a : {VECTOR}\nfunc.return %0, %a : {VECTOR}, {VECTOR}"
    a, _, old = run(f"%a: {VECTOR}", body, state(0) + " | {}", [A])
    np.testing.assert_array_equal([a, old], [A + A, A])


def test_each_state_needs_the_old_other() -> None:
    body = f"""
      %0 = calque.add %a, %b : {VECTOR}
      %m = calque.reshape %a {{shape = [2, 2]}} : ({VECTOR}) -> tensor<2x2xf32>
      %n = calque.matmul %m, %m : tensor<2x2xf32>
      %o = calque.reshape %n {{shape = [4]}} : (tensor<2x2xf32>) -> {VECTOR}
      %1 = calque.sub %b, %o : {VECTOR}
      func.return %0, %1 : {VECTOR}, {VECTOR}
    """
    a, b, *_ = run(f"%a: {VECTOR}, %b: {VECTOR}", body, state(0, 1), [A, B])
    square = A.reshape(2, 2) @ A.reshape(2, 2)
    np.testing.assert_allclose([a, b], [A + B, B - square.reshape(4)])


def test_a_value_read_in_another_order() -> None:
    body = f"""
      %m = calque.reshape %a {{shape = [2, 2]}} : ({VECTOR}) -> tensor<2x2xf32>
      %n = calque.transpose %m {{perm = [1, 0]}} : tensor<2x2xf32>
      %0 = calque.add %m, %n : tensor<2x2xf32>
      %1 = calque.reshape %0 {{shape = [4]}} : (tensor<2x2xf32>) -> {VECTOR}
      func.return %1 : {VECTOR}
    """
    a, *_ = run(f"%a: {VECTOR}", body, state(0), [A])
    np.testing.assert_array_equal(a, (A.reshape(2, 2) + A.reshape(2, 2).T).reshape(4))


def test_unchanged_state() -> None:
    body = f"%0 = calque.exp %a : {VECTOR}\nfunc.return %a, %0 : {VECTOR}, {VECTOR}"
    a, _, out = run(f"%a: {VECTOR}", body, state(0) + " | {}", [A])
    np.testing.assert_array_equal(a, A)
    np.testing.assert_allclose(out, np.exp(A), rtol=1e-6)


def test_failure_leaves_state_alone() -> None:
    body = f"""
      %0 = calque.add %a, %b : {VECTOR}
      %1 = calque.take %b, %i {{dim = 0}} : ({VECTOR}, tensor<4xi64>) -> {VECTOR}
      func.return %0, %1 : {VECTOR}, {VECTOR}
    """
    arguments = f"%a: {VECTOR}, %b: {VECTOR}, %i: tensor<4xi64>"
    with pytest.raises(KernelError, match="index out of range") as caught:
        run(arguments, body, state(0) + " | {}", [A, B, np.array([0, 1, 9, 2])])
    np.testing.assert_array_equal(caught.value.memory[0], A)  # type: ignore[attr-defined]
    a, *_ = run(arguments, body, state(0) + " | {}", [A, B, np.array([0, 1, 3, 2])])
    np.testing.assert_array_equal(a, A + B)


def test_order_of_steps() -> None:
    writer = Step(0, commits=[(0, 0)])
    reader = Step(1, states={0}, can_fail=True)
    follower = Step(2, after=[reader])
    order, copied = schedule([writer, reader, follower])
    assert order == [reader, follower, writer] or order == [reader, writer, follower]
    assert copied == set()


def test_a_circle_is_broken_by_a_copy() -> None:
    first = Step(0, commits=[(0, 0)], states={1})
    second = Step(1, commits=[(1, 1)], states={0})
    order, copied = schedule([first, second])
    assert order == [first, second]
    assert copied == {0}
