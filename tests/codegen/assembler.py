"""NVIDIA's assembler, where there is one."""

from __future__ import annotations

import subprocess
from pathlib import Path

import needs


def assemble(text: str, arch: str, folder: Path) -> str:
    """What ptxas reports about registers and spills; a failure is an error."""
    source = folder / "kernel.ptx"
    source.write_text(text)
    command = [needs.ptxas(), f"-arch={arch}", "-v", str(source), "-o", str(folder / "cubin")]
    result = subprocess.run(command, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stderr + text
    return result.stderr
