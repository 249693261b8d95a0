"""The examples run, at a small size."""

from __future__ import annotations

import os
import re
import subprocess
import sys

import pytest

from tree import ROOT


@pytest.mark.slow
def test_char_transformer() -> None:
    """It learns, in one compilation, and writes as many characters as it was asked for."""
    sizes = {"steps": 60, "layers": 2, "width": 64, "heads": 4, "context": 32, "batch": 8,
             "sample": 50, "rate": 3e-3}  # fmt: skip
    options = [f"--{name}={value}" for name, value in sizes.items()]
    run = subprocess.run(
        [sys.executable, ROOT / "examples" / "char_transformer.py", *options],
        env={**os.environ, "PYTHONPATH": str(ROOT / ".dev")},
        capture_output=True,
        text=True,
    )
    assert run.returncode == 0, run.stderr
    losses = [float(x) for x in re.findall(r"loss (\S+)", run.stdout)]
    assert losses[-1] < 3.3 and losses == sorted(losses, reverse=True)
    assert "compilations: 1" in run.stdout
    written = run.stdout.partition("compilations: 1\n")[2]
    assert len(written) == len("def ") + 50 + 1
