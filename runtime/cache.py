"""Compiled code on disk, by the hash of what it was compiled from.

There are two levels, told apart by the kind in an entry's key: whole programs by the text that
the compiler started from, and objects by the LLVM text they were made of. Any number of processes
may share a cache: entries are written to the side and renamed, so a reader sees all of one or
nothing, and checked by their checksum, so a damaged one is a miss that is rebuilt.

`CALQUE_CACHE_DIR` says where the cache is (default `~/.cache/calque`); `CALQUE_CACHE=0` turns it
off.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import tempfile
import time
import warnings
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

_MAGIC = b"calque-cache\x00\x01\n"
_HEADER = len(_MAGIC) + hashlib.sha256().digest_size
_KEY = re.compile(r"([a-z]+)-([0-9a-f]{2})([0-9a-f]{62})")
_LIMIT = 4 << 30
_STALE = 3600.0  # seconds after which nobody is still writing a temporary file


def key(kind: str, *parts: str | bytes) -> str:
    """The key for what `parts` determine. Parts are kept apart: ("ab", "c") is not ("a", "bc")."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8, "little"))
        digest.update(data)
    return f"{kind}-{digest.hexdigest()}"


class DiskCache:
    """Bytes below the folder `root`, by key (see `key`); with `root` None it holds nothing.

    When the entries exceed `limit` bytes, those used longest ago are removed. Trouble with the
    disk is reported once, as a RuntimeWarning, and costs compile time, never a result.
    """

    def __init__(self, root: str | os.PathLike[str] | None, limit: int = _LIMIT) -> None:
        self.root = None if root is None else Path(root)
        self.limit = limit
        self._unchecked = limit  # bytes written since the size was last looked at
        self._warned = False

    def get(self, key: str) -> bytes | None:
        """What was put under `key`, or None."""
        path = self._path(key)
        if path is None or not self._trusted():
            return None
        try:
            data = path.read_bytes()
            os.utime(path)  # used now: what the limit spares
        except FileNotFoundError:
            return None
        except OSError as error:
            self._warn(str(error))
            return None
        payload = data[_HEADER:]
        if data[:_HEADER] != _header(key, payload):
            self._remove(path)
            return None
        return payload

    def put(self, key: str, data: bytes) -> None:
        """Keeps `data` under `key`."""
        path = self._path(key)
        if path is None or self.root is None or not self._trusted():
            return
        try:
            self.root.mkdir(mode=0o700, parents=True, exist_ok=True)
            path.parent.mkdir(parents=True, exist_ok=True)
            handle, name = tempfile.mkstemp(prefix=".new-", dir=path.parent)
            try:
                with os.fdopen(handle, "wb") as file:
                    file.write(_header(key, data))
                    file.write(data)
                os.replace(name, path)
            except BaseException:
                self._remove(Path(name))
                raise
        except OSError as error:
            self._warn(str(error))
            return
        self._unchecked += len(data)
        if self._unchecked > self.limit // 16:
            self._unchecked = 0
            self._evict()

    def _path(self, key: str) -> Path | None:
        match = _KEY.fullmatch(key)
        if match is None:
            raise ValueError(f"'{key}' is not a cache key")
        kind, folder, name = match.groups()
        return self.root and self.root / kind / folder / name

    def _trusted(self) -> bool:
        """Entries are code that will run: nobody but this user (or root) may have written them."""
        if self.root is None or not hasattr(os, "geteuid"):
            return True
        try:
            status = self.root.stat()
        except OSError:
            return True  # there is nothing to read; if it cannot be made, `put` says so
        if status.st_uid in (os.geteuid(), 0) and not status.st_mode & 0o002:
            return True
        self._warn(f"{self.root} belongs to another user, or others may write to it")
        return False

    def _entries(self) -> Iterator[tuple[float, int, Path]]:
        """Time of last use, size and path of everything in the cache."""
        assert self.root is not None
        for path in self.root.glob("*/*/*"):
            with contextlib.suppress(OSError):  # another process removed it meanwhile
                status = path.stat()
                yield status.st_mtime, status.st_size, path

    def _evict(self) -> None:
        """Removes what was abandoned while it was written, and, beyond the limit, what was used
        longest ago; down to 3/4, so that it is not done all the time."""
        kept: list[tuple[float, int, Path]] = []
        for used, size, path in self._entries():
            if not path.name.startswith(".new-"):
                kept.append((used, size, path))
            elif used < time.time() - _STALE:
                self._remove(path)
        total = sum(size for _, size, _ in kept)
        if total <= self.limit:
            return
        for _, size, path in sorted(kept):
            self._remove(path)
            total -= size
            if total <= self.limit * 3 // 4:
                return

    def _remove(self, path: Path) -> None:
        with contextlib.suppress(OSError):
            path.unlink()

    def _warn(self, what: str) -> None:
        if not self._warned:
            self._warned = True
            warnings.warn(
                f"compiled code is not kept on disk: {what}. CALQUE_CACHE_DIR sets another "
                "folder, CALQUE_CACHE=0 turns the cache off.",
                RuntimeWarning,
                stacklevel=3,
            )


def _header(key: str, payload: bytes) -> bytes:
    """What an entry starts with. The key is part of the checksum, so that a file under a wrong
    name is a damaged one."""
    return _MAGIC + hashlib.sha256(key.encode() + b"\n" + payload).digest()


def default() -> DiskCache:
    """The cache that the environment asks for."""
    if os.environ.get("CALQUE_CACHE") == "0":
        return _at(None)
    return _at(os.environ.get("CALQUE_CACHE_DIR") or "~/.cache/calque")


@lru_cache(maxsize=8)
def _at(root: str | None) -> DiskCache:
    return DiskCache(None if root is None else Path(root).expanduser().absolute())
