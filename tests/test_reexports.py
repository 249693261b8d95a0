"""The folders at the root that users import from: complete, the same objects, and picklable."""

from __future__ import annotations

import importlib
import pickle

import pytest

from tree import Module, imports, modules

LAYERS = {"ir", "passes", "codegen", "runtime", "frontend"}
TOOLS = {"", "__main__", "universe"}
FACADES = [m for m in modules() if m.name.split(".")[0] not in LAYERS | TOOLS]


def load(name: str):
    """The module `calque.<name>`."""
    return importlib.import_module(f"calque.{name}")


def sources(facade: Module) -> set[str]:
    """The frontend modules that a root module names."""
    return {
        found.target
        for found in imports(facade)
        if found.internal and found.target.startswith("frontend.")
    }


@pytest.mark.parametrize("facade", FACADES, ids=str)
def test_declares_what_it_offers(facade: Module) -> None:
    offered = load(facade.name)
    assert offered.__all__, "a root module is a table of contents"
    missing = [name for name in offered.__all__ if not hasattr(offered, name)]
    assert not missing
    assert len(set(offered.__all__)) == len(offered.__all__)


@pytest.mark.parametrize("facade", FACADES, ids=str)
def test_offers_the_frontends_objects(facade: Module) -> None:
    """Each source's public names are here or in a sibling, and are the source's own objects."""
    for source in sorted(sources(facade)):
        original = load(source)
        for name in original.__all__:
            homes = [load(m.name) for m in FACADES if source in sources(m)]
            found = [home for home in homes if name in home.__all__]
            assert found, f"calque.{source}.{name} is not re-exported"
            assert all(getattr(home, name) is getattr(original, name) for home in found)


@pytest.mark.parametrize("facade", FACADES, ids=str)
def test_what_it_offers_pickles(facade: Module) -> None:
    offered = load(facade.name)
    for name in offered.__all__:
        value = getattr(offered, name)
        if isinstance(value, type) or callable(value):
            assert pickle.loads(pickle.dumps(value)) is value, name


def test_the_root_offers_the_public_namespace() -> None:
    """Every name that the frontend's modules publish for `calque.*`, loaded at its first use."""
    import calque

    api = load("frontend.api")
    for name in api.__all__:
        assert getattr(calque, name) is getattr(api, name)
    assert set(api.__all__) < set(dir(calque))
    for name in ("autograd", "data", "nn", "optim"):
        assert getattr(calque, name) is load(name)
    absent = "absent"
    with pytest.raises(AttributeError, match="module 'calque' has no attribute 'absent'"):
        getattr(calque, absent)


def test_the_public_namespace_is_complete() -> None:
    api = load("frontend.api")
    (module,) = (m for m in modules() if m.name == "frontend.api")
    homes = {found.target for found in imports(module) if found.internal}
    for home in sorted(homes):
        original = load(home)
        for name in original.__all__:
            assert getattr(api, name) is getattr(original, name), f"{home}.{name}"


def test_the_public_namespace_pickles() -> None:
    api = load("frontend.api")
    for name in api.__all__:
        value = getattr(api, name)
        if isinstance(value, type) or callable(value) or name in ("float32", "bool"):
            assert pickle.loads(pickle.dumps(value)) is value, name
