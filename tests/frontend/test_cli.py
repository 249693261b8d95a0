"""The commands: what they write, what they print, and how they say what is wrong."""

from __future__ import annotations

import io
import os
import re
import subprocess
import sys
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file, save_file

import needs
from calque.frontend.cli import main

MODEL = """
import calque.nn as nn


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.hidden = nn.Linear(6, 4)
        self.out = nn.Linear(4, 3)

    def forward(self, x):
        return self.out(self.hidden(x).relu())


def wrong(x):
    y = x + 1
    return y @ y


def masked(x):
    return x.masked_fill(x > 0, float("-inf"))


model = Model()
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a module `cli_model`, which is where commands run."""
    (tmp_path / "cli_model.py").write_text(MODEL)
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "cli_model", raising=False)
    return tmp_path


@pytest.fixture
def traced(folder: Path) -> Path:
    assert main(["trace", "cli_model:model", "--input", "f32[Bx6]", "-o", "m.mlir"]) == 0
    return folder / "m.mlir"


def expected(weights: dict[str, np.ndarray], x: np.ndarray) -> np.ndarray:
    hidden = np.maximum(x @ weights["hidden.weight"].T + weights["hidden.bias"], 0)
    return hidden @ weights["out.weight"].T + weights["out.bias"]


def test_trace_writes_the_program_and_its_weights(traced: Path) -> None:
    text = traced.read_text()
    assert "#calque.t<[B, 6]>" in text
    assert 'calque.name = "hidden.weight"' in text
    weights = load_file(str(traced.with_suffix(".safetensors")))
    assert {k: v.shape for k, v in weights.items()} == {
        "hidden.weight": (4, 6), "hidden.bias": (4,), "out.weight": (3, 4), "out.bias": (3,),
    }  # fmt: skip


