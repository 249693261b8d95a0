"""Loading object code into the process, through LLVM's LLJIT.

Each `Library` is a separate scope: symbols of one are not visible to another except by address,
through `imports`.
"""

from __future__ import annotations

import ctypes
import os
import struct
import threading
from collections.abc import Iterable, Mapping
from functools import lru_cache

import llvmlite.binding as llvm

# An LLJIT keeps some 10 KiB for each library it ever held, unloaded or not. So one serves this many
# and is then left to those that still live in it; with the last of them it goes away.
_LIBRARIES_PER_JIT = 128

# What code generation may call without being told where it is: LLVM expands copies and fills to
# these.
_ALWAYS = ("memcpy", "memmove", "memset")


class LinkError(RuntimeError):
    """Object code that cannot be loaded: damaged, or in need of a symbol nobody has."""


class Library:
    """Loaded code. It is unloaded when the object goes away, and keeps what it calls loaded.

    Nothing else keeps the code in memory: whoever calls an address must hold the library.
    """

    __slots__ = ("__weakref__", "_keep", "_tracker")

    def __init__(self, tracker: llvm.ResourceTracker, keep: tuple[object, ...]) -> None:
        self._tracker = tracker
        self._keep = keep

    def address(self, symbol: str) -> int:
        """Where an exported symbol is; KeyError if it was not exported."""
        return self._tracker[symbol]


class _Linker:
    """The LLJIT that new libraries go to, made at first use."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.jit: llvm.LLJIT | None = None
        self.libraries = 0

    def link(self, builder: llvm.JITLibraryBuilder) -> llvm.ResourceTracker:
        """RuntimeError, with LLVM's words, if it cannot be linked."""
        with self.lock:
            if self.jit is None or self.libraries == _LIBRARIES_PER_JIT:
                machine, silent = _machine()
                self.jit = llvm.create_lljit_compiler(
                    machine, use_jit_link=True, suppress_errors=silent
                )
                self.libraries = 0
            self.libraries += 1
            return builder.link(self.jit, f"calque.{self.libraries}")


_linker = _Linker()

if hasattr(os, "register_at_fork"):
    # A child must not find the lock held by a thread that exists in the parent only.
    os.register_at_fork(
        before=_linker.lock.acquire,
        after_in_parent=_linker.lock.release,
        after_in_child=_linker.lock.release,
    )


@lru_cache(maxsize=1)
def _machine() -> tuple[llvm.TargetMachine, bool]:
    """The host's target machine, and whether LLVM need not print link errors: it prints the names
    of missing symbols to stderr and raises texts without them, but in ELF objects `load` finds
    them itself."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(jit=True)
    empty = llvm.parse_assembly("", context=llvm.create_context())
    return machine, undefined_symbols(machine.emit_object(empty)) is not None


@lru_cache(maxsize=1)
def _always() -> dict[str, int]:
    process = ctypes.CDLL(None)
    found = {name: ctypes.cast(process[name], ctypes.c_void_p).value for name in _ALWAYS}
    return {name: address for name, address in found.items() if address}


def undefined_symbols(code: bytes) -> set[str] | None:
    """Names that an ELF64 object needs from elsewhere; None if it is not an ELF64 object.
    LinkError if it is damaged."""
    if code[:6] != b"\x7fELF\x02\x01":
        return None
    names: set[str] = set()
    try:
        (table,) = struct.unpack_from("<Q", code, 40)
        entry, count = struct.unpack_from("<HH", code, 58)
        sections = [
            struct.unpack_from("<IIQQQQIIQQ", code, table + i * entry) for i in range(count)
        ]
        for _, kind, _, _, start, size, link, *_ in sections:
            if kind != 2:  # SHT_SYMTAB; `link` is its string table
                continue
            strings = sections[link][4]
            for at in range(start, start + size, 24):
                name, info, _, section = struct.unpack_from("<IBBH", code, at)
                weak = info >> 4 == 2
                if section == 0 and name and not weak:
                    end = code.index(b"\0", strings + name)
                    names.add(code[strings + name : end].decode())
    except (struct.error, IndexError, ValueError) as error:
        raise LinkError(f"damaged object code: {error}") from error
    return names - {"_GLOBAL_OFFSET_TABLE_"}  # which the linker makes


@lru_cache(maxsize=1)
def _host_features() -> dict[str, bool]:
    return dict(llvm.get_host_cpu_features())


def missing_features(features: str) -> list[str]:
    """Of processor features in LLVM's notation ("+avx2,-sse4a"), those that are asked for and
    that this processor is known not to have."""
    host = _host_features()
    asked = (word[1:] for word in features.split(",") if word.startswith("+"))
    return [name for name in asked if host.get(name) is False]


def load(
    objects: Mapping[str, bytes],
    imports: Mapping[str, int] | None = None,
    exports: Iterable[str] | None = None,
    keep: Iterable[object] = (),
) -> Library:
    """Links objects with each other and into the process.

    `imports` are the addresses of symbols that the objects may use from elsewhere; `keep` are the
    objects (libraries, usually) that must live as long as those addresses are in use. `exports`
    are the symbols to ask `address` for; by default the keys of `objects`. Raises LinkError.
    """
    known = _always() | dict(imports or {})
    builder = llvm.JITLibraryBuilder()
    needed: set[str] = set()
    for name, code in objects.items():
        undefined = undefined_symbols(code)
        needed |= known.keys() if undefined is None else undefined
        try:
            builder.add_object_img(code)
        except TypeError as error:
            raise LinkError(f"{name}: object code must be bytes") from error
    for symbol in needed & known.keys():
        builder.import_symbol(symbol, known[symbol])
    for symbol in objects if exports is None else exports:
        builder.export_symbol(symbol)
    try:
        tracker = _linker.link(builder)
    except RuntimeError as error:
        names = ", ".join(objects)
        unresolved = _unresolved(objects, known)
        if unresolved:
            raise LinkError(f"cannot load {names}: undefined symbols {unresolved}") from error
        raise LinkError(f"cannot load {names}: {error}") from error
    return Library(tracker, tuple(keep))


def _unresolved(objects: Mapping[str, bytes], known: Mapping[str, int]) -> str:
    """Symbols that no import provides, with the object that needs each; objects may provide
    them to each other, so this is asked only after linking failed."""
    return ", ".join(
        f"'{symbol}' (needed by {name})"
        for name, code in objects.items()
        for symbol in sorted(undefined_symbols(code) or ())
        if symbol not in known and symbol not in objects
    )
