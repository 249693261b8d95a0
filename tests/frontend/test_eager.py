"""Eager operations that are repeated: what is known of one has to hold for the next."""

from __future__ import annotations

import gc
import weakref
from typing import Any

import numpy as np
import pytest

import calque
from calque.frontend import eager, eager_programs
from calque.ir.errors import user_line
from together import together

pytestmark = pytest.mark.usefixtures("way")


def _numbered(*shape: int) -> np.ndarray:
    return np.arange(np.prod(shape), dtype=np.float32).reshape(shape)


def _layouts(array: np.ndarray) -> list[calque.Tensor]:
    """The same elements, differently laid out in memory."""
    rows, columns = array.shape
    wide = calque.zeros(rows + 1, 2 * columns + 3)
    wide[1:, 3::2] = calque.tensor(array)
    return [
        calque.tensor(array),
        calque.tensor(np.ascontiguousarray(array.T)).t(),
        wide[1:, 3::2],
        calque.tensor(array.ravel()).reshape(rows, columns),
    ]


def test_operands_of_other_strides() -> None:
    x = _numbered(4, 4)
    for a in _layouts(x):
        for b in _layouts(x + 1):
            np.testing.assert_array_equal((a - b).numpy(), np.full((4, 4), -1, np.float32))
            np.testing.assert_array_equal((a @ b).numpy(), x @ (x + 1))
            np.testing.assert_array_equal(calque.cat([a, b]).numpy(), np.concatenate([x, x + 1]))
        np.testing.assert_array_equal(a.sum(0).numpy(), x.sum(0))
        np.testing.assert_array_equal(a.reshape(2, 8).numpy(), x.reshape(2, 8))
        np.testing.assert_array_equal(a[1:, 2].numpy(), x[1:, 2])
        np.testing.assert_array_equal(a.t().flatten().numpy(), x.T.ravel())


def test_views_at_other_places_of_memory() -> None:
    x, whole = _numbered(6, 5), calque.tensor(_numbered(6, 5))
    for i in range(6):
        np.testing.assert_array_equal((whole[i] + 1.0).numpy(), x[i] + 1)
        np.testing.assert_array_equal(whole[i][1:4].flip(0).numpy(), x[i, 1:4][::-1])


def test_repeated_operands() -> None:
    row = calque.tensor(_numbered(1, 4))
    for x in (row.expand(4, 4), row.t().expand(4, 4), row[:, :1].expand(4, 4)):
        for y in (row.expand(4, 4), calque.tensor(_numbered(4, 4))):
            np.testing.assert_array_equal((x + y).numpy(), x.numpy() + y.numpy())


def test_numbers_promote_as_what_they_are_each_time() -> None:
    x = calque.tensor([1, 2])
    for _ in range(2):
        assert (x + 1).dtype is calque.int64
        assert (x + True).dtype is calque.int64
        assert (x + 1.0).dtype is calque.float32
        assert (x + np.float64(1.0)).dtype is calque.float32
        assert (x + np.int8(1)).dtype is calque.int64
        assert (x + np.asarray(0.5)).tolist() == [1.5, 2.5]
        with pytest.warns(RuntimeWarning, match="overflow"):
            assert (x.to(calque.float16) + 1e6).tolist() == [np.inf, np.inf]
        assert (1 - x.to(calque.uint8)).tolist() == [0, 255]
        assert (x.to(calque.bool) + 1).dtype is calque.int64
        assert (x.to(calque.bool) + True).dtype is calque.bool
        assert (calque.tensor(1.5, dtype=calque.float64) * x).dtype is calque.float64
        assert (
            calque.tensor([1.5]) * calque.tensor(2.0, dtype=calque.float64)
        ).dtype is calque.float32


def test_numbers_that_are_equal_are_not_the_same() -> None:
    x = calque.ones(3)
    for _ in range(2):
        assert np.signbit((x * -0.0).numpy()).all()
        assert not np.signbit((x * 0.0).numpy()).any()
        assert not np.signbit((x * 0).numpy()).any()
        assert np.isnan((x * float("nan")).numpy()).all()