@pytest.mark.parametrize("stage", ["graph", "linalg", "kernel"])
def test_every_stage_runs_as_it_is_written(
    traced: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    np.save("x.npy", x)
    assert main(["compile", "m.mlir", "--emit", stage, "-o", "s.mlir"]) == 0
    weights = ["--weights", "m.safetensors"]
    assert main(["run", "s.mlir", "--input", "x.npy", "--output", "y.npy", *weights]) == 0
    out = capsys.readouterr().out
    assert "f32[5x6]" in out
    assert "f32[5x3]" in out
    assert " ms" in out
    values = load_file("m.safetensors")
    np.testing.assert_allclose(np.load("y.npy"), expected(values, x), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("stage", ["graph", "linalg", "kernel"])
def test_a_stage_is_the_end_of_itself(traced: Path, stage: str) -> None:
    main(["compile", "m.mlir", "--emit", stage, "-o", "a.mlir"])
    main(["compile", "a.mlir", "--emit", stage, "-o", "b.mlir"])
    assert Path("a.mlir").read_text() == Path("b.mlir").read_text()


@pytest.mark.filterwarnings("ignore:.* it sums no products")
@pytest.mark.parametrize("stage", ["graph", "linalg"])
def test_an_edited_dump_runs_as_edited(traced: Path, stage: str) -> None:
    np.save("x.npy", np.full((2, 6), -1.0, np.float32))
    main(["compile", "m.mlir", "--emit", stage, "-o", "s.mlir"])
    text = Path("s.mlir").read_text()
    edits = {"graph": ("calque.relu", "calque.neg"), "linalg": ("arith.addf", "arith.subf")}
    assert edits[stage][0] in text
    Path("edited.mlir").write_text(text.replace(*edits[stage]))
    weights = ["--weights", "m.safetensors", "--input", "x.npy"]
    assert main(["run", "s.mlir", *weights, "--output", "a.npy"]) == 0
    assert main(["run", "edited.mlir", *weights, "--output", "b.npy"]) == 0
    assert not np.allclose(np.load("a.npy"), np.load("b.npy"))


def test_run_takes_python_objects(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["run", "cli_model:model", "--input", "f32[8x6]"]) == 0
    assert "f32[8x3]" in capsys.readouterr().out


@pytest.mark.parametrize("stage", ["llvm", "asm"])
def test_compile_prints(traced: Path, stage: str, capsys: pytest.CaptureFixture[str]) -> None:
    capsys.readouterr()
    assert main(["compile", "m.mlir", "--emit", stage]) == 0
    assert {"llvm": "define", "asm": "ret"}[stage] in capsys.readouterr().out


@pytest.mark.parametrize("arch", ["sm_80", "sm_90"])
def test_compile_prints_what_ptxas_assembles(
    traced: Path, arch: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The kernels of a program are one module of PTX."""
    assert main(["compile", "m.mlir", "--emit", "ptx", "--arch", arch, "-o", "m.ptx"]) == 0
    text = Path("m.ptx").read_text()
    assert text.count(".version") == 1 and f".target {arch}" in text
    entries = re.findall(r"\.visible \.entry (\w+)\(", text)
    assert entries == ["k0_matmul_add_relu", "k1_matmul_add"]
    assert "fma.rn.f32" in text and "st.shared" in text and "bar.sync" in text
    run = subprocess.run(
        [needs.ptxas(), f"-arch={arch}", "-v", "m.ptx", "-o", "m.cubin"],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    assert "warning" not in run.stderr
    assert run.stderr.count(" 0 bytes spill stores, 0 bytes spill loads") == len(entries)


def test_compile_writes_objects(traced: Path) -> None:
    assert main(["compile", "m.mlir", "--emit", "obj", "-o", "objects"]) == 0
    files = sorted(Path("objects").glob("*.o"))
    assert Path("objects/main.o") in files
    assert len(files) > 1
    assert all(f.read_bytes().startswith(b"\x7fELF") for f in files)


def test_opt_reads_standard_input(
    traced: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    capsys.readouterr()
    stdin = io.TextIOWrapper(io.BytesIO(traced.read_bytes()))
    monkeypatch.setattr("sys.stdin", stdin)
    assert main(["opt", "-p", "canonicalize,cse,dce", "--print-ir-after-all"]) == 0
    out, err = capsys.readouterr()
    assert "calque.relu" in out
    assert [line for line in err.splitlines() if "IR Dump After" in line] == [
        f"// -----// IR Dump After {name} //----- //" for name in ("canonicalize", "cse", "dce")
    ]


def test_opt_lists_passes(capsys: pytest.CaptureFixture[str]) -> None:
    from calque.passes.pipeline import PASSES

    assert main(["opt", "--list-passes"]) == 0
    lines = capsys.readouterr().out.splitlines()
    for name in PASSES:
        (line,) = (x for x in lines if x.startswith(f"  {name} "))
        assert line.endswith("."), "a pass says in one line what it does"
    assert any("convert-scf-to-cf" in line for line in lines)


WRONG = {
    "opt absent.mlir": "absent.mlir: No such file or directory",
    "run absent.mlir": "absent.mlir: No such file or directory",
    "opt m.mlir -p absent": "no pass is called absent",
    "opt m.mlir -p cse{x=1}": "x",
    "opt m.mlir -p autodiff": "the first result must be a floating-point scalar",
    "opt bad.mlir": "bad.mlir:2:1: ",
    "compile bad.mlir": "bad.mlir:2:1: ",
    "opt odd.mlir": "odd.mlir:2:32: no data type is named 'q8'",
    "run ill.mlir": "'calque.add' gives f32[2x3], not f32[2x4]",
    "opt ill.mlir": "'calque.add' gives f32[2x3], not f32[2x4]",
    "opt early.mlir -p cse": "'calque.exp' uses operand 0 before it is defined",
    "compile early.mlir": "'calque.exp' uses operand 0 before it is defined",
    "run early.mlir": "'calque.exp' uses operand 0 before it is defined",
    "run m.mlir --input bad.mlir": "bad.mlir: ",
    "opt stray.mlir": "stray.mlir: the text is malformed",
    "run stray.mlir": "stray.mlir: the text is malformed",
    "run cli_model:absent": "'cli_model' has no 'absent'",
    "run absent:absent": "there is no module 'absent'",
    "trace cli_model:model": "missing a required argument: 'x'",
    "trace cli_model:model --input q8[2]": "no dtype 'q8'",
    "trace cli_model:model --input f32(2)": "is not of the form f32[8x784]",
    "trace cli_model:wrong --input f32[3x4]": (
        "cli_model.py:17: mat1 and mat2 shapes cannot be multiplied (3x4 and 3x4)"
    ),
    "run m.mlir": "x: f32[Bx6] needs an --input",
    "run m.mlir --input f32[3x3]": "expected shape (B, 6)",
    "run m.mlir --input f32[?x6]": "random data needs sizes that are numbers",
    "run m.mlir --input absent.npy": "absent.npy: No such file or directory",
    "run m.mlir --input i64[3x6]": "x is f32, not int64",
    "run m.mlir --input f32[3x6] --input f32[1]": "2 inputs given, 1 taken",
    "run m.mlir --input f32[900000000000x6]": "Unable to allocate",
    "run m.mlir --input f32[99999999999999999999x6]": "more elements than memory has addresses",
    "run m.mlir --input f32[99999999999999999999999x0]": "more elements than memory has addresses",
    "trace cli_model:model --input f32[99999999999999999999x6]": "more elements than memory has",
    "run m.mlir --input text.npy": "text.npy: arrays of <U1 are not supported",
    "run m.mlir --input empty.npy": "empty.npy: ",
    "run m.mlir --input narrow.npy": "narrow.npy: x: expected shape (B, 6), got (2, 3)",
    "run m.mlir --input f32[3x6] --output .": "--output .: this is a folder",
    "run m.mlir --input f32[3x6] --output a --output b": "has 1 result, not 2 --output files",
    "run m.mlir --input f32[3x6] --output a --output a": "--output a is given twice",
    "run m.mlir --input f32[3x6] --output absent/a": "--output absent/a: there is no folder absent",
    "run m.mlir --input f32[3x6] --output /proc/a.npy": "calque run: /proc/a.npy: ",
    "run m.mlir --input f32[3x6] --weights part.safetensors": (
        "part.safetensors lacks hidden.bias, out.weight, out.bias, which no --input gives either"
    ),
    "run cli_model:model --input f32[3x6] --weights part.safetensors": "part.safetensors lacks",
    "run m.mlir --nonsense": "unrecognized arguments: --nonsense; `calque run --help` tells",
    "run": "the following arguments are required: program; `calque run --help` tells",
    "trace": "the following arguments are required: object",
    "compile m.mlir --emit nonsense": "argument --emit: invalid choice: 'nonsense'",
    "demo --nonsense": "unrecognized arguments: --nonsense; `calque demo --help` tells",
    "opt m.mlir --nonsense": "unrecognized arguments: --nonsense; `calque opt --help` tells",
    "opt empty.mlir": "empty.mlir: there is no program in it",
    "run empty.mlir": "empty.mlir: there is no program in it",
    "compile empty.mlir": "empty.mlir: there is no program in it",
    "compile kernel.mlir --emit graph": "the module is past the graph stage already",
    "run m.mlir --weights bad.mlir": "bad.mlir is not a safetensors file",
}


@pytest.mark.parametrize("command", WRONG)
def test_mistakes_are_told_in_one_line(
    command: str, traced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("bad.mlir").write_text("func.func @main(\n")
    Path("ill.mlir").write_text(
        "func.func @main(%0: tensor<2x3xf32>) -> tensor<2x4xf32> {\n"
        "  %1 = calque.add %0, %0 : (tensor<2x3xf32>, tensor<2x3xf32>) -> tensor<2x4xf32>\n"
        "  func.return %1 : tensor<2x4xf32>\n}\n"
    )
    Path("odd.mlir").write_text(
        "func.func @main(%0: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %1 = calque.cast %0 {dtype = q8} : (tensor<2xf32>) -> tensor<2xf32>\n"
        "  func.return %1 : tensor<2xf32>\n}\n"
    )
    Path("early.mlir").write_text(
        "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %1 = calque.exp %0 : tensor<2xf32>\n"
        "  %0 = calque.exp %x : tensor<2xf32>\n"
        "  func.return %1 : tensor<2xf32>\n}\n"
    )
    Path("stray.mlir").write_text(
        "func.func @main(%x: tensor<2xf32>) -> tensor<2xf32> {\n"
        "  %c = arith.constant 1.0 : f32\n"
        "  %0 = linalg.fill reads(%c : f32) outs(%x : tensor<2xf32>) -> tensor<2xf32>\n"
        "  func.return %0 : tensor<2xf32>\n}\n"
    )
    Path("empty.mlir").write_text("// nothing\n")
    Path("empty.npy").touch()
    np.save("text.npy", np.array(["a"]))
    np.save("narrow.npy", np.zeros((2, 3), np.float32))
    save_file({"hidden.weight": np.zeros((4, 6), np.float32)}, "part.safetensors")
    main(["compile", "m.mlir", "-o", "kernel.mlir"])
    capsys.readouterr()
    assert main(command.split()) == 2
    err = capsys.readouterr().err
    assert WRONG[command] in err
    assert len(err.splitlines()) == 1, err


def test_weights_that_fit_nothing_are_told(
    traced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    weights = load_file("m.safetensors")
    save_file({**weights, "other": np.zeros(2, np.float32)}, "more.safetensors")
    assert main(["run", "m.mlir", "--input", "f32[2x6]", "--weights", "more.safetensors"]) == 0
    out, err = capsys.readouterr()
    assert err == "more.safetensors: the program takes no other\n"
    assert "random" not in out


def test_python_objects_run_with_the_weights_asked_for(traced: Path) -> None:
    weights = {k: v + 1 for k, v in load_file("m.safetensors").items()}
    save_file(weights, "other.safetensors")
    x = np.random.default_rng(0).standard_normal((5, 6)).astype(np.float32)
    np.save("x.npy", x)
    command = ["run", "cli_model:model", "--input", "x.npy", "--output", "y"]
    assert main([*command, "--weights", "other.safetensors"]) == 0
    np.testing.assert_allclose(np.load("y"), expected(weights, x), rtol=1e-5, atol=1e-5)


def test_results_are_written_to_the_file_named(traced: Path) -> None:
    """Whole or not at all, and to nothing else."""
    before = set(Path().iterdir())
    command = ["run", "m.mlir", "--input", "f32[2x6]", "--output"]
    assert main([*command, "y"]) == 0
    assert main([*command, "/dev/null"]) == 0
    assert not Path("/dev/null").is_file()
    assert set(Path().iterdir()) - before == {Path("y")}
    assert np.load("y").shape == (2, 3)


def test_an_interrupted_write_leaves_the_old_file(tmp_path: Path) -> None:
    from calque.frontend.files import replaced

    file = tmp_path / "y"
    file.write_text("old")
    with pytest.raises(KeyboardInterrupt), replaced(file) as out:
        out.write(b"half")
        raise KeyboardInterrupt
    assert [p.name for p in tmp_path.iterdir()] == ["y"]
    assert file.read_text() == "old"


def test_an_interrupt_while_a_command_is_loaded(monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(name: str) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("calque.frontend.cli._command", interrupted)
    assert main(["demo"]) == 130


def test_weights_that_are_missing_are_told(
    traced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("m.mlir").rename("alone.mlir")
    main(["run", "alone.mlir", "--input", "f32[2x6]"])
    lines = [line for line in capsys.readouterr().out.splitlines() if "  in " in line]
    assert [line.endswith("random: no weights") for line in lines] == [False] + [True] * 4


def xdsl_opt(file: str) -> str:
    """What xDSL's tool prints, in a process that nothing but the entry point told of calque."""
    if not entry_points(group="xdsl.universe", name="calque"):  # a checkout that is not installed
        info = Path("calque-0.dist-info")
        info.mkdir()
        (info / "METADATA").write_text("Metadata-Version: 2.1\nName: calque\nVersion: 0\n")
        (info / "entry_points.txt").write_text("[xdsl.universe]\ncalque = calque.universe:CALQUE\n")
    code = "from xdsl.tools.xdsl_opt import main; main()"
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    run = subprocess.run(
        [sys.executable, "-c", code, file],
        env=environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert run.returncode == 0, run.stderr
    return run.stdout.strip()


@pytest.mark.parametrize("stage", ["graph", "linalg", "kernel"])
def test_xdsl_reads_what_calque_prints(traced: Path, stage: str) -> None:
    main(["compile", "m.mlir", "--emit", stage, "-o", "s.mlir"])
    assert xdsl_opt("s.mlir") == Path("s.mlir").read_text().strip()


@pytest.mark.parametrize("stage", ["graph", "linalg", "kernel"])
def test_infinities_stay_infinite(
    folder: Path, stage: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """In the text of every stage, through either tool."""
    main(["trace", "cli_model:masked", "--input", "f32[3x64]", "-o", "q.mlir"])
    main(["compile", "q.mlir", "--emit", stage, "-o", "s.mlir"])
    text = Path("s.mlir").read_text().strip()
    assert "0xff800000" in text
    assert xdsl_opt("s.mlir") == text
    capsys.readouterr()
    assert main(["opt", "s.mlir"]) == 0
    assert capsys.readouterr().out.strip() == text


@pytest.mark.filterwarnings("error")
def test_infinities_of_both_signs_are_summarized(
    traced: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    np.save("x.npy", np.array([[np.inf, -np.inf, 1, 2, 3, 4]], np.float32))
    assert main(["run", "m.mlir", "--input", "x.npy"]) == 0
    assert "min -inf, mean nan, max inf" in capsys.readouterr().out


def test_a_warning_is_one_line(folder: Path) -> None:
    main(["trace", "cli_model:masked", "--input", "f32[8]", "-o", "g.mlir"])
    main(["compile", "g.mlir", "--emit", "linalg", "-o", "l.mlir"])
    text = Path("l.mlir").read_text()
    assert 'calque.hero = "elementwise"' in text
    Path("l.mlir").write_text(text.replace('hero = "elementwise"', 'hero = "matmul"'))
    command = [sys.executable, "-m", "calque", "run", "l.mlir"]
    run = subprocess.run(command, capture_output=True, text=True, check=True)
    assert re.fullmatch(r'warning: @\w+ has the hero "matmul", but .* generic kernel\n', run.stderr)


def test_files_may_be_called_anything(traced: Path, capsys: pytest.CaptureFixture[str]) -> None:
    Path("m.mlir").rename("m.graph")
    capsys.readouterr()
    assert main(["opt", "m.graph", "-p", "cse"]) == 0
    assert "calque.matmul" in capsys.readouterr().out


def test_unknown_commands(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["absent"]) == 2
    assert "unknown command 'absent'" in capsys.readouterr().err
