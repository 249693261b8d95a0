"""calque: a deep-learning framework that is, all the way down, a compiler.

The public names are listed in `frontend/api.py` and loaded when the first of them is used, so that
`import calque` itself, compile workers and the command line start at once.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

# The package directory may be reached through a symlink; tracebacks should show the real files.
# pytest, which takes a checkout for a package of tests, loads this file as a module of no package
# where the folder's name is no identifier (calque-main): then there is no path, and no names.
__path__ = [os.path.realpath(p) for p in globals().get("__path__", ())]

__version__ = "0.1.0"

if TYPE_CHECKING:
    from . import autograd as autograd
    from . import data as data
    from . import nn as nn
    from . import optim as optim
    from .frontend.api import *  # noqa: F403
else:
    _MODULES = ("autograd", "data", "nn", "optim")

    def __getattr__(name: str) -> object:
        """A public name that was not used so far."""
        from importlib import import_module

        if name in _MODULES:
            return import_module(f".{name}", __name__)
        if name == "__all__":
            from .frontend import api

            return [*_MODULES, *api.__all__]
        if __package__ and not name.startswith("_"):
            from .frontend import api

            if name in api.__all__:
                globals()[name] = found = getattr(api, name)
                return found
        raise AttributeError(f"module 'calque' has no attribute '{name}'")

    def __dir__() -> list[str]:
        return [*globals(), *__getattr__("__all__")]
