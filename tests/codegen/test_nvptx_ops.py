"""Every operation that kernels for a GPU may hold is one that LLVM can select.

LLVM ends the process when it cannot, so a process of its own compiles.
"""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

import needs
from calque.codegen.nvptx import device_text
from calque.ir.target import Target

from .machine import functions, parse

ARCHS = ("sm_75", "sm_80", "sm_90a", "sm_100", "sm_120")
WIDTHS = (1, 4, 8)


def _words(text: str) -> list[str]:
    return text.split()


FLOAT_BINARY = _words("""
    arith.addf arith.subf arith.mulf arith.divf arith.maximumf arith.minimumf arith.maxnumf
    arith.minnumf math.copysign math.atan2 math.powf
""")
FLOAT_UNARY = _words("""
    arith.negf math.absf math.ceil math.floor math.round math.roundeven math.trunc math.sqrt
    math.rsqrt math.cbrt math.exp math.exp2 math.expm1 math.log math.log2 math.log10
    math.log1p math.sin math.cos math.tan math.asin math.acos math.atan math.sinh math.cosh
    math.tanh math.asinh math.acosh math.atanh math.erf
""")
INTEGER_BINARY = _words("""
    arith.addi arith.subi arith.muli arith.divsi arith.divui arith.remsi arith.remui
    arith.floordivsi arith.ceildivsi arith.ceildivui arith.andi arith.ori arith.xori
    arith.shli arith.shrsi arith.shrui arith.maxsi arith.minsi arith.maxui arith.minui
""")
INTEGER_UNARY = _words("""
    math.absi math.ctlz math.cttz math.ctpop
""")
REDUCTIONS = {
    "f": ["add", "mul", "maximumf", "minimumf", "maxnumf", "minnumf"],
    "i": ["add", "mul", "maxsi", "minsi", "maxui", "minui", "and", "or", "xor"],
}
CASTS = {
    "f32": "extf:f64 truncf:f16 truncf:bf16 fptosi:i64 fptosi:i32 fptosi:i8 fptoui:i32 bitcast:i32",
    "f64": "truncf:f32 truncf:f16 truncf:bf16 fptosi:i64 fptosi:i32 fptoui:i8 bitcast:i64",
    "f16": "extf:f32 extf:f64 fptosi:i64 fptoui:i8 bitcast:i16",
    "bf16": "extf:f32 extf:f64 fptosi:i64 fptoui:i8 bitcast:i16",
    "i8": "extsi:i32 extui:i64 sitofp:f32 uitofp:f64 sitofp:bf16 index_cast:index",
    "i16": "extsi:i32 extui:i64 sitofp:f32 uitofp:f16 bitcast:f16 bitcast:bf16 trunci:i8",
    "i32": "extsi:i64 trunci:i8 sitofp:f32 uitofp:f64 sitofp:f16 uitofp:bf16 bitcast:f32",
    "i64": "trunci:i32 sitofp:f32 uitofp:f64 sitofp:bf16 bitcast:f64 index_cast:index",
}
TYPES = ("f32", "f64", "f16", "bf16", "i8", "i16", "i32", "i64", "index")


class _Body:
    """Operations on %a, %b and %c of a type, each with its result stored."""

    def __init__(self, ty: str, width: int) -> None:
        self.scalar, self.width = ty, width
        self.type = self.of(ty)
        self.lines: list[str] = []
        self.params: list[str] = []

    def of(self, ty: str) -> str:
        return ty if self.width == 1 else f"vector<{self.width}x{ty}>"

    def add(self, text: str, result: str) -> None:
        """An operation with a result of a scalar type, or of a vector of it where it says so."""
        n = len(self.lines)
        self.lines.append(f"%r{n} = {text}")
        self.params.append(f"%o{n}: memref<64x{'i8' if result == 'i1' else result}>")
        if result == "i1":
            self.lines.append(f"%w{n} = arith.extui %r{n} : {self.of('i1')} to {self.of('i8')}")
            result, value = "i8", f"%w{n}"
        else:
            value = f"%r{n}"
        if self.width == 1:
            self.lines.append(f"memref.store {value}, %o{n}[%t] : memref<64x{result}>")
        else:
            target = f"%o{n}[%t] : memref<64x{result}>, {self.of(result)}"
            self.lines.append(f"vector.store {value}, {target}")

    def text(self) -> str:
        access = "memref.load" if self.width == 1 else "vector.load"
        suffix = "" if self.width == 1 else f", {self.type}"
        loads = [
            f"%{x} = {access} %m{x}[%t] : memref<64x{self.scalar}>{suffix}" for x in ("a", "b")
        ]
        memories = [f"%m{x}: memref<64x{self.scalar}>" for x in ("a", "b")]
        body = "\n".join([*loads, *self.lines])
        return f"""
          func.func private @k({", ".join([*memories, *self.params])}) {{
            %zero = arith.constant 0 : index
            %one = arith.constant 1 : index
            %threads = arith.constant 32 : index
            scf.parallel (%b_) = (%zero) to (%one) step (%one) {{
              scf.parallel (%t) = (%zero) to (%threads) step (%one) {{
                {body}
              }} {{calque.map = "thread"}}
            }} {{calque.map = "block"}}
            func.return
          }}"""


