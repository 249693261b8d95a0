"""Running compiled programs.

A call costs one crossing into native code: what depends on sizes only (the arena's size, the
shapes of outputs, the array of sizes that kernels read) is prepared once per tuple of sizes and
kept. Calls lease their arena, share nothing that changes, and release the interpreter lock: an
executable may be called from any number of threads at once.

Native code is not interrupted: Python sees Ctrl-C when the call returns. So an interrupt finds a
program's state wholly old or wholly new, but a long call delays it.
"""

from __future__ import annotations

import ctypes
import struct
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from . import jit
from .artifact import Artifact, ParamSpec, dynamic_dims
from .memory import ALIGNMENT, give_back, lease
from .sizes import evaluate, row_major
from .threads import parallel_for_address, workers

_ENTRY = ctypes.CFUNCTYPE(
    ctypes.c_int32, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)
_PLAN = ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_void_p)

_PARALLEL_FOR = "calque_parallel_for"

# A scalar takes an 8-byte slot, its value at the beginning.
_SLOTS = {
    "f64": "d",
    "f32": "f4x",
    "f16": "e6x",
    "i64": "q",
    "i32": "i4x",
    "i16": "h6x",
    "i8": "b7x",
    "u64": "Q",
    "u32": "I4x",
    "u16": "H6x",
    "u8": "B7x",
    "bool": "?7x",
    "i1": "?7x",
}

# Prepared calls kept per executable; programs see few sizes, and one that sees more starts over.
_PREPARED = 4096

Strides = Sequence[Sequence[int] | None]


class KernelError(RuntimeError):
    """A check in native code failed.

    `message` is the check's own, `call` the kernel (or host function) that it is in, `source`
    what was fused into that kernel, with the user's lines.
    """

    def __init__(self, message: str, call: str, source: tuple[str, ...] = ()) -> None:
        where = f" ({'; '.join(source)})" if source else ""
        super().__init__(f"{message}\n  in {call}{where}")
        self.message = message
        self.call = call
        self.source = source

    def __reduce__(self) -> tuple[type[KernelError], tuple[str, str, tuple[str, ...]]]:
        return KernelError, (self.message, self.call, self.source)


class Plan(NamedTuple):
    """What sizes determine: `arena_bytes` of scratch memory, and `output_dims`, the dynamic
    dimensions of all outputs in order."""

    arena_bytes: int
    output_dims: tuple[int, ...]


class _Program:
    """An artifact's code, loaded."""

    def __init__(self, artifact: Artifact) -> None:
        if artifact.kind != "cpu":
            raise ValueError(f"a program for {artifact.kind} cannot run on the processor")
        if missing := jit.missing_features(artifact.features):
            raise jit.LinkError(
                f"the program was compiled for a processor with {', '.join(missing)}, which this "
                "one does not have; compile it here"
            )
        try:
            scalars = "".join(_SLOTS[dtype] for dtype in artifact.scalars)
        except KeyError as error:
            raise ValueError(f"scalars of type {error} cannot be passed") from error
        self.artifact = artifact
        self.library = _link(artifact)
        self.entry = _ENTRY(self.library.address(artifact.entry))
        self.plan = _PLAN(self.library.address(artifact.plan_entry))
        self.scratch = max((k.scratch for k in artifact.kernels), default=0)
        self.thread_scratch = max((k.thread_scratch for k in artifact.kernels), default=0)
        self.workers = workers() if self.thread_scratch else ctypes.c_int64(0)
        # Behind the arena comes what kernels get as their context: scratch, number of threads.
        self.pack_pointers = struct.Struct(f"={len(artifact.params) + 3}Q").pack
        self.pack_scalars = struct.Struct(f"={scalars}").pack

    def failure(self, status: int) -> KernelError:
        """What a status other than 0 says: call index and code, a byte, which counts from 1."""
        call, code = status >> 8, status & 255
        artifact = self.artifact
        messages, name, source = artifact.host_messages, artifact.entry, ()
        if 0 <= call < len(artifact.call_names):
            name = artifact.call_names[call]
            kernel = next(k for k in artifact.kernels if k.name == name)
            messages, source = kernel.messages, kernel.source
        known = 1 <= code <= len(messages)
        return KernelError(messages[code - 1] if known else f"status {status}", name, source)


def _link(artifact: Artifact) -> jit.Library:
    """Loads the host with its kernels. Each distinct kernel is a library of its own, since all
    of them may define the same symbol."""
    loaded: dict[tuple[bytes, str], jit.Library] = {}
    addresses: dict[str, int] = {}
    for kernel in artifact.kernels:
        key = kernel.code, kernel.symbol
        if key not in loaded:
            loaded[key] = jit.load(
                {kernel.name: kernel.code}, _imports(kernel.code), exports=[kernel.symbol]
            )
        addresses[kernel.name] = loaded[key].address(kernel.symbol)
    exports = [artifact.entry, artifact.plan_entry]
    addresses |= _imports(artifact.host)
    return jit.load({"the host": artifact.host}, addresses, exports, keep=loaded.values())


