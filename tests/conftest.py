"""Settings that every test shares."""

from __future__ import annotations

import os

import pytest


def pytest_configure(config: pytest.Config) -> None:
    """Keep compiled kernels below `.pytest_cache`, not in the user's cache."""
    os.environ.setdefault("CALQUE_CACHE_DIR", str(config.rootpath / ".pytest_cache" / "calque"))


@pytest.fixture(params=["native", "python"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Functions compiled meanwhile are called through the native entry, or without one, and eager
    operations are done natively, or not."""
    monkeypatch.setattr("calque.frontend.eager._routes", {})
    if request.param == "python":
        monkeypatch.setattr("calque.frontend.specialize.native_call", lambda route: None)
        monkeypatch.setattr("calque.frontend.nativecall.native_operation", lambda *args: None)
    return request.param
