"""`calque demo`: a convolutional network learns to read digits, in compiled steps."""

from __future__ import annotations

import os
import re
import time
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from . import data, random
from .cli_errors import Parser, reported
from .compile import compile
from .creation import from_numpy
from .gradmode import no_grad
from .nn import functional as F
from .nn.activation import ReLU
from .nn.containers import Sequential
from .nn.layers import Conv2d, Dropout, Flatten, Linear
from .nn.module import Module
from .nn.normalization import BatchNorm2d
from .nn.pooling import MaxPool2d
from .optim.lr_scheduler import CosineAnnealingLR
from .optim.sgd import SGD
from .serialization import write_arrays
from .stages import stage_text
from .tensor import Tensor

_SUFFIX = {"graph": "mlir", "linalg": "mlir", "kernel": "mlir", "llvm": "ll", "asm": "s"}


def network() -> Sequential:
    """Images (N, 1, 8, 8) to scores (N, 10)."""
    return Sequential(
        Conv2d(1, 16, 3, padding=1), BatchNorm2d(16), ReLU(),
        Conv2d(16, 32, 3, padding=1), BatchNorm2d(32), ReLU(),
        MaxPool2d(2), Dropout(0.25), Flatten(),
        Linear(32 * 4 * 4, 10),
    )  # fmt: skip


class Training:
    """The model, the optimizer, and the two compiled functions: a step, and a prediction."""

    def __init__(self, steps: int) -> None:
        self.model = model = network()
        self.optimizer = optimizer = SGD(model.parameters(), lr=0.05, momentum=0.9)
        self.schedule = CosineAnnealingLR(optimizer, steps)

        def step(images: Tensor, labels: Tensor) -> Tensor:
            optimizer.zero_grad()
            loss = F.cross_entropy(model(images), labels)
            loss.backward()
            optimizer.step()
            return loss.detach()

        def predict(images: Tensor) -> Tensor:
            with no_grad():
                return model(images).argmax(1)

        self.step = compile(step)
        self.predict = compile(predict)

    def accuracy(self, images: np.ndarray, labels: np.ndarray) -> float:
        """The share of images that are read right."""
        self.model.eval()
        found = self.predict(from_numpy(images)).numpy()
        self.model.train()
        return float((found == labels).mean())


def demo(argv: Sequence[str]) -> int:
    """Train on the digits that the package ships, and show what was compiled."""
    parser = Parser("calque demo", description=demo.__doc__)
    parser.add_argument("--epochs", type=int, default=12)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--seed", type=int, default=0)
    folder = Path(os.environ.get("CALQUE_CACHE_DIR") or "~/.cache/calque") / "demo"
    parser.add_argument("--stages", default=str(folder), help="the folder to write the stages to")
    args = parser.parse_args(argv)
    if args.epochs < 1 or args.batch < 2:
        parser.error("--epochs is at least 1 and --batch at least 2")
    random.manual_seed(args.seed)
    digits = data.digits()
    count = len(digits.train_labels)
    print(
        f"{count} images of handwritten digits to learn from, {len(digits.test_labels)} to test "
        "(Alpaydin and Kaynak, 1998; UCI Machine Learning Repository)"
    )
    batches = -(-count // args.batch)
    training = Training(args.epochs * batches)
    print(_describe(training.model))
    _train(training, digits, args.epochs, args.batch, args.seed)
    reached = training.accuracy(digits.test_images, digits.test_labels)
    print(f"test accuracy: {reached:.1%}\n")
    with reported(args.stages):
        _report(training, Path(args.stages).expanduser())
    return 0


def _describe(model: Module) -> str:
    weights = sum(p.numel() for p in model.parameters())
    return f"{model!r}\n{weights} weights\n"


def _train(training: Training, digits: data.Digits, epochs: int, batch: int, seed: int) -> None:
    """All epochs, with a line on each and what compiling cost."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn

    order = np.random.default_rng(seed)
    count = len(digits.train_labels)
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    console = Console()
    with Progress(*columns, console=console, transient=True) as progress:
        bar = progress.add_task("", total=epochs * -(-count // batch))
        for epoch in range(epochs):
            start, losses, compiling = time.perf_counter(), [], 0.0
            shuffled = order.permutation(count)
            for first in range(0, count, batch):
                chosen = shuffled[first : first + batch]
                images = from_numpy(digits.train_images[chosen])
                labels = from_numpy(digits.train_labels[chosen])
                known, began = training.step.compiles, time.perf_counter()
                losses.append(training.step(images, labels))
                if training.step.compiles != known:
                    compiling += time.perf_counter() - began
                training.schedule.step()
                progress.update(bar, advance=1, description=f"epoch {epoch + 1}")
            took = time.perf_counter() - start
            loss = float(np.mean([x.item() for x in losses]))
            speed = (took - compiling) / len(losses) * 1e3
            line = f"epoch {epoch + 1:2}  loss {loss:.4f}  {took:.2f} s  ({speed:.2f} ms a step)"
            note = f", {compiling:.2f} s of it compiling" if compiling else ""
            console.print(line + note, highlight=False)


def _report(training: Training, folder: Path) -> None:
    """What was compiled, and every stage of it as a file."""
    step = training.step
    program = step.program
    report = step.explain()
    kinds = Counter(re.findall(r"^  \w+ \[(\w+)\]", report, re.MULTILINE))
    parts = ", ".join(f"{n} {kind}" for kind, n in kinds.most_common())
    print(
        f"the training step (forward, backward, optimizer) was compiled {step.compiles} times: "
        f"for the first batch, then for any size\nit is one native call of {kinds.total()} "
        f"kernels: {parts}\n"
    )
    folder.mkdir(parents=True, exist_ok=True)
    module = program.module()
    print("the step at every stage, and a report on its kernels:")
    texts = {f"step.{stage}.{suffix}": stage for stage, suffix in _SUFFIX.items()}
    for name, stage in texts.items():
        (folder / name).write_text(stage_text(module, stage))
        print(f"  {folder / name}")
    (folder / "step.txt").write_text(report + "\n")
    print(f"  {folder / 'step.txt'}")
    weights = folder / "step.safetensors"
    write_arrays(weights, program.values())
    print(
        "\nchange one and run it:\n"
        f"  calque run {folder / 'step.linalg.mlir'} --weights {weights} "
        "--input 'f32[8x1x8x8]' --input 'i64[8]'"
    )
