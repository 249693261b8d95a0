from __future__ import annotations

import pytest

from calque.runtime.artifact import Artifact, ArtifactError, KernelObject, ParamSpec

SHARED = b"\x00\x01shared code"
ARTIFACT = Artifact(
    kernels=(
        KernelObject("k0_add", SHARED, ("index out of range",), source=("add @ model.py:3",)),
        KernelObject("k1_add", SHARED),
        KernelObject("k2_mul", b"other code", symbol="mul"),
    ),
    host=b"host code",
    call_names=("k0_add", "k2_mul", "k1_add", "k0_add"),
    host_messages=("sizes differ",),
    params=(
        ParamSpec("x", "f32", ("B", 784)),
        ParamSpec("weight", "bf16", (784, 10), "state"),
        ParamSpec("view", "i64", ("B", "2*T"), strides=(None, 1)),
        ParamSpec("out", "f32", ("B", 10), "output", alias=0),
    ),
    symbols=("B", "T"),
    scalars=("f32", "i64"),
    triple="x86_64-unknown-linux-gnu",
    features="+avx2",
)


def test_round_trip() -> None:
    data = ARTIFACT.to_bytes()
    assert Artifact.from_bytes(data) == ARTIFACT
    assert data.count(SHARED) == 1
    assert ARTIFACT.to_bytes() == data
    empty = Artifact(kernels=(), host=b"")
    assert Artifact.from_bytes(empty.to_bytes()) == empty


def test_params() -> None:
    weight, view = ARTIFACT.params[1:3]
    assert (weight.rank, weight.strided) == (2, False)
    assert view.strided


@pytest.mark.parametrize("at", [9, 60, 300, -1])
def test_damage_is_noticed(at: int) -> None:
    data = bytearray(ARTIFACT.to_bytes())
    data[at] ^= 1
    with pytest.raises(ArtifactError, match="damaged"):
        Artifact.from_bytes(bytes(data))


def test_other_files_are_refused() -> None:
    data = ARTIFACT.to_bytes()
    for cut in (10, 45, len(data) - 1):
        with pytest.raises(ArtifactError, match="damaged"):
            Artifact.from_bytes(data[:cut])
    for other in (b"", b"\x7fELF", b"a" * 100):
        with pytest.raises(ArtifactError, match="not a compiled calque program"):
            Artifact.from_bytes(other)
    with pytest.raises(ArtifactError, match="another version"):
        Artifact.from_bytes(data[:7] + b"\xff" + data[8:])


def test_inconsistent_artifacts_cannot_be_made() -> None:
    with pytest.raises(ValueError, match="same name"):
        Artifact((KernelObject("k", b""), KernelObject("k", b"")), b"")
    with pytest.raises(ValueError, match="do not exist"):
        Artifact((), b"", call_names=("k",))
    with pytest.raises(ValueError, match="strides"):
        ParamSpec("x", "f32", (1, 2), strides=(1,))
