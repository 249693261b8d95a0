"""What calque adds to xDSL's tools: found by `xdsl-opt` through the entry point `xdsl.universe`."""

from __future__ import annotations

from xdsl.universe import Universe

CALQUE = Universe()
