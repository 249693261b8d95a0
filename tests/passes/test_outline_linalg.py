"""Programs that start at the `linalg` stage, compiled and run."""

from __future__ import annotations

import numpy as np

from calque import codegen
from calque.ir.target import Target
from calque.ir.text import from_text
from calque.passes.pipeline import Options, compile_pipeline
from calque.runtime.executable import Executable
from tree import ROOT

TEXT = ROOT / "tests" / "filecheck" / "outline-linalg" / "main.mlir"


def test_hand_written_program() -> None:
    module = from_text(TEXT.read_text())
    for _ in compile_pipeline(module, Options(verify=True), "lower-to-linalg"):
        pass
    program = Executable(codegen.compile_module(module, Target.host(), None))
    sizes = {"arg0_0": 5, "arg0_1": 7, "arg1_0": 7, "arg1_1": 9}
    call = program.prepare([sizes[s] for s in program.artifact.symbols])
    rng = np.random.default_rng(0)
    x, w = (rng.standard_normal(s).astype(np.float32) for s in call.shapes[:2])
    out = np.empty(call.shapes[2], np.float32)
    call.run([a.ctypes.data for a in (x, w, out)])
    product = x @ w
    wanted = np.exp(product - product.max(1, keepdims=True))
    np.testing.assert_allclose(out, np.pad(wanted, ((1, 0), (0, 2))), rtol=1e-5, atol=1e-6)
