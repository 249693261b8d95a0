"""Saving and loading: state dicts for every tool, checkpoints, damaged and foreign files."""

from __future__ import annotations

import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
from calque.optim import Adam


def test_a_state_dict_is_a_plain_file(tmp_path: Path) -> None:
    from safetensors.numpy import load_file

    model = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    calque.save(model.state_dict(), tmp_path / "m.safetensors")
    arrays = load_file(tmp_path / "m.safetensors")
    assert set(arrays) == set(model.state_dict())
    np.testing.assert_array_equal(arrays["0.weight"], model[0].weight.detach().numpy())
    other = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    assert str(other.load_state_dict(calque.load(tmp_path / "m.safetensors"))) == (
        "<All keys matched successfully>"
    )
    np.testing.assert_array_equal(other[0].weight.detach().numpy(), arrays["0.weight"])
    assert other[1].num_batches_tracked.dtype is calque.int64


def test_a_checkpoint_keeps_its_structure(tmp_path: Path) -> None:
    model = nn.Linear(3, 2)
    optimizer = Adam(model.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        model(calque.ones(1, 3)).sum().backward()
        optimizer.step()
    checkpoint = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(), "epoch": 3,
        "history": [(1.5, None), (0.5, "best")], "done": False,
    }  # fmt: skip
    calque.save(checkpoint, tmp_path / "c.safetensors")
    loaded = calque.load(tmp_path / "c.safetensors")
    assert loaded["epoch"] == 3
    assert loaded["history"] == [(1.5, None), (0.5, "best")]
    assert loaded["done"] is False
    assert loaded["optimizer"]["param_groups"] == optimizer.state_dict()["param_groups"]
    fresh = nn.Linear(3, 2)
    again = Adam(fresh.parameters(), lr=0.5)
    fresh.load_state_dict(loaded["model"])
    again.load_state_dict(loaded["optimizer"])
    assert again.param_groups[0]["lr"] == 0.1
    for m, o in ((model, optimizer), (fresh, again)):
        o.zero_grad()
        m(calque.ones(1, 3)).sum().backward()
        o.step()
    for p, q in zip(model.parameters(), fresh.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("dtype", [calque.float64, calque.bfloat16, calque.bool, calque.uint8])
def test_dtypes(tmp_path: Path, dtype: Any) -> None:
    x = calque.tensor([[0, 1], [1, 0]], dtype=dtype)
    calque.save({"x": x.T, "scalar": x[0, 1]}, tmp_path / "x.safetensors")
    loaded = calque.load(tmp_path / "x.safetensors")
    assert loaded["x"].dtype is dtype
    assert loaded["x"].tolist() == x.T.tolist()
    assert loaded["scalar"].shape == ()


def test_one_tensor(tmp_path: Path) -> None:
    calque.save(calque.arange(3), tmp_path / "x")
    assert calque.load(tmp_path / "x").tolist() == [0, 1, 2]


def test_nothing_half_written_stays(tmp_path: Path) -> None:
    with pytest.raises(TypeError, match="cannot save a Linear"):
        calque.save({"model": nn.Linear(1, 1)}, tmp_path / "x")
    assert not list(tmp_path.iterdir())


def test_other_files(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such file"):
        calque.load(tmp_path / "absent")
    (tmp_path / "text").write_text("not tensors at all")
    with pytest.raises(ValueError, match="not a safetensors file"):
        calque.load(tmp_path / "text")


def test_pickle() -> None:
    model = nn.Sequential(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), nn.Dropout(0.5)).eval()
    copy = pickle.loads(pickle.dumps(model))
    assert repr(copy) == repr(model)
    assert not copy.training
    x = calque.ones(1, 1, 4, 4)
    np.testing.assert_array_equal(copy(x).detach().numpy(), model(x).detach().numpy())
    assert isinstance(copy[0].weight, nn.Parameter)
    assert copy[0].weight.requires_grad
