"""Runs tests/filecheck: before and after of every pass, as text. `lit tests/filecheck` does too."""

from __future__ import annotations

from pathlib import Path

import pytest

from runlines import StageFailed, pipeline, run_file, run_lines
from tree import ROOT

FOLDER = ROOT / "tests" / "filecheck"
FILES = sorted(FOLDER.rglob("*.mlir"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: str(path.relative_to(FOLDER)))
def test_file(path: Path, tmp_path: Path) -> None:
    run_file(path, tmp_path / "scratch")


def write(folder: Path, text: str) -> Path:
    path = folder / "file.mlir"
    path.write_text(text)
    return path


def test_a_wrong_check_fails(tmp_path: Path) -> None:
    text = "// RUN: calque opt %s | filecheck %s\n// CHECK: @absent\nfunc.func private @f()\n"
    path = write(tmp_path, text)
    with pytest.raises(StageFailed, match=r"^filecheck"):
        run_file(path, tmp_path / "scratch")


def test_text_that_does_not_parse_fails(tmp_path: Path) -> None:
    path = write(tmp_path, "// RUN: calque opt %s\nnonsense\n")
    with pytest.raises(StageFailed, match=r"(?s)^calque.*file.mlir:\d+:1: "):
        run_file(path, tmp_path / "scratch")


def test_a_file_without_run_lines_fails(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="no RUN line"):
        run_lines(write(tmp_path, "// CHECK: x\n"))


def test_lines_continue(tmp_path: Path) -> None:
    path = write(tmp_path, "// RUN: calque opt %s \\\n// RUN:   -p 'a,b{c=1}' | filecheck %s\n")
    (line,) = run_lines(path)
    assert pipeline(line, path, tmp_path) == [
        ["calque", "opt", str(path), "-p", "a,b{c=1}"],
        ["filecheck", str(path)],
    ]


def test_shell_features_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="may not use '>'"):
        pipeline("calque opt %s > x", tmp_path, tmp_path)
