"""Saving and loading tensors: `calque.save`, `calque.load`, in the safetensors format.

A state dict becomes a plain safetensors file that every tool reads. Structures with more in them
(an optimizer's state dict, a checkpoint) keep their tensors there too; the rest is JSON in the
file's metadata. Nothing in a file is ever executed.
"""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from ..ir.errors import type_error, value_error
from .creation import from_array
from .tensor import Tensor

_TREE = "calque"  # the metadata entry that holds the structure
_TENSOR, _TUPLE, _PAIRS = "$tensor", "$tuple", "$dict"


def save(obj: Any, f: str | os.PathLike[str]) -> None:
    """Write nested dicts, lists and tuples of tensors and plain values to a file.

    The file appears whole or not at all. Raises TypeError for values of other types.
    """
    tensors: dict[str, np.ndarray] = {}
    tree = _encode(obj, "", tensors)
    flat = isinstance(obj, Mapping) and all(isinstance(v, Tensor) for v in obj.values())
    metadata = None if flat else {_TREE: json.dumps(tree)}
    write_arrays(Path(f), tensors, metadata)


def load(f: str | os.PathLike[str]) -> Any:
    """What `save` wrote, or the dict of tensors of any safetensors file."""
    arrays, metadata = read_arrays(Path(f))
    tensors = {name: from_array(array) for name, array in arrays.items()}
    if _TREE not in metadata:
        return tensors
    return _decode(json.loads(metadata[_TREE]), tensors)


def write_arrays(
    path: Path, arrays: Mapping[str, np.ndarray], metadata: dict[str, str] | None = None
) -> None:
    """Write arrays to a safetensors file, which appears whole or not at all."""
    from safetensors.numpy import save_file

    plain = {name: np.array(array, order="C") for name, array in arrays.items()}
    handle, scratch = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    os.close(handle)
    try:
        save_file(plain, scratch, metadata)
        os.replace(scratch, path)
    except BaseException:
        os.unlink(scratch)
        raise


def read_arrays(path: Path) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and the metadata of a safetensors file. Raises ValueError for other files."""
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        raise FileNotFoundError(f"no such file: {path}")
    try:
        with safe_open(str(path), "np") as file:
            arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
            return arrays, dict(file.metadata() or {})
    except SafetensorError as error:
        raise value_error(f"{path} is not a safetensors file: {error}") from None


def _encode(value: Any, path: str, tensors: dict[str, np.ndarray]) -> Any:
    """`value` as JSON; its tensors go to `tensors` under their paths."""
    if isinstance(value, Tensor):
        name = path or "value"
        tensors[name] = value.detach()._array("saving")
        return {_TENSOR: name}
    if isinstance(value, Mapping):
        return {
            _PAIRS: [
                [key, _encode(v, f"{path}.{key}" if path else str(key), tensors)]
                for key, v in value.items()
            ]
        }
    if isinstance(value, list | tuple):
        items = [
            _encode(v, f"{path}.{i}" if path else str(i), tensors) for i, v in enumerate(value)
        ]
        return {_TUPLE: items} if isinstance(value, tuple) else items
    if value is None or isinstance(value, bool | int | float | str):
        return value
    raise type_error(
        f"cannot save a {type(value).__name__}: save takes tensors, numbers, strings, and dicts, "
        "lists and tuples of them; of a module save its state_dict()"
    )


def _decode(tree: Any, tensors: Mapping[str, Tensor]) -> Any:
    if isinstance(tree, list):
        return [_decode(v, tensors) for v in tree]
    if isinstance(tree, dict):
        if _TENSOR in tree:
            return tensors[tree[_TENSOR]]
        if _TUPLE in tree:
            return tuple(_decode(v, tensors) for v in tree[_TUPLE])
        return {key: _decode(v, tensors) for key, v in tree[_PAIRS]}
    return tree


__all__ = ["load", "save"]
