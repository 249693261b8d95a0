"""The native entry: calls of compiled functions that go from Python's arguments to its results
without running Python, operations on tensors likewise, and how native code makes tensors and
buffers.

The code is LLVM IR (`objects.ll`, `recognize.ll`, `entry.ll`, `operate.ll`), compiled once like
`pool.ll`, and becomes builtin functions. It uses CPython's functions by their addresses, and reads
what lies in slots of tensors, storages and buffers as memory. So before it is used it is put to the
test: slots are found by what they hold, and an object that native code makes has to be the one that
Python would make. Where that fails, and on interpreters that are no CPython with a lock, there is
no native entry, and Python does all of it. So it does with CALQUE_NATIVE_ENTRY=0, which is read at
first use.
"""

from __future__ import annotations

import ctypes
import os
import sys
import threading
import warnings
from collections.abc import Callable, Sequence
from itertools import chain
from typing import Any, NamedTuple, TypeAlias

from . import jit, llvmtext, memory
from .executable import Call
from .memory import Buffer

# Of a new result: meta, strides, bytes; of what is written where it is: the index of its input.
Layout: TypeAlias = tuple[Any, tuple[int, ...], int] | int

# Inputs and results of a program whose call takes the native entry: it compares each with each.
_MOST = 2048

_FILES = ("objects.ll", "recognize.ll", "entry.ll", "operate.ll")
_SLOTS = {
    "tensor": ("meta", "storage", "strides", "offset", "requires_grad"),
    "storage": ("buffer", "version", "rebased"),
    "buffer": ("ptr", "nbytes", "readonly", "owner", "block", "freed"),
}
_NOARGS, _O, _FASTCALL = 0x4, 0x8, 0x80
_METHODS = {
    "py_call": _O,
    "py_operate": _FASTCALL,
    "py_new_tensor": _O,
    "py_make_buffer": _FASTCALL,
    "py_account": _O,
    "py_release": _NOARGS,
}
_POINTER = ctypes.c_void_p
_TP_NEW = 65  # a slot of types


def _python(name: str, result: Any, *arguments: Any) -> Any:
    """A function of CPython."""
    return ctypes.PYFUNCTYPE(result, *arguments)((name, ctypes.pythonapi))


class _Unsupported(Exception):
    """Something is not as native code needs it to be."""