def _everything(ty: str, width: int) -> str:
    """A kernel with every operation on a type."""
    k = _Body(ty, width)
    kind = "i" if ty[0] == "i" else "f"
    if ty in ("f32", "f64"):
        for name in FLOAT_BINARY:
            k.add(f"{name} %a, %b : {k.type}", ty)
        for name in FLOAT_UNARY:
            k.add(f"{name} %a : {k.type}", ty)
        k.add(f"math.fma %a, %b, %b : {k.type}", ty)
        k.add(f"arith.cmpf olt, %a, %b : {k.type}", "i1")
    elif kind == "i":
        for name in INTEGER_BINARY:
            k.add(f"{name} %a, %b : {k.type}", ty)
        k.add(f"arith.cmpi ult, %a, %b : {k.type}", "i1")
        if ty in ("i32", "i64"):
            for name in INTEGER_UNARY:
                k.add(f"{name} %a : {k.type}", ty)
    for cast in CASTS.get(ty, "").split():
        name, target = cast.split(":")
        k.add(f"arith.{name} %a : {k.type} to {k.of(target)}", target)
    if width > 1 and ty not in ("f16", "bf16", "index"):
        _vectors(k, kind)
    return k.text()


def _vectors(k: _Body, kind: str) -> None:
    ty, width = k.scalar, k.width
    masks, memory = f"vector<{width}xi1>", f"memref<64x{ty}>"
    k.lines += [
        f"%mask = vector.create_mask %t : {masks}",
        f"%ml = vector.maskedload %ma[%t], %mask, %a : {memory}, {masks}, {k.type} into {k.type}",
        f"vector.maskedstore %mb[%t], %mask, %ml : memref<64x{ty}>, {masks}, {k.type}",
        f"%at = vector.broadcast %t : index to vector<{width}xindex>",
    ]
    k.add(
        f"tile.gather %ma[%t], %at, %mask : memref<64x{ty}>, vector<{width}xindex>, {masks} "
        f"into {k.type}",
        ty,
    )
    for name in REDUCTIONS[kind]:
        n = len(k.lines)
        k.lines.append(f"%s{n} = vector.reduction <{name}>, %a : {k.type} into {ty}")
        k.add(f"vector.broadcast %s{n} : {ty} to {k.type}", ty)


COMPILE = """
import sys
from pathlib import Path
from calque.codegen.nvptx import compile_ptx
from calque.ir.target import Target
for path in sys.argv[2:]:
    text = Path(path).read_text()
    Path(path).with_suffix(".ptx").write_text(compile_ptx(text, Target.nvptx(sys.argv[1])))
"""


@pytest.fixture(scope="module")
def texts(tmp_path_factory: pytest.TempPathFactory) -> list[Path]:
    """LLVM modules with every operation, on every type, in every width."""
    folder = tmp_path_factory.mktemp("operations")
    paths = []
    for ty in TYPES:
        for width in WIDTHS:
            (op,) = functions(parse(_everything(ty, width))).values()
            path = folder / f"{ty}-{width}.ll"
            path.write_text(device_text(op, Target.nvptx("sm_80")).text)
            paths.append(path)
    return paths


@pytest.mark.parametrize("arch", ["sm_75", "sm_90a"])
def test_llvm_selects_everything(arch: str, texts: list[Path]) -> None:
    compile_all(arch, texts)


def compile_all(arch: str, texts: list[Path]) -> None:
    names = [str(path) for path in texts]
    command = [sys.executable, "-c", COMPILE, arch, *names]
    result = subprocess.run(
        command, capture_output=True, text=True, check=False, env={"PYTHONPATH": ":".join(sys.path)}
    )
    assert result.returncode == 0, result.stderr[-2000:]


@pytest.mark.slow
@pytest.mark.parametrize("arch", ARCHS)
def test_ptxas_assembles_everything(arch: str, texts: list[Path], tmp_path: Path) -> None:
    compile_all(arch, texts)
    for path in texts:
        command = [needs.ptxas(), f"-arch={arch}", str(path.with_suffix(".ptx"))]
        command += ["-O1", "-o", str(tmp_path / "cubin")]
        result = subprocess.run(command, capture_output=True, text=True, check=False)
        assert result.returncode == 0, result.stderr[-2000:]
