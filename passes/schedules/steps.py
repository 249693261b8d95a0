"""How indices grow along a lane."""

from __future__ import annotations

from .index import ONE, Atom, Ix, Monomial, polynomial


def lane_step(x: Ix, loop: Atom, width: int) -> Ix | None:
    """How much an index grows from one iteration of a loop to the next, within blocks of `width`
    iterations that begin at multiples of `width` (anywhere if that is 0); None where the steps
    differ.

    With blocks of 16, ``floordiv(i, 64)`` grows by 0 and ``mod(i, 64)`` by 1.
    """
    out: dict[Monomial, int] = {}
    for monomial, c in x.terms:
        moving: list[Atom] = []
        for atom in monomial:
            if atom.deps & loop.deps:
                step = _atom_step(atom, loop, width)
                if step is None:
                    return None
                if step:
                    moving.append(atom)
        if len(moving) > 1:
            return None
        if moving:
            rest = list(monomial)
            rest.remove(moving[0])
            out[tuple(rest)] = out.get(tuple(rest), 0) + c
    return polynomial(out)


def _atom_step(atom: Atom, loop: Atom, width: int) -> int | None:
    if atom is loop:
        return 1
    if atom.kind not in ("floordiv", "mod"):
        return None
    whole, divisor = atom.args[:2]
    step = lane_step(whole, loop, width)
    if step is None or divisor.deps & loop.deps:
        return None
    if not step.terms:
        return 0
    number = divisor.constant
    if (
        step != ONE
        or not width
        or number is None
        or number % width
        or not _is_multiple(whole, loop, width)
    ):
        return None
    return 0 if atom.kind == "floordiv" else 1


def _is_multiple(x: Ix, loop: Atom, width: int) -> bool:
    """Whether an index is a multiple of `width` wherever the loop's is."""
    for monomial, c in x.terms:
        if c % width == 0 or loop in monomial:
            continue
        inner = [a for a in monomial if a.kind == "mod" and (a.args[1].constant or 1) % width == 0]
        if not any(_is_multiple(a.args[0], loop, width) for a in inner):
            return False
    return True