class _MethodDef(ctypes.Structure):
    _fields_ = [
        ("name", ctypes.c_char_p),
        ("function", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("doc", ctypes.c_char_p),
    ]


class _Record(ctypes.Structure):
    """`%record` of recognize.ll."""

    _fields_ = [
        (name, ctypes.c_int64)
        for name in (
            "argument_count", "input_count", "result_count", "condition_count",
            "conditions", "arguments", "inputs", "results", "check", "single",
            "program", "sizes", "scratch_at", "bytes", "thread_scratch", "workers",
            "epochs", "epoch_name", "epoch",
        )
    ]  # fmt: skip


class Condition(NamedTuple):
    """What an attribute of an object, or what the object returns where there is no name, is."""

    object: Any
    name: str | None
    value: Any


class Conduct(NamedTuple):
    """What a native call looks at, and does.

    `arguments` are meta, strides and requires_grad of each argument. `epochs` has the epoch as an
    attribute, `epoch` is its name. `check`, called with the tuple of arguments, says whether all
    else is as it was. `inputs`, all that are no arguments, are captured tensors, or functions that
    return a number. With `single` the only result is returned, else a list of all.
    """

    arguments: Sequence[tuple[Any, tuple[int, ...], bool]]
    epochs: Any
    epoch: str
    conditions: Sequence[Condition]
    check: Callable[[Any], bool] | None
    inputs: Sequence[Any]
    layouts: Sequence[Layout]
    single: bool
    call: Call


class NativeCall:
    """`function(arguments)` returns None where Python has to look, a status other than 0 as an
    int, and otherwise results. It recognizes nothing before `believe` was told an epoch."""

    __slots__ = ("_record", "function")

    def __init__(self, function: Any, record: _Record) -> None:
        self.function = function
        self._record = record

    def believe(self, epoch: int) -> None:
        """All that is looked at only when the epoch changes was as it has to be in this one."""
        self._record.epoch = epoch


class Native:
    """The loaded code. There is one, from its first use to the end of the process."""

    def __init__(self, tensor: type, parameter: type, storage: type) -> None:
        self.tensor, self.storage = tensor, storage
        text = "\n".join(map(llvmtext.source, _FILES))
        code = llvmtext.compiled(text)
        places = _places(tensor, storage)
        objects = {
            "tensor": tensor, "parameter": parameter, "storage": storage, "buffer": Buffer,
            "list": list, "none": None, "false": False, "zero": 0, "nothing": (),
            "append": "append", "empty": Buffer.empty, "lease": memory.lease,
            "arenas": memory.arenas,
        }  # fmt: skip
        names = (*_METHODS, *places, *objects, "usage")
        self.library = jit.load({"the native entry": code}, _imports(code), names)
        address = self.library.address
        for name, value in places.items():
            ctypes.c_int64.from_address(address(name)).value = value
        for name, value in objects.items():
            ctypes.c_int64.from_address(address(name)).value = id(value)
        self._definitions = {
            name: _MethodDef(name.encode(), address(name), flags, None)
            for name, flags in _METHODS.items()
        }
        self._objects = objects
        self._new_function = _python(
            "PyCFunction_NewEx", ctypes.py_object, _POINTER, ctypes.py_object, _POINTER
        )
        self._usage = (ctypes.c_int64 * 2).from_address(address("usage"))
        # Builtin functions may live until the interpreter has ended, so the code does.
        ctypes.pythonapi.Py_IncRef(ctypes.py_object(self))
        # Of (meta, strides, nbytes, memory.blocks(nbytes)): a tensor over new memory.
        self.new_tensor: Callable[[tuple[Any, tuple[int, ...], int, Any]], Any]
        self.new_tensor = self._function("py_new_tensor")
        account, make = self._function("py_account"), self._function("py_make_buffer")
        new_method = _python("PyDescr_NewMethod", ctypes.py_object, ctypes.py_object, _POINTER)
        release = new_method(Buffer, ctypes.addressof(self._definitions["py_release"]))
        _test(self, release)
        memory.count_natively(self._usage, account, make, release)

    def _function(self, name: str, bound: Any = None) -> Any:
        return self._new_function(ctypes.addressof(self._definitions[name]), bound, None)

    def prepare(self, conduct: Conduct) -> NativeCall | None:
        """The native call that does this; None where Python has to do it."""
        call = conduct.call
        inputs = len(conduct.arguments) + len(conduct.inputs)
        if inputs + len(conduct.layouts) > _MOST:
            return None
        epoch = sys.intern(conduct.epoch)
        keep: list[Any] = [conduct, call, epoch]
        conditions = [_condition(c, keep) for c in conduct.conditions]
        results = [_result(layout, keep) for layout in conduct.layouts]
        arguments = [tuple(map(id, a)) for a in conduct.arguments]
        given = [(0 if isinstance(x, self.tensor) else 1, id(x)) for x in conduct.inputs]
        tables = [_table(rows) for rows in (conditions, arguments, given, results)]
        check = conduct.check
        record = _Record(
            len(arguments), inputs, len(results), len(conditions),
            *map(ctypes.addressof, tables), 0 if check is None else id(check), conduct.single,
            *call.native(), id(conduct.epochs), id(epoch), -1,
        )  # fmt: skip
        return NativeCall(self._function("py_call", _bound(record, tables, keep)), record)

    def operation(
        self, operands: Sequence[tuple[int, int]], layouts: Sequence[Layout], call: Call
    ) -> Callable[..., Any] | None:
        """A function of operands of known looks, of each of which is given how many bytes it
        reaches from its first element on, and what an element takes. It returns what the function
        of a `NativeCall` does, results as a list. None where Python has to do it."""
        if len(operands) + len(layouts) > _MOST:
            return None
        keep: list[Any] = [call]
        tables = [_table(operands), _table([_result(layout, keep) for layout in layouts])]
        given, results = map(ctypes.addressof, tables)
        count = len(operands)
        record = _Record(
            count, count, len(layouts), 0, 0, given, 0, results, 0, False, *call.native()
        )
        return self._function("py_operate", _bound(record, tables, keep))


def _bound(record: _Record, tables: Sequence[Any], keep: Sequence[Any]) -> tuple[Any, ...]:
    """What a function for a record is bound to: the address, and what has to live as long."""
    return ctypes.addressof(record), record, tuple(tables), tuple(keep)


def _condition(condition: Condition, keep: list[Any]) -> tuple[int, int, int]:
    name = None if condition.name is None else sys.intern(condition.name)
    keep.append(name)
    return id(condition.object), 0 if name is None else id(name), id(condition.value)


def _result(layout: Layout, keep: list[Any]) -> tuple[int, ...]:
    if isinstance(layout, int):
        return 0, 0, 0, 0, layout
    free = memory.blocks(layout[2])
    keep.append(free)
    return (*map(id, (*layout, free)), 0)


def _table(rows: Sequence[tuple[int, ...]]) -> ctypes.Array[ctypes.c_int64]:
    words = list(chain.from_iterable(rows))
    return (ctypes.c_int64 * len(words))(*words)


def _imports(code: bytes) -> dict[str, int]:
    """The functions of CPython that the code calls."""
    found: dict[str, int] = {}
    for name in jit.undefined_symbols(code) or ():
        if name == "object_new":
            get_slot = _python("PyType_GetSlot", _POINTER, ctypes.py_object, ctypes.c_int)
            found[name] = get_slot(object, _TP_NEW)
        elif name.startswith("Py"):
            function = getattr(ctypes.pythonapi, name)
            found[name] = ctypes.cast(function, ctypes.c_void_p).value or 0
    return found


def _places(tensor: type, storage: type) -> dict[str, int]:
    """Where slots are in objects."""
    header = object.__basicsize__
    places = {"object_type": header - 8}
    for name, kind in (("tensor", tensor), ("storage", storage), ("buffer", Buffer)):
        made = object.__new__(kind)
        if ctypes.c_size_t.from_address(id(made) + header - 8).value != id(kind):
            raise _Unsupported("the type of an object is not where it was looked for")
        for slot in _SLOTS[name]:
            attribute = next(a for a in (f"_{slot}", slot) if hasattr(kind, a))
            places[f"{name}_{slot}"] = _place(made, attribute)
    return places


def _place(made: Any, attribute: str) -> int:
    """Where an object holds an attribute, which is None afterwards."""
    mark = object()
    setattr(made, attribute, mark)
    words = (ctypes.c_size_t * (type(made).__basicsize__ // 8)).from_address(id(made))
    places = [8 * i for i, word in enumerate(words) if word == id(mark)]
    setattr(made, attribute, None)
    if len(places) != 1:
        raise _Unsupported(f"{attribute} of {type(made).__name__} is in {len(places)} places")
    return places[0]


def _test(native: Native, release: Any) -> None:
    """What native code makes is what Python would make, with a recycled block and without one."""
    kept = Buffer.empty(4)
    meta, strides, free = object(), (1,), [kept._block]
    kept._block = None
    for _ in range(2):
        made: Any = native.new_tensor((meta, strides, 4, free))
        storage, buffer = made._storage, made._storage.buffer
        fits = (
            type(made) is native.tensor
            and (made._meta, made._strides, made._offset) == (meta, strides, 0)
            and made._requires_grad is False
            and type(storage) is native.storage
            and (storage.version, storage.rebased) == (0, 0)
            and type(buffer) is Buffer
            and (buffer.nbytes, buffer.readonly, buffer._owner) == (4, False, None)
            and (buffer.ptr, free) == (buffer._block[0], [])
        )
        if fits and buffer._freed is free:
            block = buffer._block
            release(buffer)
            fits = buffer._block is None and free == [block]
            free.clear()
            buffer._block, buffer._freed = block, kept._freed
        if not fits:
            raise _Unsupported("an object that native code made is not what it has to be")


_lock = threading.RLock()
_loaded: list[Native | None] = []


def load(tensor: type, parameter: type, storage: type) -> Native | None:
    """The native code for these types of tensors, the same at each call; None where Python has to
    do without it."""
    with _lock:
        if not _loaded:
            _loaded.append(_load(tensor, parameter, storage) if supported() else None)
        return _loaded[0]


def supported() -> bool:
    """Whether native code may be tried: on a 64-bit CPython with a global lock."""
    return (
        os.environ.get("CALQUE_NATIVE_ENTRY") != "0"
        and sys.implementation.name == "cpython"
        and sys.maxsize == 2**63 - 1
        and "t" not in getattr(sys, "abiflags", "")
    )


def _load(tensor: type, parameter: type, storage: type) -> Native | None:
    try:
        return Native(tensor, parameter, storage)
    except (_Unsupported, AttributeError, jit.LinkError) as error:
        warnings.warn(f"calls take Python's slower way: {error}", RuntimeWarning, stacklevel=2)
        return None


if hasattr(os, "register_at_fork"):
    # A child must not find the lock held by a thread that exists in the parent only.
    os.register_at_fork(
        before=_lock.acquire, after_in_parent=_lock.release, after_in_child=_lock.release
    )
