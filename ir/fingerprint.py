"""A digest of a module: that of what its text says, several times faster than printing it."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

from xdsl.dialects.builtin import FileLineColLoc, ModuleOp
from xdsl.ir import Attribute, Block, Operation, SSAValue


def fingerprint(module: ModuleOp) -> str:
    """Hexadecimal SHA-256 of all operations: names, operands, types, attributes, locations, and
    the names that values have in the text. Modules of the same text have the same one."""
    return hashlib.sha256("\n".join(_Walk().operation(module)).encode()).hexdigest()


class _Walk:
    """Numbers values and blocks in the order in which they are defined, and keeps the text of
    attributes, of which many operations share each; the module keeps them alive meanwhile."""

    def __init__(self) -> None:
        self.values: dict[SSAValue, int] = {}
        self.blocks: dict[Block, int] = {}
        self.texts: dict[int, str] = {}

    def operation(self, op: Operation) -> Iterator[str]:
        operands = " ".join([self.use(v) for v in op.operands])
        successors = " ".join([str(self.blocks[b]) for b in op.successors])
        yield f"{op.name}({operands})[{successors}]{self.location(op.location)}"
        for value in op.results:
            yield self.define(value)
        for pairs in (op.properties, op.attributes):
            yield from [f"{name}={self.text(value)}" for name, value in sorted(pairs.items())]
        for region in op.regions:
            yield "{"
            for block in region.blocks:
                self.blocks[block] = len(self.blocks)
            for block in region.blocks:
                yield "^"
                yield from [self.define(arg) for arg in block.args]
                for inner in block.ops:
                    yield from self.operation(inner)
            yield "}"

    def define(self, value: SSAValue) -> str:
        self.values[value] = len(self.values)
        return f"%{value.name_hint or ''}: {self.text(value.type)}"

    def use(self, value: SSAValue) -> str:
        return str(self.values.get(value, -1))

    def location(self, location: Attribute) -> str:
        if isinstance(location, FileLineColLoc):
            return f"{location.filename.data}:{location.line.data}:{location.column.data}"
        return self.text(location)

    def text(self, attribute: Attribute) -> str:
        found = self.texts.get(id(attribute))
        if found is None:
            found = self.texts[id(attribute)] = str(attribute)
        return found
