"""The digits that the package ships, and the demonstration that learns them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import calque
from calque.frontend.cli import main
from tree import ROOT


def test_digits() -> None:
    digits = calque.data.digits()
    assert digits.train_images.shape == (1437, 1, 8, 8)
    assert digits.test_images.shape == (360, 1, 8, 8)
    for images in (digits.train_images, digits.test_images):
        assert images.dtype == np.float32
        assert images.min() == 0.0
        assert images.max() == 1.0
    labels = np.concatenate([digits.train_labels, digits.test_labels])
    assert labels.dtype == np.int64
    assert sorted(set(labels.tolist())) == list(range(10))
    assert np.bincount(labels).tolist() == [178, 182, 177, 183, 181, 182, 181, 179, 174, 180]


def test_the_split_is_always_the_same() -> None:
    first, second = calque.data.digits(), calque.data.digits()
    assert all(map(np.array_equal, first, second))
    everything = calque.data.digits(test=100)
    assert len(everything.test_labels) == 100
    with pytest.raises(ValueError, match="1 to 1796 images"):
        calque.data.digits(test=0)


def test_the_file_is_small_and_names_its_source() -> None:
    path = ROOT / "frontend" / "data" / "digits.npz"
    assert path.stat().st_size < 100_000
    with np.load(path) as file:
        assert "CC BY 4.0" in str(file["source"])


def test_the_demonstration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "stages"
    assert main(["demo", "--epochs", "2", "--stages", str(folder)]) == 0
    out = capsys.readouterr().out
    accuracy = float(out.split("test accuracy: ")[1].split("%")[0])
    assert accuracy > 90
    assert "compiled 2 times" in out
    for name in ("step.graph.mlir", "step.linalg.mlir", "step.kernel.mlir", "step.llvm.ll"):
        assert (folder / name).stat().st_size > 1000
    command = out.strip().splitlines()[-1].replace("'", "").split()
    assert main(command[1:]) == 0
