"""Indexing by data against NumPy, gradients, and errors."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from xdsl.ir import SSAValue

from calque.ir import interpreter
from calque.ir.op import Op, Sample, array_meta, bind
from calque.ir.ops.arithmetic import mul
from calque.ir.ops.index import Gather, Take
from calque.ir.ops.indexing import embedding, index, index_put, index_select, one_hot, pick
from calque.ir.ops.scatter import (
    IndexAdd,
    IndexCopy,
    Scatter,
    ScatterAdd,
    scatter,
    scatter_add,
)
from gradcheck import build, check_gradients, check_sample, grad

OPS = (Take, Gather, ScatterAdd, Scatter, IndexAdd, IndexCopy)


def samples() -> list[Any]:
    cases = [(op, s) for op in OPS for s in op.samples() if s.error is None and s.grad]
    return [pytest.param(op, s, id=f"{op.name}-{i}") for i, (op, s) in enumerate(cases)]


@pytest.mark.parametrize(("op", "sample"), samples())
def test_gradients(op: type[Op], sample: Sample) -> None:
    check_sample(op, sample)


A, B = np.array([[0, -1], [2, 1]]), np.array([1, -2])


@pytest.mark.parametrize(
    "indices",
    [[A], [None, B], [A, B], [A, None, B], [None, A, B], [np.asarray(-1), None, A], [B, B, B]],
    ids=str,
)
def test_advanced_indexing(indices: list[np.ndarray | None]) -> None:
    rng = np.random.default_rng(0)
    x = rng.standard_normal((3, 4, 5))
    key: Any = tuple(slice(None) if i is None else i for i in indices)
    got = index(x, indices)
    np.testing.assert_array_equal(got, x[key])

    values = rng.standard_normal(x[key].shape)
    added = x.copy()
    np.add.at(added, key, values)
    np.testing.assert_allclose(index_put(x, indices, values, accumulate=True), added)
    put = x.copy()
    put[key] = 7.0
    np.testing.assert_array_equal(index_put(x, indices, np.asarray(7.0)), put)


def test_advanced_indexing_gradient() -> None:
    x = np.random.default_rng(0).standard_normal((3, 4, 2))
    metas = [array_meta(a) for a in (x, A, B)]
    check_gradients(metas, lambda v, a, b: mul(y := index(v, [a, b]), y), [x, A, B])


def test_embedding_gives_no_gradient_to_padding() -> None:
    weight, ids = np.random.default_rng(0).standard_normal((5, 3)), np.array([[1, 3], [3, 0]])

    def body(w: SSAValue, i: SSAValue) -> list[SSAValue]:
        return grad(embedding(w, i, padding_idx=3), w)

    module = build([array_meta(weight), array_meta(ids)], body)
    want = np.zeros((5, 3))
    want[[0, 1]] = 1
    np.testing.assert_array_equal(interpreter.run(module, [weight, ids])[0], want)
    np.testing.assert_array_equal(embedding(weight, ids, 3), weight[ids])


def test_pick_has_an_elementwise_gradient() -> None:
    x, t = np.random.default_rng(0).standard_normal((4, 3)), np.array([2, 0, 1, 1])
    module = build([array_meta(x), array_meta(t)], lambda v, i: grad(pick(v, 1, i), v))
    assert not any(op.name == "calque.scatter_add" for op in module.walk())
    (got,) = interpreter.run(module, [x, t])
    np.testing.assert_array_equal(got, np.eye(3)[t])
    np.testing.assert_array_equal(pick(x, 1, t), x[np.arange(4), t])


def test_one_hot_and_index_select() -> None:
    ids = np.array([[0, 2], [1, 1]])
    np.testing.assert_array_equal(one_hot(ids, 3), np.eye(3, dtype=np.int64)[ids])
    with pytest.raises(IndexError):
        one_hot(ids, 2)
    x = np.arange(12).reshape(3, 4)
    np.testing.assert_array_equal(index_select(x, 1, np.array([3, 0])), x[:, [3, 0]])
    with pytest.raises(IndexError, match="supposed to be a vector"):
        index_select(x, 1, ids)


def test_scatter_takes_a_larger_source() -> None:
    base, i = np.zeros((3, 3)), np.array([[0, 1]])
    source = np.arange(1.0, 7.0).reshape(2, 3)
    np.testing.assert_array_equal(scatter(base, 0, i, source)[:2, :2], [[1, 0], [0, 2]])
    i = np.array([[1, 1, 1]])
    np.testing.assert_array_equal(scatter_add(base, 1, i, source)[0], [0, 6, 0])


def test_errors() -> None:
    x = np.zeros((3, 4))
    with pytest.raises(IndexError, match="index 3 is out of bounds for dimension 0 with size 3"):
        index(x, [np.array([0, 3])])
    with pytest.raises(IndexError, match="index out of range in self"):
        embedding(x, np.array([-1]))
    with pytest.raises(IndexError, match="too many indices for tensor of dimension 2"):
        index(x, [B, B, B])
    with pytest.raises(IndexError, match="could not be broadcast together"):
        index(x, [np.array([0, 1, 2]), B])
    with pytest.raises(RuntimeError, match="depends on data"):
        index(x, [x > 0])
    with pytest.raises(IndexError, match="expected dtype int64 or int32"):
        bind(Take, (x, np.array([0.0])), {"dim": 0})
