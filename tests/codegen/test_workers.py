"""Worker processes compile what the process itself would have compiled."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Iterator

import pytest

from calque.codegen import workers
from calque.codegen.cpu import compile_text
from calque.ir.target import Target

TARGET = dataclasses.replace(Target.host(), threads=2)


def text(number: int, ballast: int = 0) -> str:
    pad = ";" + "x" * ballast + "\n"
    return f"{pad}define i32 @f{number}() {{\n  ret i32 {number}\n}}\n"


@pytest.fixture
def pool() -> Iterator[workers._Pool]:
    pool = workers._Pool(TARGET)
    yield pool
    pool.close()


def test_same_objects(pool: workers._Pool) -> None:
    texts = [text(n) for n in range(20)]
    assert pool.compile(texts) == [compile_text(t, TARGET) for t in texts]
    assert pool.running
    assert pool.compile(texts[:3]) == [compile_text(t, TARGET) for t in texts[:3]]


def test_a_worker_that_left_is_replaced(pool: workers._Pool) -> None:
    one = workers._Worker(TARGET)
    expected = compile_text(text(1), TARGET)
    assert one.compile(text(1)) == expected
    assert one._process is not None
    one._process.kill()
    assert one.compile(text(1)) == expected
    one.close()
    assert not one.alive


def test_refused_text_is_an_error_and_the_worker_stays() -> None:
    one = workers._Worker(TARGET)
    with pytest.raises(RuntimeError, match="expected"):
        one.compile("nonsense")
    assert one.compile(text(2)) == compile_text(text(2), TARGET)
    one.close()


def test_error_in_a_pool(pool: workers._Pool) -> None:
    with pytest.raises(RuntimeError):
        pool.compile([text(1), "nonsense", text(2)])


def test_few_texts_stay_in_process() -> None:
    assert workers.compile_texts([text(1), text(2)], TARGET)
    assert not workers._pool(TARGET, os.getpid()).running
