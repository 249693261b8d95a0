"""The description of the machine."""

from __future__ import annotations

import dataclasses

import pytest

from calque.ir.target import Target, available_threads


def test_host() -> None:
    host = Target.host()
    assert host is Target.host()
    assert host.kind == "cpu"
    assert host.threads == available_threads() >= 1
    assert host.vector_bits in (128, 256, 512)
    assert host.width(32) == 2 * host.width(64) == host.vector_bits // 32
    assert host.width(1) == host.width(8)
    assert host.l1 < host.l2 <= host.l3
    assert hash(host) == hash(dataclasses.replace(host))


def test_features() -> None:
    target = dataclasses.replace(Target.host(), features="+avx2,-avx512f")
    assert target.has("avx2")
    assert not target.has("avx512f")
    assert not target.has("avx")


def test_kinds() -> None:
    assert Target.nvptx().kind == "nvptx"
    assert Target.nvptx("sm_80").cpu == "sm_80"
    with pytest.raises(ValueError, match="'sm_8' is not known; known are sm_75, sm_80"):
        Target.nvptx("sm_8")
    with pytest.raises(ValueError, match='"cpu" or "nvptx"'):
        dataclasses.replace(Target.host(), kind="gpu")
