"""Passes say what they work on where they meet something else, and which options there are."""

from __future__ import annotations

from pathlib import Path

import pytest

from calque.frontend.cli import main
from calque.passes.pipeline import PASSES, STEPS

GRAPH = """
func.func @main(%x: tensor<3x4xf32>, %y: tensor<4x5xf32>) -> tensor<f32> {
  %0 = calque.matmul %x, %y : (tensor<3x4xf32>, tensor<4x5xf32>) -> tensor<3x5xf32>
  %1 = calque.exp %0 : tensor<3x5xf32>
  %2 = calque.sum %1 {dims = [0, 1], keepdim = false} : (tensor<3x5xf32>) -> tensor<f32>
  func.return %2 : tensor<f32>
}
"""
IDENTITY = "func.func @main(%x: tensor<3xf32>) -> tensor<3xf32> { func.return %x : tensor<3xf32> }"
# What the passes work on; `dce` works on everything.
WORKS = {
    "graph": ("autodiff", "canonicalize", "cse", "dce", "decompose", "fuse", "lower-to-linalg"),
    "linalg": ("dce", "outline-linalg", "bufferize"),
    "kernel": ("dce", "plan-memory", "tile", "parallelize"),
}
UP_TO = {
    stage: ",".join(s.name for s in STEPS[:n] if not s.name.startswith("plan"))
    for stage, n in [("graph", 0), ("linalg", 6), ("kernel", 8), ("loops", 10), ("done", 11)]
}


def opt(folder: Path, passes: str, text: str = GRAPH) -> int:
    file = folder / "program.mlir"
    file.write_text(text)
    return main(["opt", str(file), *(["-p", passes] if passes else [])])


@pytest.mark.parametrize("name", PASSES)
@pytest.mark.parametrize("stage", WORKS)
def test_a_pass_at_the_wrong_stage(
    tmp_path: Path, stage: str, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    before = UP_TO["loops" if name == "parallelize" and stage == "kernel" else stage]
    status = opt(tmp_path, f"{before},{name}".lstrip(","))
    if name in WORKS[stage]:
        assert status == 0
        return
    (own,) = [s for s, names in WORKS.items() if name in names]
    said = capsys.readouterr().err
    assert status == 2
    assert said.endswith(
        f": the pass {name} works on the {own} stage; this is the {stage} stage\n"
    ), said


@pytest.mark.parametrize(
    ("passes", "message"),
    [
        (f"{UP_TO['kernel']},parallelize", "works on loops; run the pass tile before"),
        (f"{UP_TO['done']},tile", "works on tensors; these kernels are tiled"),
        (f"{UP_TO['kernel']},plan-memory,plan-memory", "adds @main.plan, which this module has"),
    ],
)
def test_a_pass_out_of_turn(
    tmp_path: Path, passes: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert opt(tmp_path, passes) == 2
    assert capsys.readouterr().err.endswith(f"{message}\n")


@pytest.mark.parametrize("text", ["", IDENTITY], ids=["empty", "identity"])
def test_little_text_is_of_several_stages(tmp_path: Path, text: str) -> None:
    passes = ",".join(s.name for s in STEPS)
    assert opt(tmp_path, passes, f"builtin.module {{ {text} }}") == 0


OPTIONS = {
    "vector-bits=100": "the option vector-bits is 0 or a power of two from 64 to 2048, not 100",
    "vector-bits=-256": "the option vector-bits is 0 or a power of two from 64 to 2048, not -256",
    "registers=1": "the option registers is 0 or at least 8, not 1",
    "registers=-1": "the option registers is 0 or at least 8, not -1",
    "threads=-1": "the option threads is 0 or more, not -1",
    "row_tiles=0": "the option row-tiles is at least 1, not 0",
    "columns=-3": "the option columns is at least 1, not -3",
    "chunk=-5": "the option chunk is at least 1, not -5",
}


@pytest.mark.parametrize("option", OPTIONS)
def test_options_of_tile(tmp_path: Path, option: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert opt(tmp_path, f"{UP_TO['kernel']},tile{{{option}}}") == 2
    said = capsys.readouterr().err
    assert said.endswith(f"{OPTIONS[option]}\n") and said.count("\n") == 1


@pytest.mark.parametrize(
    "option", ["vector-bits=64", "registers=8", "registers=8 vector-bits=128", "row-tiles=1"]
)
def test_the_least_that_tile_takes(tmp_path: Path, option: str) -> None:
    assert opt(tmp_path, f"{UP_TO['kernel']},tile{{{option} chunk=1 columns=1}}") == 0
