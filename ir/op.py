"""The operator contract: one class tells an operator's whole story.

An operator is a subclass of `Op` in `ir/ops/<family>.py` with

- `name`, the name in IR text; `ATTRS`, its static attributes and their codecs;
- `infer`, shapes and dtypes of the results, which is also the verifier: it raises the error that
  a user sees;
- `vjp`, the reverse rule, written with the same functions that users call, and `SAVED`, the
  operands and results that the rule reads;
- its meaning: `body` (scalar arithmetic of an elementwise operator), `lower` (structured
  operations of the `linalg` stage), or `decompose` (other operators);
- `REFERENCE`, the same computation in NumPy; `samples`, inputs for the generated tests.

`bind(Op, operands, attrs)` applies an operator to operands of one of three kinds: IR values emit
an operation at the current builder, an object with `__calque_bind__` handles the call itself
(a Tensor executes or records), NumPy arrays run `REFERENCE`.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeAlias

import numpy as np
from xdsl.dialects.builtin import FileLineColLoc, IntAttr, LocationAttr, StringAttr
from xdsl.ir import Block, Operation, OpTraits, Region, SSAValue
from xdsl.traits import Pure
from xdsl.utils.exceptions import VerifyException

from . import dtype as dt
from .attrs import Codec
from .sym import Dim, UndecidedError
from .syntax import parse_op, print_op
from .types import TensorMeta, meta_of, to_type

if TYPE_CHECKING:
    from xdsl.parser import Parser
    from xdsl.printer import Printer

    from .lowering import LinalgBuilder
    from .pointwise import Tensor

# An operand: an IR value, an object with `__calque_bind__`, or a NumPy array.
Value: TypeAlias = Any


class Bindable(Protocol):
    """What a Tensor implements so that operators can be applied to it."""

    @staticmethod
    def __calque_bind__(op: type[Op], operands: Sequence[Value], attrs: dict[str, Any]) -> Any: ...

    def __calque_meta__(self) -> TensorMeta: ...


@dataclass(slots=True)
class Node:
    """One application of an operator, as a `vjp` sees it.

    `operands` and `results` hold None where `SAVED` does not declare them; shapes and dtypes are
    always there. `needs` says which operands want a gradient. `regions` are those of the operation,
    for rules of operators that have some; a rule clones what it uses of them.
    """

    op: type[Op]
    operands: Sequence[Value]
    results: Sequence[Value]
    attrs: Mapping[str, Any]
    operand_metas: Sequence[TensorMeta]
    result_metas: Sequence[TensorMeta]
    needs: Sequence[bool]
    regions: Sequence[Region] = ()


@dataclass(slots=True)
class Sample:
    """One input for the generated tests.

    `args` are NumPy arrays (operands), `attrs` the attributes. `error` names the exception and a
    part of its message for bad inputs. `grad` is False where finite differences do not apply
    (ties, kinks, integers).
    """

    args: tuple[np.ndarray, ...]
    attrs: dict[str, Any] = field(default_factory=dict)
    grad: bool = True
    error: tuple[type[Exception], str] | None = None


class Op(Operation):
    """Base class of the operators of the `calque` dialect."""

    name: ClassVar[str] = ""
    ATTRS: ClassVar[dict[str, Codec]] = {}
    # (operand indices, result indices) that `vjp` reads.
    SAVED: ClassVar[tuple[tuple[int, ...], tuple[int, ...]]] = ((), ())
    # `vjp` takes None for results without a cotangent; others get zeros.
    PARTIAL: ClassVar[bool] = False
    # The keyword before each region in text.
    REGIONS: ClassVar[tuple[str, ...]] = ()
    REFERENCE: ClassVar[Callable[..., Any] | None] = None
    # Value-changing freedom taken by the operator (dropout's random bits, …): never merged by cse.
    traits: ClassVar[OpTraits] = OpTraits(lambda: (Pure(),))

    @classmethod
    def infer(cls, *metas: TensorMeta, **attrs: Any) -> TensorMeta | tuple[TensorMeta, ...]:
        """Metas of the results. Raises RuntimeError, IndexError, TypeError … as PyTorch does."""
        raise NotImplementedError(cls.name)

    @classmethod
    def vjp(cls, node: Node, *cotangents: Value) -> Sequence[Value | None]:
        """Cotangents of the operands, None where there is none (the default).

        Raises NotImplementedError where a gradient exists and there is no rule for it.
        """
        return (None,) * len(node.operand_metas)

    @classmethod
    def lower(cls, b: LinalgBuilder, node: Node) -> Sequence[Tensor]:
        """The operator as operations of the `linalg` stage: see `ir/lowering.py`."""
        way = ": run the pass decompose before" if hasattr(cls, "decompose") else ""
        raise NotImplementedError(f"'{cls.name}' has no lowering{way}")

    @classmethod
    def work(cls, node: Node) -> Dim:
        """Scalar operations on elements, for reports; what only moves data takes none."""
        return 0

    @classmethod
    def samples(cls) -> Iterable[Sample]:
        """Inputs for the generated tests, edge cases and bad inputs included."""
        return ()

    @classmethod
    def fold(cls, node: Node) -> Sequence[Value] | None:
        """A simpler equal computation for `canonicalize`, built at the current builder, or None.

        `node.operands` and `node.results` are IR values here, all of them present.
        """
        return None

    @property
    def attrs(self) -> dict[str, Any]:
        """The static attributes as Python values."""
        return {k: c.decode(self.attributes[k]) for k, c in self.ATTRS.items()}

    def node(self, needs: Sequence[bool] | None = None) -> Node:
        """This operation as its rules see it, operands and results all present."""
        operands, results = tuple(self._operands), tuple(self.results)
        return Node(
            type(self),
            operands,
            results,
            self.attrs,
            [meta_of(v) for v in operands],
            [meta_of(v) for v in results],
            (True,) * len(operands) if needs is None else needs,
            self.regions,
        )

    def verify_(self) -> None:
        from .verify import environment

        missing = [k for k in self.ATTRS if k not in self.attributes]
        if missing:
            raise VerifyException(f"'{self.name}' lacks the attribute '{missing[0]}'")
        try:
            with environment(self):
                metas = [meta_of(v) for v in self._operands]
                inferred = infer(type(self), metas, self.attrs)
                expected = [meta_of(r) for r in self.results]
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            raise VerifyException(f"'{self.name}': {error}") from error
        if list(inferred) != expected:
            found = ", ".join(map(str, expected))
            wanted = ", ".join(map(str, inferred))
            raise VerifyException(f"'{self.name}' gives {wanted}, not {found}")

    def print(self, printer: Printer) -> None:
        print_op(self, printer)

    @classmethod
    def parse(cls, parser: Parser) -> Op:
        return parse_op(cls, parser)


def infer(
    op: type[Op], metas: Sequence[TensorMeta], attrs: Mapping[str, Any]
) -> tuple[TensorMeta, ...]:
    """The result metas of an operator, always a tuple."""
    result = op.infer(*metas, **attrs)
    return result if isinstance(result, tuple) else (result,)


class Builder:
    """Where IR values emit: appends to a block, or inserts before an operation of it.

    `with builder:` makes it current for this thread. `location` is called for each operation that
    is emitted without a location of its own.
    """

    def __init__(
        self,
        block: Block,
        before: Operation | None = None,
        location: Callable[[], LocationAttr | None] | None = None,
    ) -> None:
        self.block = block
        self.before = before
        self.location = location

    def insert(self, op: Operation) -> Operation:
        """Add an operation at this point."""
        if self.before is None:
            self.block.add_op(op)
        else:
            self.block.insert_op_before(op, self.before)
        return op

    def emit(
        self,
        op: type[Op],
        operands: Sequence[SSAValue],
        attrs: Mapping[str, Any],
        regions: Sequence[Region] = (),
    ) -> Op:
        """Infer, create and insert one operation."""
        metas = infer(op, [meta_of(v) for v in operands], attrs)
        made = op.create(
            operands=operands,
            result_types=[to_type(m) for m in metas],
            attributes={k: op.ATTRS[k].encode(v) for k, v in attrs.items()},
            regions=regions,
            location=self.location() if self.location is not None else None,
        )
        self.insert(made)
        return made

    def __enter__(self) -> Builder:
        _local.builders = [*_builders(), self]
        return self

    def __exit__(self, *exc: object) -> None:
        _local.builders = _builders()[:-1]


_local = threading.local()


def _builders() -> list[Builder]:
    return getattr(_local, "builders", [])


def current_builder() -> Builder:
    """The innermost builder of this thread. Raises RuntimeError outside of one."""
    builders = _builders()
    if not builders:
        raise RuntimeError("an IR value was used outside of the function that is being built")
    return builders[-1]


@lru_cache(maxsize=65536)
def file_location(file: str, line: int, column: int = 0) -> FileLineColLoc:
    """The location attribute of a source line."""
    return FileLineColLoc(StringAttr(file), IntAttr(line), IntAttr(column))


def bind(
    op: type[Op],
    operands: Sequence[Value],
    attrs: dict[str, Any] | None = None,
    like: Sequence[Value] = (),
) -> Any:
    """Apply an operator; returns one value, or a tuple where it has several results.

    `like` are witnesses: values that are no operands but say which kind of value is wanted
    (creation operators such as `constant` have no operands of their own).
    """
    attrs = attrs or {}
    witnesses = (*operands, *like) if like else operands
    for x in witnesses:
        handler = getattr(type(x), "__calque_bind__", None)
        if handler is not None:
            return handler(op, operands, attrs)
    if any(isinstance(x, SSAValue) for x in witnesses):
        results = current_builder().emit(op, operands, attrs).results
        return results[0] if len(results) == 1 else tuple(results)
    return evaluate(op, operands, attrs)


def evaluate(op: type[Op], operands: Sequence[Value], attrs: Mapping[str, Any]) -> Any:
    """Run the NumPy reference on arrays; results have the inferred dtype and shape."""
    arrays = [np.asarray(x) for x in operands]
    metas = infer(op, [array_meta(a) for a in arrays], attrs)
    if op.REFERENCE is None:
        raise NotImplementedError(f"'{op.name}' has no NumPy reference")
    with np.errstate(all="ignore"):
        results = op.REFERENCE(*arrays, **attrs)
        results = results if isinstance(results, tuple) else (results,)
        typed = [
            np.asarray(r).astype(m.dtype.numpy, copy=False)
            for r, m in zip(results, metas, strict=True)
        ]
    out = []
    for meta, array in zip(metas, typed, strict=True):
        if array.shape != tuple(meta.shape):
            raise AssertionError(f"the reference of '{op.name}' gave {array.shape}, not {meta}")
        out.append(array)
    return out[0] if len(out) == 1 else tuple(out)


def array_meta(array: np.ndarray) -> TensorMeta:
    """The meta of a NumPy array."""
    return TensorMeta(tuple(array.shape), dt.from_numpy(array.dtype))


def meta(value: Value) -> TensorMeta:
    """The meta of any operand: IR value, Tensor, or NumPy array."""
    handler = getattr(value, "__calque_meta__", None)
    if handler is not None:
        return handler()
    if isinstance(value, SSAValue):
        return meta_of(value)
    return array_meta(np.asarray(value))


__all__ = [
    "Bindable",
    "Builder",
    "Node",
    "Op",
    "Sample",
    "UndecidedError",
    "Value",
    "bind",
    "current_builder",
    "evaluate",
    "file_location",
    "infer",
    "meta",
]
