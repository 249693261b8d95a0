"""Data to learn from, shipped with the package."""

from __future__ import annotations

from .frontend.data import Digits, digits

__all__ = [
    "Digits",
    "digits",
]
