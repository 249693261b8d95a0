"""What xDSL's operations leave out of MLIR's text and our programs need."""

from __future__ import annotations

from .floatbits import allow_float_bits
from .linalgtext import allow_several_results
from .scfparallel import allow_pretty_parallel
from .tensorshape import allow_scalar_reshapes
from .vectorarith import allow_vectors


def complete_xdsl() -> None:
    """Teach xDSL's operations what MLIR's can do and our text uses."""
    allow_float_bits()
    allow_vectors()
    allow_pretty_parallel()
    allow_several_results()
    allow_scalar_reshapes()
