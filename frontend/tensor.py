"""The one `Tensor` class: concrete (it has memory) or traced (it stands for a value of a program).

A concrete tensor is a view (offset, sizes, strides) on a `Storage`. A traced tensor is a chain of
view operators on a `TracedStorage`, whose current value a write replaces. Which of the two a
tensor is never shows in user code, except where data are asked of a traced one.
"""

from __future__ import annotations

import weakref
from collections.abc import Iterator, Sequence
from functools import cache
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np

from ..ir.dtype import DType
from ..ir.errors import runtime_error, type_error
from ..ir.op import Op
from ..ir.ops._common import normalize_dim
from ..ir.types import Shape, TensorMeta
from .current import current_trace
from .guards import Epoch
from .methods import Methods
from .storage import Fields, Ints, Storage, as_numpy, contiguous_strides, is_contiguous
from .symint import Size, wrap

if TYPE_CHECKING:
    from .autograd import GradNode
    from .traced import TracedStorage, ViewStep


class Tensor(Fields, Methods):
    """A multi-dimensional array of one dtype on one device, made by `calque.tensor` and others."""

    # What most tensors do not have is the class's, which makes them quicker to make.
    _chain: tuple[ViewStep, ...] = ()
    _base: Tensor | None = None
    _view: tuple[type[Op], dict[str, Any]] | None = None
    _seen: int = 0  # of a view: how many of its storage's `rebased` it knows; -1 for detached ones
    _grad: Tensor | None = None
    _grad_fn: GradNode | None = None
    _output: int = 0
    _captured: bool = False  # a compiled program refers to it
    __calque_weak__: bool = False  # it stands for a Python float, and promotes as one

    __array_priority__ = 1000  # NumPy arrays defer to our operators

    @classmethod
    def _concrete(
        cls, storage: Storage, meta: TensorMeta, strides: Ints | None = None, offset: int = 0
    ) -> Tensor:
        """A tensor over memory; row-major strides where none are given."""
        self = object.__new__(cls)
        self._meta = meta
        self._storage = storage
        self._strides = contiguous_strides(self._sizes) if strides is None else strides
        self._offset = offset
        self._requires_grad = False
        return self

    def _again(self, meta: TensorMeta | None = None) -> Tensor:
        """The same memory without history, of another shape where a meta is given: one that
        differs by sizes of 1."""
        storage: Any = self._storage
        return Tensor._concrete(storage, meta or self._meta, self._strides, self._offset)

    @classmethod
    def _traced(
        cls, storage: TracedStorage, meta: TensorMeta, chain: tuple[ViewStep, ...] = ()
    ) -> Tensor:
        """A tensor over a value of the program that is being traced."""
        self = Tensor._blank(meta)
        self._storage = storage
        self._chain = chain
        storage.tensors.append(weakref.ref(self))
        return self

    @classmethod
    def _blank(cls, meta: TensorMeta) -> Tensor:
        self = object.__new__(cls)
        self._meta = meta
        self._offset = 0
        self._requires_grad = False
        return self

    # ---- what operators ask ---------------------------------------------------------------

    @staticmethod
    def __calque_bind__(op: type[Op], operands: Sequence[Any], attrs: dict[str, Any]) -> Any:
        return _dispatch().apply(op, operands, attrs)

    @staticmethod
    def __calque_array__(array: np.ndarray) -> Tensor:
        from .dispatch import tensor_of

        return tensor_of(array)

    def __calque_full__(self, array: np.ndarray, shape: Shape) -> Tensor:
        return _dispatch().filled(array, shape, self)

    def __calque_meta__(self) -> TensorMeta:
        return self._meta

    @property
    def _is_traced(self) -> bool:
        return not isinstance(self._storage, Storage)

    # ---- what it is -----------------------------------------------------------------------

    @property
    def shape(self) -> Size:
        """The sizes, symbolic ones included."""
        return Size(wrap(d) for d in self._meta.shape)

    def size(self, dim: int | None = None) -> Any:
        """The shape, or the size of one dimension."""
        return self.shape if dim is None else self.shape[normalize_dim(dim, self._meta.rank)]

    @property
    def dtype(self) -> DType:
        """The data type of the elements."""
        return self._meta.dtype

    @property
    def device(self) -> str:
        """The device that holds the data: "cpu", "cuda:0", "meta"."""
        return self._meta.device

    @property
    def ndim(self) -> int:
        """The number of dimensions."""
        return self._meta.rank

    def dim(self) -> int:
        """The number of dimensions."""
        return self._meta.rank

    def numel(self) -> Any:
        """The number of elements."""
        return wrap(self._meta.numel)

    def stride(self, dim: int | None = None) -> Any:
        """The strides in elements, or the stride of one dimension."""
        from .traced import strides_of

        strides = tuple(map(wrap, strides_of(self)))
        return strides if dim is None else strides[normalize_dim(dim, self._meta.rank)]

    def is_contiguous(self) -> bool:
        """Whether the elements lie row-major without gaps."""
        from .traced import strides_of

        return is_contiguous(self._meta.shape, strides_of(self))

    @property
    def _sizes(self) -> Ints:
        """The shape of a concrete tensor: plain ints."""
        return self._meta.shape  # type: ignore[return-value]

    def data_ptr(self) -> int:
        """The address of the first element."""
        return self._concrete_storage("data_ptr()").pointer + self._offset * self.dtype.itemsize

    def element_size(self) -> int:
        """Bytes per element."""
        return self.dtype.itemsize

    def is_floating_point(self) -> bool:
        """Whether the dtype is a float."""
        return self.dtype.is_floating_point

    # ---- data -----------------------------------------------------------------------------

    def _concrete_storage(self, wanted: str) -> Storage:
        if not isinstance(self._storage, Storage):
            from .traced import data_dependence

            raise data_dependence(self, wanted)
        return self._storage

    def _array(self, wanted: str = "the data") -> np.ndarray:
        """The elements as an array that shares the memory."""
        storage = self._concrete_storage(wanted)
        return as_numpy(storage, self.dtype, self._sizes, self._strides, self._offset)

    def _read(self, wanted: str) -> np.ndarray:
        """The elements for Python to look at: a program that is being traced depends on them."""
        trace = current_trace()
        if trace is not None:
            trace.read_data(self, wanted)
        return self._array(wanted)

    def numpy(self) -> np.ndarray:
        """The elements as an array that shares the memory. Raises where a gradient is tracked."""
        if self.requires_grad:
            raise runtime_error(
                "Can't call numpy() on Tensor that requires grad. Use tensor.detach().numpy() "
                "instead."
            )
        return self._read("numpy()")

    def __array__(self, dtype: Any = None, copy: bool | None = None) -> np.ndarray:
        array = self.numpy()
        return array.astype(dtype) if dtype is not None else array.copy() if copy else array

    def item(self) -> bool | int | float:
        """The one element as a Python number."""
        if self._is_traced or self._meta.numel != 1:
            self._concrete_storage("item()")
            raise runtime_error(
                f"a Tensor with {self._meta.numel} elements cannot be converted to Scalar"
            )
        return self._read("item()").item()

    def tolist(self) -> Any:
        """The elements as nested lists."""
        return self._read("tolist()").tolist()

    def __bool__(self) -> bool:
        if self._is_traced:
            self._concrete_storage("the truth value")
        if self._meta.numel != 1:
            what = "no values" if self._meta.numel == 0 else "more than one value"
            raise runtime_error(f"Boolean value of Tensor with {what} is ambiguous")
        return bool(self.item())

    def __int__(self) -> int:
        return int(self.item())

    def __float__(self) -> float:
        return float(self.item())

    def __round__(self, ndigits: int | None = None) -> Any:
        if not self.__calque_weak__:
            raise type_error("type Tensor doesn't define __round__ method")
        self._concrete_storage("round()")

    def __index__(self) -> int:
        if self.dtype.is_floating_point:
            raise type_error(
                "only integer tensors of a single element can be converted to an index"
            )
        return int(self.item())

    def __len__(self) -> int:
        if not self._meta.rank:
            raise type_error("len() of a 0-d tensor")
        return int(self.shape[0])

    def __iter__(self) -> Iterator[Tensor]:
        if not self._meta.rank:
            raise type_error("iteration over a 0-d tensor")
        return (self[i] for i in range(int(self.shape[0])))

    def __repr__(self) -> str:
        from .printing import tensor_text

        return tensor_text(self)

    def __format__(self, spec: str) -> str:
        """A number of one element is formatted as Python's numbers: f"{loss:.4f}"."""
        if spec and not self._meta.rank:
            return format(self.item(), spec)
        return format(repr(self), spec)

    def __reduce_ex__(self, protocol: Any) -> Any:
        array = self._array("pickling")
        data = array.tobytes()
        return _rebuild, (type(self), data, self.dtype, self._sizes, self._requires_grad)

    def __deepcopy__(self, memo: dict[int, Any]) -> Tensor:
        if self._grad_fn is not None:
            raise runtime_error(
                "Only Tensors created explicitly by the user support the deepcopy protocol"
            )
        rebuild, args = self.__reduce_ex__(4)
        memo[id(self)] = copied = rebuild(*args)
        return copied

    __hash__ = object.__hash__

    # ---- autograd -------------------------------------------------------------------------

    @property
    def requires_grad(self) -> bool:
        """Whether gradients flow to or through this tensor."""
        trace = current_trace()
        if trace is not None:
            return trace.tracks(self)
        if self._base is not None:
            from .autograd import refresh

            refresh(self)
        return self._requires_grad

    @requires_grad.setter
    def requires_grad(self, value: bool) -> None:
        self.requires_grad_(value)

    def requires_grad_(self, value: bool = True) -> Tensor:
        """Start or stop tracking gradients of a leaf."""
        if not self.is_leaf and not value:
            raise runtime_error(
                "you can only change requires_grad flags of leaf variables. If you want to use a "
                "computed variable in a subgraph that doesn't require differentiation use "
                "var_no_grad = var.detach()."
            )
        if value and not self.dtype.is_floating_point:
            raise runtime_error("only Tensors of floating point dtype can require gradients")
        if value and self._is_traced and not self._requires_grad:
            self._storage.trace.track_leaf(self)  # type: ignore[union-attr]
        self._track(value)
        return self

    def _track(self, value: bool) -> None:
        """Say whether it tracks gradients, which programs that refer to it depend on."""
        changes = self._captured and value is not self._requires_grad
        self._requires_grad = value
        if changes:
            Epoch.bump()

    @property
    def is_leaf(self) -> bool:
        """Whether no recorded operation made it."""
        if self._is_traced:
            return self._storage.trace.is_leaf(self)  # type: ignore[union-attr]
        return self._grad_fn is None

    @property
    def grad_fn(self) -> Any:
        """The recorded operation that made it, None for leaves."""
        if self._is_traced and not self.is_leaf:
            from .traced import origin

            return origin(self)
        from .autograd import refresh

        refresh(self)
        return self._grad_fn

    @property
    def grad(self) -> Tensor | None:
        """The gradient that `backward` accumulated."""
        trace = current_trace()
        return self._grad if trace is None else trace.get_grad(self)

    @grad.setter
    def grad(self, value: Tensor | None) -> None:
        if value is not None and value._meta.shape != self._meta.shape:
            raise runtime_error(
                f"attempting to assign a gradient of size '{list(value.shape)}' to a tensor of "
                f"size '{list(self.shape)}'. Please ensure that the gradient and the tensor are "
                "the same size"
            )
        trace = current_trace()
        if trace is None:
            self._grad = value
        else:
            trace.set_grad(self, value)

    def backward(
        self,
        gradient: Tensor | None = None,
        retain_graph: bool | None = None,
        create_graph: bool = False,
        inputs: Sequence[Tensor] | None = None,
    ) -> None:
        """Accumulate the gradients of this tensor into the `.grad` of the leaves."""
        from .autograd import backward

        backward(self, gradient, retain_graph, create_graph, inputs)

    @property
    def data(self) -> Tensor:
        """The same memory without gradient tracking."""
        return self.detach()

    @data.setter
    def data(self, value: Tensor) -> None:
        trace = current_trace()
        if trace is not None and trace.same_memory(self, value):
            return  # `x.data -= y`
        if value._is_traced or self._is_traced:
            raise runtime_error("assigning .data is not possible while tracing; use copy_()")
        Epoch.bump()  # who calls meanwhile looks, and again when all is done
        self._base = self._view = None
        self._storage, self._strides = value._storage, value._strides
        self._offset, self._meta = value._offset, value._meta
        Epoch.bump()


@cache  # an import takes as long as half an operation
def _dispatch() -> ModuleType:
    from . import dispatch

    return dispatch


def _rebuild(cls: type, data: bytes, dtype: DType, shape: Ints, requires_grad: bool) -> Tensor:
    from .creation import from_array

    made = from_array(np.frombuffer(data, dtype.numpy).reshape(shape).copy())
    if cls is not Tensor:
        made.__class__ = cls
    made._requires_grad = requires_grad
    return made


__all__ = ["Tensor"]
