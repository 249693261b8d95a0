"""calque: a deep-learning framework that is, all the way down, a compiler."""

from __future__ import annotations

import os

# The package directory may be reached through a symlink; tracebacks should show the real files.
__path__ = [os.path.realpath(p) for p in __path__]

__version__ = "0.1.0"