def test_numbers_are_part_of_no_program_and_no_route() -> None:
    x = calque.ones(5, 3)
    x * 0.5
    programs, routes = len(eager_programs._programs), len(eager._routes)
    for number in range(1, 9):
        np.testing.assert_array_equal((x * (number / 3)).numpy(), np.full((5, 3), number / 3, "f"))
    assert (len(eager_programs._programs), len(eager._routes)) == (programs, routes)


def test_a_number_that_was_written_over() -> None:
    filled = calque.full((1,), 2.0)
    filled += 5.0
    like = calque.zeros(1) * 0 + 2.0
    like *= 4.0
    assert (calque.zeros(1) + 2.0).tolist() == [2.0]
    assert (filled.tolist(), like.tolist()) == ([7.0], [8.0])


@pytest.mark.parametrize("shape", [(), (0,), (1,), (0, 3), (1, 1), (3, 1)])
def test_few_elements(shape: tuple[int, ...]) -> None:
    x = _numbered(*shape) + 2
    for _ in range(2):
        a = calque.tensor(x)
        np.testing.assert_array_equal((a * a + 1).numpy(), x * x + 1)
        np.testing.assert_array_equal(a.sum().numpy(), x.sum())
        np.testing.assert_array_equal((2 / a).numpy(), np.float32(2) / x)
        np.testing.assert_array_equal(a.reshape(-1, 1).numpy() if x.size else x, x.reshape(
            (-1, 1) if x.size else shape))  # fmt: skip


def test_what_is_wrong_is_wrong_each_time() -> None:
    a, b, index = calque.ones(4, 3), calque.ones(4, 3), calque.tensor([0, 3])
    a + b, a @ b.t(), a[index]
    said: list[str] = []
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"size of tensor a \(3\) must match") as error:
            a + calque.ones(4, 2)
        said.append(user_line(error.value))
        with pytest.raises(RuntimeError, match=r"cannot be multiplied \(4x3 and 4x3\)"):
            a @ b
        with pytest.raises(IndexError, match="out of bounds for dimension 0 with size 4") as error:
            a[calque.tensor([0, 4])]
        said.append(user_line(error.value))
        with pytest.raises(RuntimeError, match="on the same device"):
            a + calque.ones(4, 3, device="meta")
        with pytest.raises(RuntimeError, match="same dtype"):
            a @ b.t().to(calque.float64)
    assert said[:2] == said[2:]
    assert all(line.startswith(__file__) for line in said)


def test_meta_tensors_after_others_of_their_shape() -> None:
    for device in ("cpu", "meta", "cpu", "meta"):
        x = calque.ones(3, 4, device=device)
        for made in (x + x, x * 2.0, x @ x.t(), x.sum(1), x.t(), x[1], x.to(calque.int32)):
            assert made.device == device
        assert (x + x).shape == (3, 4)


def test_writes_into_memory_that_is_read() -> None:
    for shape in ((6,), (6,), (9,)):
        array = _numbered(*shape)
        x = calque.tensor(array)
        x[1:] += x[:-1]
        wanted = array.copy()
        wanted[1:] += array[:-1]
        x[:-1].mul_(x[1:])
        wanted[:-1] *= wanted[1:].copy()
        np.testing.assert_array_equal(x.numpy(), wanted)
    square = calque.tensor(_numbered(3, 3))
    for _ in range(3):
        before = square.numpy().copy()
        square += square.t()
        np.testing.assert_array_equal(square.numpy(), before + before.T)


def test_gradients_after_the_same_without_them() -> None:
    x = calque.ones(2, 2, requires_grad=True)

    def forward() -> calque.Tensor:
        return ((x.t() * 3.0)[0] + 1.0).sum()

    for _ in range(2):
        with calque.no_grad():
            assert not forward().requires_grad
        out = forward()
        assert out.requires_grad
        x.grad = None
        out.backward()
        assert x.grad is not None
        assert x.grad.tolist() == [[3.0, 0.0], [3.0, 0.0]]


