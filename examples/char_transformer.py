"""A character transformer learns Python from the standard library's own source, then writes some.

Forward pass, loss, backward pass and optimizer are one compiled function, one native call a step.

    python examples/char_transformer.py                     # a few minutes on two cores
    python examples/char_transformer.py --text book.txt --steps 2000
"""

from __future__ import annotations

import argparse
import math
import sysconfig
import time
from pathlib import Path

import numpy as np

import calque
import calque.nn as nn
import calque.nn.functional as F
from calque import Tensor


class Attention(nn.Module):
    """Several heads of causal self-attention over (N, T, width)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        n, t, width = x.shape
        q, k, v = (
            part.reshape(n, t, self.heads, width // self.heads).transpose(1, 2)
            for part in self.qkv(x).split(width, dim=2)
        )
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
        return self.out(y.transpose(1, 2).reshape(n, t, width))


class Block(nn.Module):
    """Attention and a two-layer network, each around a residual connection."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.norm1, self.norm2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.attention = Attention(width, heads)
        self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self.attention(self.norm1(x))
        return x + self.down(F.gelu(self.up(self.norm2(x))))


class Transformer(nn.Module):
    """Characters (N, T) to scores of the next one (N, T, vocabulary)."""

    def __init__(self, vocabulary: int, layers: int, width: int, heads: int, context: int) -> None:
        super().__init__()
        self.characters = nn.Embedding(vocabulary, width)
        self.positions = nn.Embedding(context, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(layers)))
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, vocabulary, bias=False)
        for name, parameter in self.named_parameters():
            if name.endswith("weight") and parameter.ndim == 2:
                # What is added to the residual stream starts smaller the more layers add to it.
                late = name.endswith(("out.weight", "down.weight"))
                nn.init.normal_(parameter, std=0.02 / math.sqrt(2 * layers) if late else 0.02)

    def forward(self, ids: Tensor) -> Tensor:
        x = self.characters(ids) + self.positions(calque.arange(ids.shape[1]))
        return self.head(self.norm(self.blocks(x)))


def standard_library(size: int) -> str:
    """About `size` characters of Python's own modules."""
    parts, found = [], 0
    for path in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        parts.append(path.read_text(encoding="utf-8", errors="ignore"))
        found += len(parts[-1])
        if found >= size:
            break
    return "".join(parts)


class Text:
    """A text as numbers, a character each; rare characters are left out."""

    def __init__(self, text: str, context: int) -> None:
        counts = np.unique(np.array(list(text)), return_counts=True)
        kept = [c for c, n in zip(*counts, strict=True) if n >= 10]
        self.characters = sorted(map(str, kept))
        number = {c: i for i, c in enumerate(self.characters)}
        self.ids = np.array([number[c] for c in text if c in number], np.int64)
        self.context = context
        if len(self.ids) < 2 * context:
            raise SystemExit(f"the text is too short: give at least {2 * context} characters")

    def batch(self, rng: np.random.Generator, count: int) -> tuple[Tensor, Tensor]:
        """Random pieces (count, context), and the same moved on by one character."""
        starts = rng.integers(0, len(self.ids) - self.context, count)
        pieces = self.ids[starts[:, None] + np.arange(self.context + 1)]
        x, y = np.ascontiguousarray(pieces[:, :-1]), np.ascontiguousarray(pieces[:, 1:])
        return calque.from_numpy(x), calque.from_numpy(y)

    def encode(self, text: str) -> list[int]:
        return [self.characters.index(c) for c in text if c in self.characters]

    def decode(self, ids: list[int]) -> str:
        return "".join(self.characters[i] for i in ids)


def train(model: nn.Module, text: Text, steps: int, batch: int, rate: float, seed: int) -> None:
    """Train by AdamW with a warm-up and a cosine; the changing rate never recompiles."""
    optimizer = calque.optim.AdamW(model.parameters(), lr=rate, betas=(0.9, 0.95))

    @calque.compile
    def step(x: Tensor, y: Tensor) -> Tensor:
        optimizer.zero_grad()
        scores = model(x)
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss.detach()

    rng = np.random.default_rng(seed)
    warm = max(1, steps // 20)
    started, since = time.perf_counter(), 0
    for i in range(steps):
        decay = 0.5 * (1 + math.cos(math.pi * i / steps))
        optimizer.param_groups[0]["lr"] = rate * min(1.0, (i + 1) / warm) * decay
        loss = step(*text.batch(rng, batch))
        if i == 0:
            print(f"first step, with compiling: {time.perf_counter() - started:.2f} s")
            started, since = time.perf_counter(), i + 1
        elif (i + 1) % 20 == 0 or i + 1 == steps:
            speed = (time.perf_counter() - started) / (i + 1 - since) * 1e3
            print(f"step {i + 1:5}  loss {loss.item():.3f}  {speed:.0f} ms a step", flush=True)
            started, since = time.perf_counter(), i + 1
    print(f"compilations: {step.compiles}")


def sample(
    model: nn.Module, text: Text, prompt: str, count: int, temperature: float, seed: int
) -> str:
    """The prompt and `count` characters after it; one program serves every length."""
    calque.manual_seed(seed)
    model.eval()

    @calque.compile
    def chances(ids: Tensor) -> Tensor:
        return F.softmax(model(ids)[:, -1] / temperature, dim=-1)

    ids = text.encode(prompt) or [0]
    with calque.no_grad():
        for _ in range(count):
            seen = calque.tensor([ids[-text.context :]])
            ids.append(int(calque.multinomial(chances(seen)[0], 1).item()))
    return text.decode(ids)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--text", type=Path, help="a text file to learn from")
    parser.add_argument("--steps", type=int, default=400)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--layers", type=int, default=6)
    parser.add_argument("--width", type=int, default=384)
    parser.add_argument("--heads", type=int, default=6)
    parser.add_argument("--context", type=int, default=128)
    parser.add_argument("--rate", type=float, default=1e-3)
    parser.add_argument("--sample", type=int, default=400, help="how many characters to write")
    parser.add_argument("--prompt", default="def ")
    parser.add_argument("--temperature", type=float, default=0.8)
    parser.add_argument("--seed", type=int, default=0)
    args = parser.parse_args()
    calque.manual_seed(args.seed)
    source = args.text.read_text(encoding="utf-8") if args.text else standard_library(1_000_000)
    text = Text(source, args.context)
    model = Transformer(
        len(text.characters), args.layers, args.width, args.heads, args.context
    )  # fmt: skip
    weights = sum(p.numel() for p in model.parameters())
    print(f"{len(text.ids)} characters of {len(text.characters)} kinds, {weights} weights")
    train(model, text, args.steps, args.batch, args.rate, args.seed)
    print(sample(model, text, args.prompt, args.sample, args.temperature, args.seed))


if __name__ == "__main__":
    main()
