"""The methods of `Tensor`: PyTorch's names and signatures over the operators, by topic."""

from __future__ import annotations

from .methods_convert import Conversions
from .methods_inplace import InPlace
from .methods_operators import Operators
from .methods_pointwise import Pointwise
from .methods_reduce import Reductions
from .methods_shape import Shapes


class Methods(Operators, Pointwise, Reductions, Shapes, InPlace, Conversions):
    """Mixin: every method is one operator or a short composition."""
