from __future__ import annotations

import os
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest

from calque.runtime import cache
from calque.runtime.cache import DiskCache, key

A, B = key("object", "a"), key("program", "b")


def files(root: Path) -> list[Path]:
    return [path for path in root.rglob("*") if path.is_file()]


def test_keys_are_of_parts_and_kind() -> None:
    keys = [
        key("object", "ab", "c"),
        key("object", "a", "bc"),
        key("object", "abc"),
        key("program", "abc"),
    ]
    assert len(set(keys)) == 4
    assert key("object", "abc") == key("object", b"abc")


def test_put_and_get(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path / "new" / "folder")
    assert disk.get(A) is None
    disk.put(A, b"payload")
    disk.put(B, b"")
    assert disk.get(A) == b"payload"
    assert DiskCache(tmp_path / "new" / "folder").get(B) == b""
    disk.put(A, b"another")
    assert disk.get(A) == b"another"
    assert len(files(tmp_path)) == 2
    assert (tmp_path / "new" / "folder").stat().st_mode & 0o077 == 0


def test_nothing_is_kept_without_a_folder() -> None:
    disk = DiskCache(None)
    disk.put(A, b"payload")
    assert disk.get(A) is None


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "grow"])
def test_damaged_entries_are_removed_and_missed(tmp_path: Path, damage: str) -> None:
    disk = DiskCache(tmp_path)
    disk.put(A, b"payload")
    (path,) = files(tmp_path)
    data = path.read_bytes()
    flipped = data[:-2] + bytes([data[-2] ^ 1]) + data[-1:]
    path.write_bytes({"cut": data[:-1], "flip": flipped, "empty": b"", "grow": data + b"x"}[damage])
    assert disk.get(A) is None
    assert not files(tmp_path)
    disk.put(A, b"payload")
    assert disk.get(A) == b"payload"


def test_an_entry_under_a_wrong_name_is_a_miss(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    disk.put(A, b"payload")
    (path,) = files(tmp_path)
    other = disk._path(B)
    assert other is not None
    other.parent.mkdir(parents=True)
    path.rename(other)
    assert disk.get(B) is None


@pytest.mark.parametrize("bad", ["", "object", "object-12", f"../x-{'0' * 64}", A.upper()])
def test_keys_cannot_leave_the_folder(tmp_path: Path, bad: str) -> None:
    with pytest.raises(ValueError, match="not a cache key"):
        DiskCache(tmp_path).get(bad)


def test_the_least_recently_used_go_first(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, limit=10_000)
    keys = [key("object", str(i)) for i in range(9)]
    for i, k in enumerate(keys):
        disk.put(k, bytes(1000))
        path = disk._path(k)
        assert path is not None
        os.utime(path, (i, i))
    assert disk.get(keys[0]) is not None  # used now
    disk.put(key("object", "one"), bytes(1000))
    disk.put(key("object", "two"), bytes(1000))
    assert sum(path.stat().st_size for path in files(tmp_path)) <= 10_000
    assert disk.get(keys[0]) is not None
    assert disk.get(keys[1]) is None
    assert disk.get(keys[8]) is not None


def test_abandoned_files_are_removed(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path, limit=1)
    folder = tmp_path / "object" / "00"
    folder.mkdir(parents=True)
    old, young = folder / ".new-old", folder / ".new-young"
    for path in (old, young):
        path.write_bytes(b"half")
    os.utime(old, (1, 1))
    disk.put(A, b"payload")
    assert not old.exists()
    assert young.exists()


def test_trouble_is_reported_once_and_harmless(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    disk = DiskCache(tmp_path / "file" / "cache")
    with pytest.warns(RuntimeWarning, match="compiled code is not kept on disk"):
        disk.put(A, b"payload")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        disk.put(A, b"payload")
        assert disk.get(A) is None


def test_a_folder_that_others_may_write_to_is_not_used(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    disk.put(A, b"payload")
    tmp_path.chmod(0o777)
    with pytest.warns(RuntimeWarning, match="others may write"):
        assert DiskCache(tmp_path).get(A) is None
    tmp_path.chmod(0o700)
    assert disk.get(A) == b"payload"


def test_processes_share_a_cache(tmp_path: Path) -> None:
    code = (
        "import sys\n"
        "from calque.runtime.cache import DiskCache, key\n"
        "disk = DiskCache(sys.argv[1], limit=200_000)\n"
        "for i in range(300):\n"
        "    k = key('object', str(i % 20))\n"
        "    data = disk.get(k)\n"
        "    assert data is None or data == bytes([i % 20]) * 5000\n"
        "    disk.put(k, bytes([i % 20]) * 5000)\n"
    )
    command = [sys.executable, "-W", "error", "-c", code, str(tmp_path)]
    env = os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)}
    running = [subprocess.Popen(command, env=env) for _ in range(3)]
    assert [process.wait() for process in running] == [0, 0, 0]
    assert not [path for path in files(tmp_path) if path.name.startswith(".new-")]


def test_default(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CALQUE_CACHE", raising=False)
    monkeypatch.setenv("CALQUE_CACHE_DIR", str(tmp_path))
    assert cache.default().root == tmp_path
    assert cache.default() is cache.default()
    monkeypatch.setenv("CALQUE_CACHE", "0")
    assert cache.default().root is None
    monkeypatch.setenv("CALQUE_CACHE", "1")
    monkeypatch.delenv("CALQUE_CACHE_DIR")
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    cache._at.cache_clear()
    assert cache.default().root == tmp_path / "home" / ".cache" / "calque"
    cache._at.cache_clear()


def test_use_is_recorded(tmp_path: Path) -> None:
    disk = DiskCache(tmp_path)
    disk.put(A, b"payload")
    (path,) = files(tmp_path)
    os.utime(path, (1, 1))
    disk.get(A)
    assert path.stat().st_mtime > time.time() - 1000
