from __future__ import annotations

import ctypes
import gc
import weakref

import llvmlite.binding as llvm
import pytest

from calque.runtime import jit
from llvmtext import compile_text

INT = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_int)

TWICE = compile_text("define i32 @twice(i32 %x) {\n %r = add i32 %x, %x\n ret i32 %r\n}")
CALLER = compile_text(
    "declare i32 @twice(i32)\n"
    "define i32 @f(i32 %x) {\n %r = call i32 @twice(i32 %x)\n %s = add i32 %r, 1\n ret i32 %s\n}"
)


def test_load_and_call() -> None:
    library = jit.load({"twice": TWICE})
    assert INT(library.address("twice"))(21) == 42
    with pytest.raises(KeyError):
        library.address("thrice")


def test_objects_see_each_other() -> None:
    library = jit.load({"f": CALLER, "twice": TWICE})
    assert INT(library.address("f"))(4) == 9


def test_imports_are_addresses() -> None:
    library = jit.load({"twice": TWICE})
    caller = jit.load({"f": CALLER}, {"twice": library.address("twice"), "unused": 1})
    assert INT(caller.address("f"))(4) == 9


def test_the_same_symbol_in_two_libraries() -> None:
    other = compile_text("define i32 @twice(i32 %x) {\n ret i32 0\n}")
    first, second = jit.load({"twice": TWICE}), jit.load({"twice": other})
    assert INT(first.address("twice"))(4) == 8
    assert INT(second.address("twice"))(4) == 0


def test_a_library_keeps_its_imports() -> None:
    library = jit.load({"twice": TWICE})
    alive = weakref.ref(library)
    caller = jit.load({"f": CALLER}, {"twice": library.address("twice")}, keep=[library])
    del library
    gc.collect()
    assert alive() is not None
    assert INT(caller.address("f"))(4) == 9
    del caller
    gc.collect()
    assert alive() is None


def test_memory_functions_are_always_there() -> None:
    code = compile_text(
        "declare void @llvm.memset.p0.i64(ptr, i8, i64, i1)\n"
        "define void @clear(ptr %p, i64 %n) {\n"
        " call void @llvm.memset.p0.i64(ptr %p, i8 0, i64 %n, i1 false)\n ret void\n}"
    )
    assert jit.undefined_symbols(code) == {"memset"}
    library = jit.load({"clear": code})
    data = (ctypes.c_char * 8)(*b"abcdefgh")
    ctypes.CFUNCTYPE(None, ctypes.c_void_p, ctypes.c_int64)(library.address("clear"))(data, 5)
    assert data.raw == b"\0\0\0\0\0fgh"


def test_an_unresolved_symbol_is_named(capfd: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(jit.LinkError, match=r"undefined symbols 'twice' \(needed by f\)"):
        jit.load({"f": CALLER})
    assert capfd.readouterr().err == ""


def test_a_missing_export_is_an_error() -> None:
    with pytest.raises(jit.LinkError, match="thrice"):
        jit.load({"twice": TWICE}, exports=["thrice"])


@pytest.mark.parametrize("code", [b"", b"not an object", TWICE[:200], TWICE[:-300]])
def test_damaged_objects(code: bytes) -> None:
    with pytest.raises(jit.LinkError):
        jit.load({"twice": code})


def test_a_failed_load_leaves_no_trace() -> None:
    with pytest.raises(jit.LinkError):
        jit.load({"f": CALLER})
    test_imports_are_addresses()


def test_unloading_does_not_disturb_others() -> None:
    kept = jit.load({"twice": TWICE})
    for _ in range(20):
        jit.load({"twice": TWICE})
    gc.collect()
    assert INT(kept.address("twice"))(21) == 42


def test_many_libraries(monkeypatch: pytest.MonkeyPatch) -> None:
    """More than one LLJIT holds, with some that live on while those around them go."""
    monkeypatch.setattr(jit, "_LIBRARIES_PER_JIT", 5)
    kept: list[jit.Library] = []
    for i in range(33):
        code = compile_text(f"define i32 @f(i32 %x) {{\n ret i32 {i}\n}}")
        library = jit.load({"f": code})
        if i % 4 == 0:
            kept.append(library)
    assert [INT(library.address("f"))(0) for library in kept] == list(range(0, 33, 4))


def test_missing_features() -> None:
    assert jit.missing_features("") == []
    assert jit.missing_features(llvm.get_host_cpu_features().flatten()) == []
    absent = [name for name, there in llvm.get_host_cpu_features().items() if not there]
    if absent:
        assert jit.missing_features(f"+{absent[0]},-sse2") == [absent[0]]
