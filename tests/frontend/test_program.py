"""Programs that are traced without compiling, in torch.fx's terms."""

from __future__ import annotations

import dataclasses
from typing import Any

import numpy as np
import pytest

import calque
import calque.nn as nn
from calque.ir.sym import symbol
from calque.ir.types import TensorMeta


class Model(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer_with_a_long_name = nn.Linear(3, 2)

    def forward(self, x: Any) -> Any:
        return self.layer_with_a_long_name(x).relu()


def test_nodes_are_read_only() -> None:
    program = calque.trace(Model(), calque.randn(4, 3))
    opcodes = [node.op for node in program.nodes]
    assert opcodes == ["placeholder", "get_attr", "get_attr", *["call_function"] * 5, "output"]
    assert program.nodes[1].target == "layer_with_a_long_name.weight"
    with pytest.raises(dataclasses.FrozenInstanceError):
        program.nodes[0].op = "output"  # type: ignore[misc]


def test_the_table_shows_everything(capsys: pytest.CaptureFixture[str]) -> None:
    program = calque.trace(Model(), calque.randn(4, 3))
    program.print_tabular()
    header, rule, *rows = capsys.readouterr().out.splitlines()
    assert header.split() == ["opcode", "name", "target", "args", "type", "line"]
    assert set(rule) == {"-", " "}
    for row, node in zip(rows, program.nodes, strict=True):
        for part in (node.op, node.name, node.target, *node.args, node.location):
            assert part in row


def test_results_are_named_as_they_are_used(capsys: pytest.CaptureFixture[str]) -> None:
    def running(x: Any) -> Any:
        first, _ = calque.scan(lambda c, y: (c + y, c * y), calque.zeros(4), x)
        return first.cos() + first.T.reshape(2, 2).sum(0, keepdim=True).sum()

    program = calque.trace(running, calque.randn(3, 4))
    by_name = {node.name: node for node in program.nodes}
    known: set[str] = set()
    for node in program.nodes:
        for arg in node.args:
            assert arg.partition("[")[0] in known
        known.add(node.name)
    assert len(known) == len(program.nodes)
    assert by_name["cos"].args == ("scan[0]",)
    assert by_name["reshape"].kwargs == {"shape": (2, 2)}
    assert by_name["sum"].kwargs == {"dims": (0,), "keepdim": True}
    program.print_tabular()
    table = capsys.readouterr().out
    assert "(scan[0])" in table
    assert "shape=[2, 2])" in table
    assert "dims=[0], keepdim=True)" in table


def test_nodes_are_a_tuple() -> None:
    assert isinstance(calque.trace(Model(), calque.randn(4, 3)).nodes, tuple)


def test_open_sizes_need_no_example_where_one_outgrows_the_other() -> None:
    """The parts of (B, T, 6) are where the steps of one are less than those of another."""

    def heads(x: Any) -> Any:
        a, b = x.split(3, dim=2)
        n, t, _ = a.shape
        return (a.reshape(n, t, 3, 1).transpose(1, 2) * b.reshape(n, t, 3, 1).transpose(1, 2)).sum()

    shape = (symbol("B"), symbol("T"), 6)
    program = calque.trace(heads, TensorMeta(shape, calque.float32))
    x = np.random.default_rng(0).standard_normal((2, 5, 6)).astype(np.float32)
    np.testing.assert_allclose(program(x)[0], (x[..., :3] * x[..., 3:]).sum(), rtol=1e-5)
