"""`vector` (1-d) to LLVM IR."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from xdsl.dialects import vector
from xdsl.dialects.builtin import DYNAMIC_INDEX, VectorType
from xdsl.ir import Operation

from .emit_memref import alignment, nontemporal
from .errors import CodegenError
from .llvm import Fn, element, is_float, lanes
from .llvm import vector as vector_type
from .types import MemRef

if TYPE_CHECKING:
    from .emit import Emitter


LINE = 64
"""Bytes of a line of the caches."""


def _row(e: Emitter, op: Any) -> MemRef:
    """The memref of a vector access, whose inner dimension must be contiguous."""
    m = e.memrefs[op.base]
    if m.strides and m.strides[-1] != "1":
        raise CodegenError.at(op, f"the inner stride of {op.base.type} must be 1")
    return m


def load(e: Emitter, op: vector.LoadOp) -> None:
    ptr = _row(e, op).address(e.f, e.operands(op.indices))
    e.set(op, e.f.load(e.type(op.result), ptr, alignment(op), nontemporal(e, op)))


def store(e: Emitter, op: vector.StoreOp) -> None:
    ptr = _row(e, op).address(e.f, e.operands(op.indices))
    ty, value, metadata = e.type(op.vector), e.values[op.vector], nontemporal(e, op)
    if not metadata or alignment(op):
        e.f.store(ty, value, ptr, alignment(op), metadata)
        return
    # Only whole lines can go around the caches, and a user's array may begin anywhere.
    f = e.f
    around, through, stored = f.label("around"), f.label("through"), f.label("stored")
    address = f.emit(f"ptrtoint ptr {ptr} to i64")
    f.branch_if(f.icmp("eq", "i64", f.emit(f"and i64 {address}, {LINE - 1}"), "0"), around, through)
    f.place(around)
    f.store(ty, value, ptr, LINE, metadata)
    f.branch(stored)
    f.place(through)
    f.store(ty, value, ptr)
    f.branch(stored)
    f.place(stored)


def maskedload(e: Emitter, op: vector.MaskedLoadOp) -> None:
    ptr = _row(e, op).address(e.f, e.operands(op.indices), inbounds=False)
    ty, mask, other = e.type(op.result), e.values[op.mask], e.values[op.pass_thru]
    e.set(op, e.f.masked_load(ty, ptr, mask, other))


def maskedstore(e: Emitter, op: vector.MaskedStoreOp) -> None:
    ptr = _row(e, op).address(e.f, e.operands(op.indices), inbounds=False)
    value = op.value_to_store
    e.f.masked_store(e.type(value), e.values[value], ptr, e.values[op.mask])


def broadcast(e: Emitter, op: vector.BroadcastOp) -> None:
    source = op.source
    if isinstance(source.type, VectorType):
        if source.type != op.vector.type:
            raise CodegenError.at(op, f"{source.type} cannot be broadcast to {op.vector.type}")
        e.set(op, e.values[source])
    else:
        e.set(op, e.f.splat(e.type(op.vector), e.values[source]))


def fma(e: Emitter, op: vector.FMAOp) -> None:
    ty = e.type(op.res)
    e.check_wide(op, ty)
    a, b, c = e.operands(op.operands)
    e.set(op, e.f.fma(ty, a, b, c))


def create_mask(e: Emitter, op: vector.CreateMaskOp) -> None:
    width = lanes(e.type(op.mask_vector))
    e.set(op, e.f.mask(width, e.operand(op, 0)))


def _position(e: Emitter, op: vector.ExtractOp | vector.InsertOp) -> str:
    positions = op.static_position.get_values()
    if len(positions) != 1:
        raise CodegenError.at(op, "only single lanes of 1-d vectors are supported")
    if positions[0] == DYNAMIC_INDEX:
        return e.values[op.dynamic_position[0]]
    return str(positions[0])


def extract(e: Emitter, op: vector.ExtractOp) -> None:
    e.set(op, e.f.extract(e.type(op.vector), e.values[op.vector], _position(e, op)))


def insert(e: Emitter, op: vector.InsertOp) -> None:
    ty, position = e.type(op.dest), _position(e, op)
    e.set(op, e.f.insert(ty, e.values[op.dest], e.values[op.source], position))


def shuffle(e: Emitter, op: vector.ShuffleOp) -> None:
    """LLVM wants operands of one length: the shorter one is padded."""
    f, a, b = e.f, op.v1, op.v2
    ty_a, ty_b = e.type(a), e.type(b)
    indices = list(op.mask.get_values())
    n = max(lanes(ty_a), lanes(ty_b))
    left, right = _padded(f, ty_a, e.values[a], n), _padded(f, ty_b, e.values[b], n)
    shift = n - lanes(ty_a)
    moved = [i + shift if i >= lanes(ty_a) else i for i in indices]
    e.set(op, f.shuffle(vector_type(element(ty_a), n), left, right, moved))


def _padded(f: Fn, ty: str, value: str, width: int) -> str:
    n = lanes(ty)
    if n == width:
        return value
    return f.shuffle(ty, value, "poison", [*range(n), *[-1] * (width - n)])


def bitcast(e: Emitter, op: vector.BitcastOp) -> None:
    e.set(op, e.f.bitcast(e.type(op.source), e.values[op.source], e.type(op.result)))


def reduction(e: Emitter, op: vector.ReductionOp) -> None:
    """The halves are combined lane by lane until one lane is left: a fixed order, and few
    steps. An odd lane is combined last. The accumulator, if any, is the first operand of a
    final step."""
    f, kind = e.f, op.kind.data.value
    ty = e.type(op.vector)
    e.check_wide(op, ty)
    value, scalar, n = e.values[op.vector], element(ty), lanes(ty)
    extra: list[str] = []
    while n > 1:
        if n % 2:
            n -= 1
            extra.append(f.extract(ty, value, str(n)))
        low = f.shuffle(ty, value, "poison", range(n // 2))
        high = f.shuffle(ty, value, "poison", range(n // 2, n))
        n //= 2
        ty = vector_type(scalar, n)
        value = combine(f, kind, ty, low, high)
    result = f.extract(ty, value, "0")
    for lane in extra:
        result = combine(f, kind, scalar, result, lane)
    if op.acc is not None:
        result = combine(f, kind, scalar, e.values[op.acc], result)
    e.set(op, result)


def combine(f: Fn, kind: str, ty: str, a: str, b: str) -> str:
    """One step of a reduction of the given kind (`add`, `maximumf`, ...)."""
    if kind in ("add", "mul") and is_float(ty):
        return f.emit(f"f{kind} {ty} {a}, {b}")
    if kind in _OPCODES:
        return f.emit(f"{kind} {ty} {a}, {b}")
    return f.intrinsic(_INTRINSICS[kind], ty, a, b)


_OPCODES = ("add", "mul", "and", "or", "xor")

_INTRINSICS = {
    "minui": "llvm.umin",
    "minsi": "llvm.smin",
    "maxui": "llvm.umax",
    "maxsi": "llvm.smax",
    "minnumf": "llvm.minnum",
    "maxnumf": "llvm.maxnum",
    "minimumf": "llvm.minimum",
    "maximumf": "llvm.maximum",
}

HANDLERS: dict[type[Operation], Callable[[Any, Any], None]] = {
    vector.LoadOp: load,
    vector.StoreOp: store,
    vector.MaskedLoadOp: maskedload,
    vector.MaskedStoreOp: maskedstore,
    vector.BroadcastOp: broadcast,
    vector.FMAOp: fma,
    vector.CreateMaskOp: create_mask,
    vector.ExtractOp: extract,
    vector.InsertOp: insert,
    vector.ShuffleOp: shuffle,
    vector.BitcastOp: bitcast,
    vector.ReductionOp: reduction,
}
