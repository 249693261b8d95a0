"""`calque run`: compile a program and run it on files or random data."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..ir import dtype as dt
from ..ir.target import Target
from ..ir.types import TensorMeta
from ..runtime.artifact import Artifact, ParamSpec
from ..runtime.executable import Executable, KernelError
from ..runtime.memory import Buffer
from .cli_compile import load
from .cli_errors import CommandError, Parser, reported
from .cli_inputs import is_file_reference, parse_spec
from .files import replaced
from .printing import counted
from .stages import stage_module

_REPEATS = 5


def run(argv: Sequence[str]) -> int:
    """Run an .mlir file or `pkg.mod:object`; print shapes, time and a summary of the values."""
    parser = Parser("calque run", description=__doc__)
    parser.add_argument(
        "program", help="an .mlir file of any stage (- for stdin), or pkg.mod:object"
    )
    parser.add_argument(
        "--input", action="append", default=[],
        help="an .npy file, or f32[8x784] for random numbers; once for each input",
    )  # fmt: skip
    parser.add_argument(
        "--output", action="append", default=[],
        help="the .npy file to write a result to; once for each result",
    )  # fmt: skip
    parser.add_argument(
        "--weights", help="the .safetensors file with every tensor that no --input gives"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the random inputs")
    args = parser.parse_args(argv)
    _check_outputs(args.output)
    rng = np.random.default_rng(args.seed)
    given = [_Given(text, _input(text, rng)) for text in args.input]
    specs = [_spec_of(one) for one in given]
    program = load(args.program, specs if not is_file_reference(args.program) else (), args.weights)
    with reported(args.program):
        start = time.perf_counter()
        artifact = _compile(program.module)
        took = time.perf_counter() - start
        kernels = counted(len(artifact.kernels), "kernel")
        print(f"{args.program}: {kernels} compiled in {took * 1e3:.1f} ms")
        runner = _Runner(artifact)
        if len(args.output) > runner.results:
            found, wanted = counted(runner.results, "result"), len(args.output)
            raise CommandError(f"the program has {found}, not {wanted} --output files")
        inputs = runner.assign(given, program.values, rng)
        if args.weights is not None:
            runner.check_weights(args.weights, program.values)
        results = runner.run(inputs)
    _save(results, args.output)
    return 0


def _compile(module: Any) -> Artifact:
    from .. import codegen
    from ..runtime import cache

    kernels = stage_module(module, "kernel", dump=True)
    return codegen.compile_module(kernels, Target.host(), cache.default())


@dataclass(frozen=True)
class _Given:
    """What an `--input` says, and the array that it means."""

    text: str
    array: np.ndarray


def _input(text: str, rng: np.random.Generator) -> np.ndarray:
    """The array that an `--input` means."""
    with reported(f"input '{text}'" if text.endswith("]") else text):
        if not text.endswith("]"):
            with open(text, "rb") as file:
                return np.lib.format.read_array(file, allow_pickle=False)
        meta = parse_spec(text)
        if not all(isinstance(d, int) for d in meta.shape):
            raise CommandError(f"input '{text}': random data needs sizes that are numbers")
        return _random(meta, rng)


def _random(meta: TensorMeta, rng: np.random.Generator) -> np.ndarray:
    """Normal floats, and zeros and ones."""
    shape = tuple(int(d) for d in meta.shape if isinstance(d, int))
    if meta.dtype.is_floating_point:
        return rng.standard_normal(shape).astype(meta.dtype.numpy)
    return rng.integers(0, 2, shape).astype(meta.dtype.numpy)


def _spec_of(given: _Given) -> str:
    dtype, shape = given.array.dtype, given.array.shape
    try:
        meta = dt.from_numpy(dtype)
    except (KeyError, ValueError, TypeError):
        raise CommandError(f"{given.text}: arrays of {dtype} are not supported") from None
    return f"{meta.name}[{'x'.join(map(str, shape))}]"


class _Runner:
    """An executable on NumPy arrays."""

    def __init__(self, artifact: Artifact) -> None:
        self.executable = Executable(artifact)
        self.inputs = [p for p in artifact.params if p.role != "output"]
        self.outputs = [p for p in artifact.params if p.role == "output"]
        self.made_up: list[str] = []  # inputs that neither weights nor --input gave

    @property
    def results(self) -> int:
        """How many results there are that are no state."""
        return sum(p.alias is None for p in self.outputs)

    def assign(
        self, given: Sequence[_Given], values: dict[str, np.ndarray], rng: np.random.Generator
    ) -> list[np.ndarray]:
        """An array for each input: from the weights by name, then from those given in order."""
        left = list(given)
        out: list[np.ndarray] = []
        for param in self.inputs:
            dtype, source = _dtype(param), param.name
            if param.name in values:
                array = values[param.name]
            elif left:
                one = left.pop(0)
                array, source = one.array, f"{one.text}: {param.name}"
                _check_shape(source, param, array)
            elif all(isinstance(d, int) for d in param.dims):
                array = _random(TensorMeta(tuple(map(int, param.dims)), dtype), rng)
                self.made_up.append(param.name)
            else:
                shape = "x".join(map(str, param.dims))
                raise CommandError(f"{param.name}: {dtype.mlir}[{shape}] needs an --input")
            if array.dtype != dtype.numpy:
                raise CommandError(f"{source} is {dtype.mlir}, not {array.dtype}")
            out.append(np.array(array, order="C"))
        if left:
            taken = len(given) - len(left)
            raise CommandError(f"{counted(len(given), 'input')} given, {taken} taken")
        return out

    def check_weights(self, file: str, values: Iterable[str]) -> None:
        """Weights that were asked for give whatever no --input gives; what fits nothing is told."""
        if self.made_up:
            names = ", ".join(self.made_up)
            raise CommandError(f"{file} lacks {names}, which no --input gives either")
        unknown = sorted(set(values) - {param.name for param in self.inputs})
        if unknown:
            print(f"{file}: the program takes no {', '.join(unknown)}", file=sys.stderr)

    def run(self, arrays: list[np.ndarray]) -> list[tuple[str, np.ndarray]]:
        """Run several times, print shapes, time and values; results that are no state."""
        sizes = self.executable.sizes_of([a.shape for a in arrays])
        call = self.executable.prepare(sizes)
        for param, array in zip(self.inputs, arrays, strict=True):
            random = ", random: no weights" if param.name in self.made_up else ""
            print(f"  in   {_summary(param.name, array)}{random}")
        took: list[float] = []
        results: list[tuple[str, np.ndarray]] = []
        for _ in range(_REPEATS):  # each from the same state
            start, results = self._once(call, arrays)
            took.append(time.perf_counter() - start)
        for name, array in results:
            print(f"  out  {_summary(name, array)}")
        median = sorted(took)[_REPEATS // 2]
        print(f"  time {median * 1e3:.3f} ms, arena {call.arena_bytes} bytes")
        return results

    def _once(
        self, call: Any, arrays: Sequence[np.ndarray]
    ) -> tuple[float, list[tuple[str, np.ndarray]]]:
        held = [_aligned(array) for array in arrays]
        results: list[tuple[str, np.ndarray]] = []
        for param, shape in zip(self.outputs, call.shapes[len(arrays) :], strict=True):
            if param.alias is not None:
                held.append(held[param.alias])
                continue
            held.append(_aligned(np.zeros(shape, _dtype(param).numpy)))
            results.append((param.name, held[-1][1]))
        start = time.perf_counter()
        try:
            call.run([buffer.ptr for buffer, _ in held])
        except KernelError as error:
            raise CommandError(str(error)) from None
        return start, results


def _aligned(array: np.ndarray) -> tuple[Buffer, np.ndarray]:
    """A copy in memory that compiled code takes."""
    buffer = Buffer.empty(max(1, array.nbytes))
    strides = [s // array.itemsize for s in np.empty(array.shape, array.dtype).strides]
    copy = buffer.view_numpy(array.dtype, array.shape, tuple(strides), 0)
    copy[...] = array
    return buffer, copy


def _dtype(param: ParamSpec) -> dt.DType:
    return dt.BY_MLIR.get(param.dtype) or dt.BY_NAME[param.dtype]


def _summary(name: str, array: np.ndarray) -> str:
    """Shape and spread of an array."""
    dtype = dt.from_numpy(array.dtype)
    head = f"{name}: {dtype.mlir}[{'x'.join(map(str, array.shape))}]"
    if not array.size:
        return f"{head} empty"
    wide = array.astype(np.float64)
    if array.size == 1:
        return f"{head} {wide.item():.6g}"
    with np.errstate(all="ignore"):  # of infinities the mean is NaN
        mean = wide.mean()
    return f"{head} min {wide.min():.4g}, mean {mean:.4g}, max {wide.max():.4g}"


def _check_shape(source: str, param: ParamSpec, array: np.ndarray) -> None:
    """Raises CommandError for an array that cannot be this input, whatever the symbols mean."""
    sizes = zip(param.dims, array.shape, strict=False)
    if len(param.dims) != array.ndim or any(isinstance(d, int) and d != s for d, s in sizes):
        expected = ", ".join(map(str, param.dims))
        raise CommandError(f"{source}: expected shape ({expected}), got {array.shape}")


def _check_outputs(files: Sequence[str]) -> None:
    """Raises CommandError where results cannot be written, before anything is computed."""
    for file in files:
        path = Path(file)
        if path.is_dir():
            raise CommandError(f"--output {file}: this is a folder; name the file to write")
        if not path.parent.is_dir():
            raise CommandError(f"--output {file}: there is no folder {path.parent}")
        if files.count(file) > 1:
            raise CommandError(f"--output {file} is given twice")


def _save(results: Sequence[tuple[str, np.ndarray]], files: Sequence[str]) -> None:
    for (_, array), name in zip(results, files, strict=False):
        with reported(name), replaced(Path(name)) as file:
            np.save(file, array)
