"""What the compiler hands over: object code, and all that is needed to call it without it.

An artifact is plain data. Its serialized form is a checksum, a JSON header and the raw object
code; reading one executes nothing.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Literal

_MAGIC = b"calque\x00\x02"  # the last byte is the version of the format
_DIGEST = hashlib.sha256().digest_size

Role = Literal["input", "state", "output"]


class ArtifactError(ValueError):
    """Bytes that are not an artifact, or not an undamaged one of this version."""


@dataclass(frozen=True, slots=True)
class KernelObject:
    """One kernel, called `name` by the host function.

    `code` defines `symbol`; kernels of equal structure share their code. `messages` are those of
    its assertions: status `1 + i` stands for `messages[i]`. `source` says what was fused into
    it and where the user wrote it. It needs `scratch` bytes of memory for the time of a call, and
    `thread_scratch` bytes more for each thread.
    """

    name: str
    code: bytes
    messages: tuple[str, ...] = ()
    symbol: str = "kernel"
    source: tuple[str, ...] = ()
    scratch: int = 0
    thread_scratch: int = 0


@dataclass(frozen=True, slots=True)
class ParamSpec:
    """One array that the host function takes.

    `dtype` is the element's name ("f32", "i64", "bool" …). `dims` are integers, symbol names,
    or expressions over symbols (see `sizes`). `role`: an input is read, an output written, and
    state is both. `alias` is the index of the parameter whose memory an output takes over.
    `strides`, in elements, is None for a contiguous array; otherwise its entries are integers
    where code generation relied on them and None where they are passed at run time.
    """

    name: str
    dtype: str
    dims: tuple[int | str, ...]
    role: Role = "input"
    alias: int | None = None
    strides: tuple[int | None, ...] | None = None

    def __post_init__(self) -> None:
        if self.role not in ("input", "state", "output"):
            raise ValueError(f"{self.name}: a parameter cannot be {self.role!r}")
        if self.strides is not None and len(self.strides) != len(self.dims):
            raise ValueError(f"{self.name}: {len(self.strides)} strides for rank {self.rank}")

    @property
    def rank(self) -> int:
        """The number of dimensions."""
        return len(self.dims)

    @property
    def strided(self) -> bool:
        """Whether the array may be other than contiguous."""
        return self.strides is not None


@dataclass(frozen=True, slots=True)
class Artifact:
    """A compiled program: a host function that calls kernels.

    `host` is object code that defines `entry` and `plan_entry`, and calls kernels by name.
    `call_names[i]` is the kernel of the host's i-th call, `host_messages` belong to the host's
    own assertions. The host's arguments are `params`, the arena, `scalars` (names of dtypes) and
    `symbols`, each kind in order. `kind`, `triple` and `features` say what machine it is for.
    """

    kernels: tuple[KernelObject, ...]
    host: bytes
    call_names: tuple[str, ...] = ()
    host_messages: tuple[str, ...] = ()
    params: tuple[ParamSpec, ...] = ()
    symbols: tuple[str, ...] = ()
    scalars: tuple[str, ...] = ()
    entry: str = "main"
    plan_entry: str = "main.plan"
    kind: str = "cpu"
    triple: str = ""
    features: str = ""

    def __post_init__(self) -> None:
        names = [kernel.name for kernel in self.kernels]
        if len(set(names)) != len(names):
            raise ValueError("two kernels have the same name")
        if unknown := set(self.call_names) - set(names):
            raise ValueError(f"the host calls kernels that do not exist: {sorted(unknown)}")

    def to_bytes(self) -> bytes:
        """The serialized form."""
        blobs: dict[bytes, int] = {}
        header = asdict(self)
        for holder, key in [(header, "host"), *((k, "code") for k in header["kernels"])]:
            holder[key] = blobs.setdefault(holder[key], len(blobs))
        header["blobs"] = [len(blob) for blob in blobs]
        text = json.dumps(header, separators=(",", ":")).encode()
        body = b"".join([len(text).to_bytes(8, "little"), text, *blobs])
        return _MAGIC + hashlib.sha256(body).digest() + body

    @staticmethod
    def from_bytes(data: bytes) -> Artifact:
        """The artifact that `to_bytes` wrote. Raises ArtifactError."""
        start = len(_MAGIC) + _DIGEST
        if data[: len(_MAGIC) - 1] != _MAGIC[:-1]:
            raise ArtifactError("this is not a compiled calque program")
        if data[: len(_MAGIC)] != _MAGIC:
            raise ArtifactError("this program was compiled by another version of calque")
        body = data[start:]
        if hashlib.sha256(body).digest() != data[len(_MAGIC) : start]:
            raise ArtifactError("this compiled program is damaged (its checksum is wrong)")
        at = 8 + int.from_bytes(body[:8], "little")
        header: dict[str, Any] = json.loads(body[8:at])
        blobs: list[bytes] = []
        for size in header.pop("blobs"):
            blobs.append(body[at : at + size])
            at += size
        header["host"] = blobs[header["host"]]
        header["kernels"] = [k | {"code": blobs[k["code"]]} for k in header["kernels"]]
        kernels = tuple(KernelObject(**_tuples(k)) for k in header.pop("kernels"))
        params = tuple(ParamSpec(**_tuples(p)) for p in header.pop("params"))
        return Artifact(kernels=kernels, params=params, **_tuples(header))


def _tuples(fields: dict[str, Any]) -> dict[str, Any]:
    """JSON has lists where the dataclasses have tuples."""
    return {k: tuple(v) if isinstance(v, list) else v for k, v in fields.items()}


def dynamic_dims(params: Iterable[ParamSpec]) -> int:
    """How many dimensions are known at run time only."""
    return sum(isinstance(dim, str) for param in params for dim in param.dims)
