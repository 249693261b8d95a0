"""The order of the host's calls: state is overwritten after everything that may still need the
old value, and after everything that can fail (the commit point)."""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(eq=False, slots=True)
class Step:
    """One call of the host.

    `after` are the calls whose results it reads, `states` the arguments that it reads, and
    `commits` the (argument, output) pairs that it would like to write in place. Where `is_safe`
    is false it may not: it can fail itself, or reads the old value in another order.
    """

    number: int
    after: list[Step] = field(default_factory=list)
    states: set[int] = field(default_factory=set)
    commits: list[tuple[int, int]] = field(default_factory=list)
    can_fail: bool = False
    is_safe: bool = True


def schedule(steps: Sequence[Step]) -> tuple[list[Step], set[int]]:
    """A valid order, as near to the given one as possible, and the outputs that cannot be
    written in place: these need memory of their own and a copy at the end.
    """
    readers: dict[int, list[Step]] = {}
    for step in steps:
        for state in step.states:
            readers.setdefault(state, []).append(step)
    order = _Order(steps, readers)
    while len(order.done) < len(steps):
        if not order.advance():
            order.give_up_one()
    return order.done, order.copied


class _Order:
    """The state of the scheduling."""

    def __init__(self, steps: Sequence[Step], readers: dict[int, list[Step]]) -> None:
        self.readers = readers
        self.done: list[Step] = []
        self.placed: set[Step] = set()
        self.copied: set[int] = set()
        self.failing = sum(s.can_fail for s in steps)
        self.users: dict[Step, list[Step]] = {}
        self.missing = {s: len(set(s.after)) for s in steps}
        for step in steps:
            for source in set(step.after):
                self.users.setdefault(source, []).append(step)
        self.ready = [(s.number, s) for s in steps if not self.missing[s]]
        heapq.heapify(self.ready)
        # Steps whose operands are ready but which may not overwrite their state yet.
        self.held: list[Step] = []

    def advance(self) -> bool:
        """Place what can be placed; whether anything was."""
        before = len(self.done)
        while self.ready:
            step = heapq.heappop(self.ready)[1]
            if self._may_commit(step):
                self._place(step)
            else:
                self.held.append(step)
        waiting, self.held = self.held, []
        for step in waiting:
            if self._may_commit(step):
                self._place(step)
            else:
                self.held.append(step)
        return len(self.done) > before

    def give_up_one(self) -> None:
        """Let the first held step write into memory of its own instead."""
        step = min(self.held, key=lambda s: s.number)
        self.copied.update(output for _, output in step.commits)
        step.commits = []
        self.held.remove(step)
        self._place(step)

    def _may_commit(self, step: Step) -> bool:
        if not step.commits:
            return True
        if self.failing or not step.is_safe:
            return False
        return all(
            r is step or r in self.placed
            for state, _ in step.commits
            for r in self.readers.get(state, ())
        )

    def _place(self, step: Step) -> None:
        self.done.append(step)
        self.placed.add(step)
        self.failing -= step.can_fail
        for user in self.users.get(step, ()):
            self.missing[user] -= 1
            if not self.missing[user]:
                heapq.heappush(self.ready, (user.number, user))
