"""A hero that a body does not keep: one warning that names the function, and the text's meaning."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn.functional as F
from calque.frontend.cli import main

NONE = "it reduces nothing"


def product(x: Any, w: Any) -> Any:
    return x @ w + 1


def convolution(x: Any, w: Any) -> Any:
    return F.conv2d(x.reshape(1, 1, 4, 8), w.reshape(8, 1, 2, 3))


def rows(x: Any, w: Any) -> Any:
    return x.exp().sum(1)


def columns(x: Any, w: Any) -> Any:
    return x.exp().sum(0)


def elements(x: Any, w: Any) -> Any:
    return x.exp() + 1


X = np.random.default_rng(0).standard_normal((4, 8)).astype(np.float32)
W = np.random.default_rng(1).standard_normal((8, 6)).astype(np.float32)


def quoted(hero: str) -> str:
    return f'"{hero}"' if hero.isidentifier() else hero


def edited(folder: Path, function: Callable[..., Any], hero: str, *swaps: tuple[str, str]) -> Any:
    """What `calque run` makes of a function's `linalg` text after an edit, and its warnings."""
    compiled = calque.compile(function)
    compiled(calque.from_numpy(X), calque.from_numpy(W))
    text = re.sub(r'calque\.hero = "\w+"', f"calque.hero = {quoted(hero)}", compiled.ir("linalg"))
    for old, new in swaps:
        assert old in text
        text = text.replace(old, new)
    np.save(folder / "x.npy", X)
    np.save(folder / "w.npy", W)
    (folder / "edited.mlir").write_text(text)
    files = [f"{folder}/x.npy", f"{folder}/w.npy"][: text.count("calque.name")]
    inputs = [word for file in files for word in ("--input", file)]
    command = ["run", f"{folder}/edited.mlir", *inputs, "--output", f"{folder}/y.npy"]
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert main(command) == 0
    return np.load(folder / "y.npy"), [str(w.message) for w in caught]


def reference(function: Callable[..., Any]) -> np.ndarray:
    return function(calque.from_numpy(X), calque.from_numpy(W)).numpy()


BROKEN = [
    (elements, "matmul", NONE), (elements, "conv", NONE), (elements, "pool", NONE),
    (elements, "rowwise", NONE), (elements, "reduce", NONE),
    (rows, "matmul", "it sums no products"), (columns, "conv", "it sums no products"),
    (columns, "rowwise", "it reduces others than the last dimensions"),
    (product, "elementwise", "it contains a reduction"), (rows, "view", "it contains a reduction"),
    (elements, "attention", "no such hero is known"),
    (elements, "3 : i64", "no such hero is known"),
]  # fmt: skip


@pytest.mark.parametrize(("function", "hero", "found"), BROKEN)
def test_a_broken_promise_is_told_once(
    function: Callable[..., Any], hero: str, found: str, tmp_path: Path
) -> None:
    y, said = edited(tmp_path, function, hero)
    (message,) = said
    assert re.fullmatch(
        rf"@k0_\w+ has the hero {quoted(hero)}, but {found}; it is compiled as a generic kernel",
        message,
    )
    np.testing.assert_allclose(y, reference(function), rtol=1e-5, atol=1e-5)


KEPT = [(product, "matmul"), (product, "generic"), (convolution, "conv"), (rows, "rowwise"),
        (columns, "reduce"), (elements, "elementwise")]  # fmt: skip


@pytest.mark.parametrize(("function", "hero"), KEPT)
def test_a_kept_promise_is_not_spoken_of(
    function: Callable[..., Any], hero: str, tmp_path: Path
) -> None:
    y, said = edited(tmp_path, function, hero)
    assert not said
    np.testing.assert_allclose(y, reference(function), rtol=1e-5, atol=1e-5)


BODIES: Sequence[tuple[tuple[str, str], Callable[[np.ndarray], np.ndarray]]] = [
    (("arith.mulf", "arith.addf"), lambda pairs: np.sum(pairs[0] + pairs[1], 1)),
    (("arith.mulf", "arith.maximumf"), lambda pairs: np.sum(np.maximum(*pairs), 1)),
]


@pytest.mark.parametrize(("swap", "meaning"), BODIES)
def test_a_product_whose_body_was_edited_means_what_it_says(
    swap: tuple[str, str], meaning: Callable[[Any], np.ndarray], tmp_path: Path
) -> None:
    y, said = edited(tmp_path, product, "matmul", swap)
    (message,) = said
    assert "it sums no products" in message
    pairs = np.broadcast_arrays(X[:, :, None], W[None])
    np.testing.assert_allclose(y, meaning(pairs) + 1, rtol=1e-5, atol=1e-5)


GROUPS = """
builtin.module {
  func.func @main(%x: tensor<64x4096xf32>, %w: tensor<4096x64xf32>, %r: tensor<64x64xf32>) -> tensor<64x64xf32> {
    %t = func.call @ke(%r) : (tensor<64x64xf32>) -> tensor<64x64xf32>
    %y = func.call @km(%x, %w, %t) : (tensor<64x4096xf32>, tensor<4096x64xf32>, tensor<64x64xf32>) -> tensor<64x64xf32>
    %z = func.call @ke(%y) : (tensor<64x64xf32>) -> tensor<64x64xf32>
    func.return %z : tensor<64x64xf32>
  }
  func.func private @ke(%r: tensor<64x64xf32>) -> tensor<64x64xf32> {
    %e = calque.tanh %r : tensor<64x64xf32>
    func.return %e : tensor<64x64xf32>
  }
  func.func private @km(%x: tensor<64x4096xf32>, %w: tensor<4096x64xf32>, %t: tensor<64x64xf32>) -> tensor<64x64xf32> attributes {HERO} {
    %m = calque.matmul %x, %w : (tensor<64x4096xf32>, tensor<4096x64xf32>) -> tensor<64x64xf32>
    %y = calque.add %m, %t : tensor<64x64xf32>
    func.return %y : tensor<64x64xf32>
  }
}
"""  # noqa: E501


@pytest.mark.filterwarnings("ignore::calque.passes.schedules.heroes.HeroWarning")
@pytest.mark.parametrize("hero", ["matmul", "rowwise", "elementwise", "generic", ""])
def test_sums_never_wait_in_memory_that_is_still_read(hero: str, tmp_path: Path) -> None:
    """A long sum is kept where the result goes, so the result may not take the place of %t,
    whose memory is free afterwards."""
    rng = np.random.default_rng(0)
    x, w, r = (rng.standard_normal(s, np.float32) for s in ((64, 4096), (4096, 64), (64, 64)))
    x *= 0.01
    attribute = f'calque.hero = "{hero}"' if hero else "calque.none"
    (tmp_path / "m.mlir").write_text(GROUPS.replace("HERO", attribute))
    command = ["run", f"{tmp_path}/m.mlir", "--output", f"{tmp_path}/y.npy"]
    for name, array in zip("xwr", (x, w, r), strict=True):
        np.save(tmp_path / f"{name}.npy", array)
        command += ["--input", f"{tmp_path}/{name}.npy"]
    assert main(command) == 0
    wanted = np.tanh(x @ w + np.tanh(r))
    np.testing.assert_allclose(np.load(tmp_path / "y.npy"), wanted, atol=1e-5)
