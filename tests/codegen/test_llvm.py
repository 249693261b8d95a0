"""The LLVM IR builder writes text that LLVM accepts."""

from __future__ import annotations

import re

import llvmlite.binding as binding
import pytest

from calque.codegen.llvm import (
    Fn,
    Module,
    const,
    const_bits,
    const_vector,
    joined,
    suffix,
    zero,
)

VECTOR = "<8 x float>"


def parse(module: Module) -> str:
    """The module as LLVM prints it, after its verifier."""
    ref = binding.parse_assembly(module.text())
    ref.verify()
    return str(ref)


def scale() -> tuple[Module, Fn]:
    module = Module()
    return module, module.function("f", "void", [("ptr", "x"), ("i64", "n"), ("float", "s")])


def test_masked_loop() -> None:
    module, f = scale()
    node = module.loop_metadata('!"llvm.loop.unroll.disable"')
    with f.loop("0", "%n", "8", [(VECTOR, zero(VECTOR))], metadata=node) as loop:
        p = f.gep("float", "%x", loop.index)
        mask = f.mask(8, f.sub("i64", "%n", loop.index))
        value = f.fma(VECTOR, f.masked_load(VECTOR, p, mask), f.splat(VECTOR, "%s"), loop.args[0])
        f.masked_store(VECTOR, value, p, mask)
        loop.yield_([value])
    f.store(VECTOR, loop.results[0], "%x")
    f.ret()
    text = parse(module)
    assert "llvm.loop.unroll.disable" in text
    assert text.count("phi <8 x float>") == 2


def test_branches_merge_values() -> None:
    module, f = scale()
    with f.if_else(f.icmp("slt", "i64", "%n", "3"), ["float"]) as branch:
        with branch.then():
            branch.yield_([f.const("float", 0.1)])
        with branch.otherwise():
            with f.if_(f.fcmp("olt", "float", "%s", zero("float"))):
                f.prefetch("%x")
            branch.yield_(["%s"])
    f.store("float", branch.results[0], "%x")
    f.ret()
    assert "0x3FB99999A0000000" in parse(module)


def test_static_loop_has_no_guard() -> None:
    module, f = scale()
    with f.loop("0", "4"):
        f.prefetch("%x")
    f.ret()
    assert "icmp slt i64 0" not in parse(module)


def test_gather_and_shuffle() -> None:
    module, f = scale()
    pointers = f.emit("getelementptr float, ptr %x, <8 x i64> splat (i64 3)")
    value = f.gather(VECTOR, pointers, "splat (i1 true)")
    half = f.shuffle(VECTOR, value, value, [4, 5, 6, 7])
    f.store("<4 x float>", half, "%x")
    f.store("float", f.extract(VECTOR, value, "2"), "%x")
    f.store(VECTOR, f.insert(VECTOR, value, "%s", "1"), "%x")
    f.ret()
    parse(module)


@pytest.mark.parametrize(
    ("ty", "number", "literal"),
    [
        ("float", 0.1, "0x3FB99999A0000000"),
        ("float", 1e60, "0x7FF0000000000000"),
        ("double", 0.1, "0x3FB999999999999A"),
        ("half", 0.1, "0xH2E66"),
        ("half", 1e9, "0xH7C00"),
        ("bfloat", 0.1, "0xR3DCD"),
        ("bfloat", float("inf"), "0xR7F80"),
        ("bfloat", float("nan"), "0xR7FC0"),
        ("i32", -3, "-3"),
        ("<4 x i32>", 7, "splat (i32 7)"),
        ("<4 x float>", -0.0, "splat (float 0x8000000000000000)"),
    ],
)
def test_literals(ty: str, number: float, literal: str) -> None:
    assert const(ty, number) == literal


def test_literals_parse() -> None:
    module = Module()
    types = ["half", "bfloat", "float", "double"]
    for number, ty in enumerate([*types, *(f"<4 x {t}>" for t in types)]):
        f = module.function(f"f{number}", ty, [("ptr", "x")])
        f.store(ty, const(ty, -1.5), "%x")
        f.store(ty, const_bits(ty, 0x7E00), "%x")
        f.store(ty, zero(ty), "%x")
        if ty[0] == "<":
            f.store(ty, const_vector(ty, [0, 1, 2.5, -0.0]), "%x")
        f.ret(ty, f.intrinsic("llvm.copysign", ty, const(ty, 2), const(ty, -0.0)))
    parse(module)
    assert [suffix(t) for t in types] == ["f16", "bf16", "f32", "f64"]


def test_literal_arithmetic_folds() -> None:
    _, f = scale()
    assert f.add("i64", "2", f.mul("i64", "3", "-4")) == "-10"
    assert f.add("i64", "%n", "0") == "%n"
    assert f.mul("i64", "9223372036854775807", "2") == "-2"
    assert f.mask(8, "8") == "splat (i1 true)"
    assert f.lines == []


def test_modules_are_joined_to_one() -> None:
    def part(name: str, calls: str, properties: str) -> str:
        module = Module()
        f = module.function(name, "void", [("ptr", "x"), ("i64", "n")])
        module.declare(calls, "void", ["ptr", "i64"])
        with f.loop("0", "%n", metadata=module.loop_metadata(properties)):
            f.call("void", calls, [("ptr", "%x"), ("i64", "%n")])
        f.ret()
        return module.text()

    disable, count = '!"llvm.loop.unroll.disable"', '!"llvm.loop.unroll.count", i32 4'
    texts = {"f": part("f", "g", disable), "g": part("g", "h", count), "k": part("k", "h", disable)}
    module = binding.parse_assembly(joined(texts))
    module.verify()
    assert {f.name: f.is_declaration for f in module.functions} == {
        "f": False, "g": False, "k": False, "h": True,
    }  # fmt: skip
    text = str(module)
    loops = [
        re.search(rf"^{node} = .*", text, re.M) for node in re.findall(r"llvm.loop (!\d+)", text)
    ]
    assert len(loops) == len(set(loops)) == 3
    assert text.count("llvm.loop.unroll.count") == 1
