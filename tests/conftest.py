"""Settings that every test shares."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled kernels below `.pytest_cache`, not in the user's cache."""
    os.environ.setdefault("CALQUE_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "calque"))