def _imports(code: bytes) -> dict[str, int]:
    """What the runtime has to offer, of what object code needs; the thread pool is loaded only
    for programs that use it."""
    needed = jit.undefined_symbols(code)
    if needed is None or _PARALLEL_FOR in needed:
        return {_PARALLEL_FOR: parallel_for_address()}
    return {}


class Call:
    """An executable with its sizes filled in.

    `shapes` are those of all parameters, in order; outputs are to be allocated accordingly.
    """

    __slots__ = ("_bytes", "_program", "_scratch_at", "_sizes", "arena_bytes", "shapes")

    def __init__(
        self, program: _Program, shapes: tuple[tuple[int, ...], ...], arena: int, sizes: bytes
    ) -> None:
        self._program = program
        self._sizes = sizes
        # Scratch lies behind the arena; each worker of the pool adds its part at the end.
        self._scratch_at = -(-arena // ALIGNMENT) * ALIGNMENT
        self._bytes = self._scratch_at + program.scratch + program.thread_scratch
        self.arena_bytes = arena
        self.shapes = shapes

    def run(
        self,
        pointers: Sequence[int],
        scalars: Sequence[float] = (),
        counters: ctypes.Array[ctypes.c_int64] | None = None,
        ran: list[int] | None = None,
    ) -> None:
        """Runs the program on the arrays at `pointers`, one for each parameter.

        `counters`, one for each of `artifact.call_names`, receive the cycles that each call of a
        kernel took, added to what they hold. `ran` receives the status of the program once it has
        run, also where a signal keeps this function from returning.

        The addresses must be aligned to 64 bytes where the parameter is not strided, and the
        memory must be as large as the shapes say: nothing here can check that. Raises
        KernelError where a check fails; outputs are then undefined, and state is unchanged.
        """
        program = self._program
        found = [] if ran is None else ran
        # If threads are added meanwhile, those for which there is no scratch take no part.
        workers = program.workers.value
        arena = lease(self._bytes + workers * program.thread_scratch)
        try:
            at = arena.ptr
            packed = program.pack_pointers(*pointers, at, at + self._scratch_at, workers + 1)
            given = counters, packed, self._sizes, program.pack_scalars(*scalars)
            # One call from C to C: a signal is handled before it, or when the status is kept.
            found.extend(map(program.entry, *((x,) for x in given)))
        except struct.error as error:
            artifact = program.artifact
            raise TypeError(
                f"the program takes {len(artifact.params)} pointers, got {len(pointers)}, and "
                f"scalars ({', '.join(artifact.scalars)}), got {tuple(scalars)}: {error}"
            ) from error
        finally:
            give_back(arena)
        if found[-1]:
            raise self.failure(found[-1])

    def failure(self, status: int) -> KernelError:
        """What a status other than 0 says."""
        return self._program.failure(status)

    def native(self) -> tuple[int, int, int, int, int, int]:
        """What calls the program besides `run`: the addresses of the program and of the sizes;
        bytes of the arena, of arena and scratch, and more for each worker; and the address of the
        number of workers. They are valid as long as the call lives."""
        program = self._program
        if program.artifact.scalars:
            raise TypeError("a program that takes scalars is called by run()")
        return (
            program.library.address(program.artifact.entry),
            ctypes.cast(ctypes.c_char_p(self._sizes), ctypes.c_void_p).value or 0,
            self._scratch_at,
            self._bytes,
            program.thread_scratch,
            ctypes.addressof(program.workers),
        )

    @property
    def scratch_bytes(self) -> int:
        """Memory that kernels take for the time of a call, with the current number of threads."""
        program = self._program
        return program.scratch + (1 + program.workers.value) * program.thread_scratch


class Executable:
    """A loaded program. It is unloaded when nothing refers to it or to its calls."""

    def __init__(self, artifact: Artifact) -> None:
        self.artifact = artifact
        self._program = _Program(artifact)
        self._plans: dict[tuple[int, ...], Plan] = {}
        self._calls: dict[tuple[object, ...], Call] = {}

    def plan(self, sizes: Sequence[int]) -> Plan:
        """What the given values of `artifact.symbols` determine; kept after the first time."""
        key = tuple(sizes)
        found = self._plans.get(key)
        if found is None:
            artifact = self.artifact
            if len(key) != len(artifact.symbols):
                raise TypeError(f"expected values for {artifact.symbols}, got {key}")
            count = 1 + dynamic_dims(p for p in artifact.params if p.role == "output")
            out = (ctypes.c_int64 * count)()
            self._program.plan((ctypes.c_int64 * len(key))(*key), out)
            if len(self._plans) >= _PREPARED:
                self._plans.clear()
            found = self._plans[key] = Plan(out[0], tuple(out[1:]))
        return found

    def sizes_of(
        self, shapes: Sequence[Sequence[int]], given: Mapping[str, int] | None = None
    ) -> tuple[int, ...]:
        """The values of `artifact.symbols` for inputs (and state) of the given shapes.

        `given` are values of symbols that are not the size of any dimension. Raises ValueError
        if the shapes do not fit the program, naming the input.
        """
        params = [p for p in self.artifact.params if p.role != "output"]
        if len(params) != len(shapes):
            raise ValueError(f"expected {len(params)} inputs, got {len(shapes)}")
        values = dict(given or {})
        for param, shape in zip(params, shapes, strict=True):
            if len(shape) != param.rank:
                raise ValueError(_mismatch(param, shape))
            for dim, extent in zip(param.dims, shape, strict=True):
                if dim in self.artifact.symbols:
                    values.setdefault(str(dim), extent)
        for param, shape in zip(params, shapes, strict=True):
            if _evaluate(param, values) != tuple(shape):
                raise ValueError(_mismatch(param, shape, values))
        if unknown := [name for name in self.artifact.symbols if name not in values]:
            raise ValueError(f"no input says what {', '.join(unknown)} is; give it")
        return tuple(values[name] for name in self.artifact.symbols)

    def prepare(self, sizes: Sequence[int], strides: Strides = ()) -> Call:
        """The call for the given values of `artifact.symbols`; kept after the first time.

        `strides`, in elements, has an entry for each parameter, None for a contiguous one; an
        empty sequence says that all are contiguous. Raises ValueError where they contradict the
        strides that the program was compiled for.
        """
        key = tuple(sizes), tuple(None if s is None else tuple(s) for s in strides)
        found = self._calls.get(key)
        if found is None:
            if len(self._calls) >= _PREPARED:
                self._calls.clear()
            found = self._calls[key] = self._prepare(*key)
        return found

    def _prepare(self, sizes: tuple[int, ...], strides: tuple[tuple[int, ...] | None, ...]) -> Call:
        artifact = self.artifact
        plan = self.plan(sizes)
        values = dict(zip(artifact.symbols, sizes, strict=True))
        if strides and len(strides) != len(artifact.params):
            raise ValueError(f"expected {len(artifact.params)} strides, got {len(strides)}")
        output_dims = iter(plan.output_dims)
        shapes: list[tuple[int, ...]] = []
        words: list[int] = []
        for i, param in enumerate(artifact.params):
            if param.role == "output":
                shape = tuple(d if isinstance(d, int) else next(output_dims) for d in param.dims)
            else:
                shape = _evaluate(param, values)
            shapes.append(shape)
            words += (n for n, dim in zip(shape, param.dims, strict=True) if isinstance(dim, str))
            words += _run_time_strides(param, shape, strides[i] if strides else None)
        words += (plan.arena_bytes, *sizes)
        packed = struct.pack(f"={len(words)}q", *words)
        return Call(self._program, tuple(shapes), plan.arena_bytes, packed)

    def run(
        self,
        pointers: Sequence[int],
        sizes: Sequence[int] = (),
        scalars: Sequence[float] = (),
        strides: Strides = (),
    ) -> None:
        """`prepare(sizes, strides).run(pointers, scalars)`."""
        self.prepare(sizes, strides).run(pointers, scalars)


def _evaluate(param: ParamSpec, values: Mapping[str, int]) -> tuple[int, ...]:
    """The shape of a parameter for given values of the symbols."""
    try:
        return tuple(evaluate(dim, values) for dim in param.dims)
    except KeyError as error:
        raise ValueError(
            f"{param.name}: nothing says what {error} is in shape ({_dims(param)})"
        ) from error


def _dims(param: ParamSpec) -> str:
    return ", ".join(map(str, param.dims))


def _run_time_strides(
    param: ParamSpec, shape: tuple[int, ...], given: tuple[int, ...] | None
) -> list[int]:
    """The strides that are passed to the program, after a look at those that are not."""
    strides = row_major(shape) if given is None else given
    expected = row_major(shape) if param.strides is None else param.strides
    # The stride of a dimension of size 1 is never used, and nothing is where a size is 0.
    fits = len(strides) == len(expected) and all(
        e is None or n == 1 or s == e for s, e, n in zip(strides, expected, shape, strict=True)
    )
    if not fits and 0 not in shape:
        raise ValueError(f"{param.name}: expected strides {expected}, got {strides}")
    if param.strides is None:
        return []
    return [s for s, e in zip(strides, expected, strict=True) if e is None]


def _mismatch(
    param: ParamSpec, shape: Sequence[int], values: Mapping[str, int] | None = None
) -> str:
    known = ", ".join(f"{name} = {value}" for name, value in (values or {}).items())
    where = f" where {known}" if known else ""
    return f"{param.name}: expected shape ({_dims(param)}){where}, got {tuple(shape)}"
