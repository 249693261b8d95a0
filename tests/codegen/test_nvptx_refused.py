"""What kernels for a GPU cannot hold."""

from __future__ import annotations

import pytest

from calque.codegen import CodegenError
from calque.codegen.nvptx import compile_ptx
from calque.ir.target import Target

from .gputext import device_of, grid, kernel, loop


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ("", 'no loop with calque.map = "block"'),
        (loop("block", "%b to %n step %c1", ""), "must hold a loop over threads"),
        (loop("thread", "%t to %c32 step %c1", ""), 'no loop with calque.map = "block"'),
        (grid("%n step %c1", "%n", ""), "bounds of a loop over threads must be constants"),
        (grid("%n step %c1", "%c0", ""), "from 1 to 1024 threads, not 0"),
        (
            grid("%n step %c1", "%c4", loop("thread", "%u to %c4 step %c1", "")),
            "stands in a loop over blocks, and no other",
        ),
        (
            grid("%n step %c1", "%c4", loop("block", "%u to %c4 step %c1", "")),
            "stands at the top level",
        ),
        (
            loop("thread", "%t to %c4 step %c1", "") + grid("%n step %c1", "%c4", ""),
            "stands in a loop over blocks, and no other",
        ),
        (
            grid("%n step %c1", "%c4", "", "memref.store %n, %m[%c0] : memref<4xindex>"),
            "accessed inside a loop over threads only",
        ),
        (
            "%v = memref.load %m[%c0] : memref<4xindex>\n" + grid("%n step %c1", "%c4", ""),
            "accessed inside a loop over threads only",
        ),
        (
            grid("%n step %c1", "%c4", "", "tile.barrier"),
            "tile.barrier: .* inside a loop over threads only",
        ),
        (
            loop(
                "block",
                "%b to %n step %c1",
                loop("thread", "%t to %c4 step %c1", "tile.barrier")
                + loop("thread", "%t to %c8 step %c1", ""),
            ),
            "all 8 threads of the block must come here, not 4",
        ),
        (
            grid("%n step %c1", "%c4", "%s = memref.alloca() : memref<4xf32, 3>"),
            "shared memory has a static shape and belongs to a block",
        ),
        (
            grid("%n step %c1", "%c4", "", "%s = memref.alloca() : memref<12289xf32, 3>"),
            "shares 49168 bytes, which are more than 49152",
        ),
        (
            "%two = arith.shli %n, %c1 : index\n" + grid("%two step %c1", "%c4", ""),
            "number of blocks cannot depend on arith.shli",
        ),
        (
            grid(
                "%n step %c1",
                "%c4",
                '"memref.copy"(%m, %m) : (memref<4xindex>, memref<4xindex>) -> ()',
            ),
            "memref.copy: this operation is not supported",
        ),
        (loop("threads", "%t to %n step %c1", "") + grid("%n step %c1", "%c4", ""), "threads"),
    ],
)
def test_refused(body: str, message: str) -> None:
    with pytest.raises(CodegenError, match=message):
        device_of(kernel("%m: memref<4xindex>, %n: index", body))


def test_text_that_is_not_llvm() -> None:
    with pytest.raises(RuntimeError, match="expected"):
        compile_ptx("define nothing", Target.nvptx("sm_80"))
