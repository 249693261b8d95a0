"""Object code for the tests of the runtime, from LLVM IR text."""

from __future__ import annotations

import llvmlite.binding as llvm

from calque.runtime.artifact import Artifact, KernelObject, ParamSpec


def compile_text(text: str) -> bytes:
    """Object code for the host."""
    llvm.initialize_native_target()
    llvm.initialize_native_asmprinter()
    machine = llvm.Target.from_default_triple().create_target_machine(opt=1, jit=True)
    module = llvm.parse_assembly(text, context=llvm.create_context())
    module.verify()
    return machine.emit_object(module)


# pointers: x, y, out; sizes: n of each. out[i] = x[i] + y[i]; fails where x[i] is negative.
ADD = """
define i32 @kernel(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
entry:
  %x = load ptr, ptr %pointers
  %yp = getelementptr ptr, ptr %pointers, i64 1
  %y = load ptr, ptr %yp
  %op = getelementptr ptr, ptr %pointers, i64 2
  %out = load ptr, ptr %op
  %n = load i64, ptr %sizes
  br label %head
head:
  %i = phi i64 [0, %entry], [%i1, %body]
  %bad = phi i1 [false, %entry], [%bad1, %body]
  %more = icmp slt i64 %i, %n
  br i1 %more, label %body, label %done
body:
  %xi = getelementptr float, ptr %x, i64 %i
  %yi = getelementptr float, ptr %y, i64 %i
  %oi = getelementptr float, ptr %out, i64 %i
  %a = load float, ptr %xi
  %b = load float, ptr %yi
  %c = fadd float %a, %b
  store float %c, ptr %oi
  %neg = fcmp olt float %a, 0.0
  %bad1 = or i1 %bad, %neg
  %i1 = add i64 %i, 1
  br label %head
done:
  %status = zext i1 %bad to i32
  ret i32 %status
}
"""

# out = (x + y) + y through the arena. Arguments: x, y, out : memref<?xf32>, arena, N.
HOST = """
declare i32 @k0_add(ptr, ptr, ptr, ptr)
declare i32 @k1_add(ptr, ptr, ptr, ptr)
define i32 @main(ptr %ctx, ptr %pointers, ptr %sizes, ptr %scalars) {
  %args = alloca [3 x ptr]
  %ns = alloca [3 x i64]
  %x = load ptr, ptr %pointers
  %p1 = getelementptr ptr, ptr %pointers, i64 1
  %y = load ptr, ptr %p1
  %p2 = getelementptr ptr, ptr %pointers, i64 2
  %out = load ptr, ptr %p2
  %p3 = getelementptr ptr, ptr %pointers, i64 3
  %arena = load ptr, ptr %p3
  %np = getelementptr i64, ptr %sizes, i64 4
  %n = load i64, ptr %np
  store i64 %n, ptr %ns
  %big = icmp sgt i64 %n, 1000
  br i1 %big, label %refuse, label %first
refuse:
  ret i32 513
first:
  store ptr %x, ptr %args
  %a1 = getelementptr ptr, ptr %args, i64 1
  store ptr %y, ptr %a1
  %a2 = getelementptr ptr, ptr %args, i64 2
  store ptr %arena, ptr %a2
  %s0 = call i32 @k0_add(ptr %ctx, ptr %args, ptr %ns, ptr null)
  %bad0 = icmp ne i32 %s0, 0
  br i1 %bad0, label %fail0, label %second
fail0:
  ret i32 %s0
second:
  store ptr %arena, ptr %args
  store ptr %out, ptr %a2
  %s1 = call i32 @k1_add(ptr %ctx, ptr %args, ptr %ns, ptr null)
  %bad1 = icmp ne i32 %s1, 0
  %r1 = or i32 %s1, 256
  %r = select i1 %bad1, i32 %r1, i32 0
  ret i32 %r
}
define void @main.plan(ptr %sizes, ptr %out) {
  %n = load i64, ptr %sizes
  %bytes = mul i64 %n, 4
  store i64 %bytes, ptr %out
  %o1 = getelementptr i64, ptr %out, i64 1
  store i64 %n, ptr %o1
  ret void
}
"""


def add_twice() -> Artifact:
    """out = (x + y) + y for f32 vectors of N <= 1000 elements, x and x + y not negative."""
    code = compile_text(ADD)
    return Artifact(
        kernels=(
            KernelObject("k0_add", code, ("x is negative",), source=("add @ model.py:3",)),
            KernelObject("k1_add", code, ("x + y is negative",)),
        ),
        host=compile_text(HOST),
        call_names=("k0_add", "k1_add"),
        host_messages=("too many elements",),
        params=(
            ParamSpec("x", "f32", ("N",)),
            ParamSpec("y", "f32", ("N",)),
            ParamSpec("out", "f32", ("N",), "output"),
        ),
        symbols=("N",),
    )