def test_a_view_that_was_made_before_a_write_follows_it() -> None:
    for _ in range(2):
        x = calque.ones(3, requires_grad=True)
        y = x * 1.0
        view = y[:2]
        y.mul_(2.0)
        view.sum().backward()
        assert x.grad is not None
        assert x.grad.tolist() == [2.0, 2.0, 0.0]


def test_a_compiled_function_after_the_same_eagerly() -> None:
    x, y = calque.tensor(_numbered(3, 4)), calque.tensor(_numbered(4) + 1)

    def function(x: Any, y: Any) -> Any:
        return (x * 2 + y).reshape(4, 3).t() @ x.t().reshape(4, 3)

    expected = function(x, y)
    assert calque.compile(function)(x, y).tolist() == expected.tolist()
    assert function(x, y).tolist() == expected.tolist()


def test_routes_hold_no_memory() -> None:
    x = calque.ones(7, 3)
    operands = [x, x.t(), x.expand(2, 7, 3)]
    for a in operands:
        a + 1.0, a.reshape(-1), a[1:], a.sum(), a.detach()
    held = weakref.ref(x._storage)
    del a, x, operands
    gc.collect()
    assert held() is None


def test_the_table_of_routes_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_ROUTES", 16)
    eager._routes.clear()
    for size in (*range(40), *range(40)):
        x = calque.ones(size, 2)
        assert (x + x).sum().item() == 4 * size
        assert x.t().reshape(-1).shape == (2 * size,)
        assert len(eager._routes) <= 16


def test_the_table_of_programs_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager_programs, "_PROGRAMS", 4)
    eager_programs._programs.clear()
    eager._routes.clear()
    for function in (calque.exp, calque.sin, calque.cos, calque.tanh, calque.sqrt, calque.neg):
        function(calque.ones(3))
        assert len(eager_programs._programs) <= 4


def test_a_program_of_certain_sizes_is_made_once(monkeypatch: pytest.MonkeyPatch) -> None:
    x = calque.tensor(_numbered(3, 4))
    expected = x.max(1).indices.tolist()

    def refuse(*_: Any, **__: Any) -> Any:
        raise AssertionError("it is known")

    eager._routes.clear()
    monkeypatch.setattr(eager_programs, "compile_graph", refuse)
    assert x.max(1).indices.tolist() == expected


def test_sizes_are_ints_whatever_they_were_given_as() -> None:
    x = calque.ones(12)
    for size in (np.int64(3), 3, np.int32(1), 1):
        shape = x.reshape(size, -1).shape
        assert [type(d) for d in shape] == [int, int]


def test_threads(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(eager, "_ROUTES", 8)  # so that the table starts over all the time
    failed: list[BaseException] = []

    def work(seed: int) -> None:
        rng = np.random.default_rng(seed)
        try:
            for _ in range(150):
                x = rng.integers(-9, 9, (int(rng.integers(0, 6)), 4)).astype(np.float32)
                a = calque.tensor(x)
                np.testing.assert_array_equal((a * 2.0 + a).numpy(), x * 3)
                np.testing.assert_array_equal((a.t() @ a).numpy(), x.T @ x)
                np.testing.assert_array_equal(a.t().sum(1).numpy(), x.sum(0))
        except BaseException as error:
            failed.append(error)

    together(work)
    assert not failed


@pytest.mark.parametrize("shape", [(5, 7), (1, 6), (6, 1), (3, 5, 7), (2, 1, 3, 4), (0, 4), (4, 0)])
def test_products_read_transposed_matrices(shape: tuple[int, ...]) -> None:
    """As they lie, also within other memory; the bits are those of copies in order."""
    rng = np.random.default_rng(0)
    wide = calque.tensor(rng.normal(size=(shape[0] + 2, *shape[1:])).astype("f4"))
    x = wide[1:-1]
    for a, b in ((x.mT, x), (x, x.mT), (x.mT, x.mT.contiguous().mT), (x.mT.mT, x.mT)):
        wanted = a.clone().contiguous() @ b.clone().contiguous()
        np.testing.assert_array_equal((a @ b).numpy(), wanted.numpy())
