"""Failures of compiled code as the exceptions that users expect."""

from __future__ import annotations

from collections.abc import Sequence

from ..ir.errors import located
from ..runtime.executable import Call, KernelError

# How the messages begin that speak of an index; a target is the index of its class.
_INDEX = ("index", "Index", "Target")


def run(call: Call, pointers: Sequence[int], ran: list[int] | None = None) -> None:
    """Run a prepared call; a failed check raises IndexError or RuntimeError as PyTorch would.
    `ran` is as for `Call.run`."""
    try:
        call.run(pointers, ran=ran)
    except KernelError as error:
        raise failure(error) from None


def failure(error: KernelError) -> Exception:
    """What users expect in place of a failed check."""
    kind = IndexError if error.message.startswith(_INDEX) else RuntimeError
    return located(kind(str(error)))
