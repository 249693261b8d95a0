"""The models that tests train, written once for calque and for PyTorch.

`mlp`, `cnn` and `transformer` take the module that provides the names: `calque` or `torch`.
"""

from __future__ import annotations

from typing import Any

import numpy as np


def mlp(lib: Any, inputs: int = 64, hidden: int = 64, classes: int = 10) -> Any:
    """Vectors (N, inputs) to scores (N, classes)."""
    nn = lib.nn
    return nn.Sequential(
        nn.Linear(inputs, hidden), nn.ReLU(),
        nn.Linear(hidden, hidden), nn.GELU(),
        nn.Linear(hidden, classes),
    )  # fmt: skip


def cnn(lib: Any, dropout: float = 0.25, channels: int = 16) -> Any:
    """Images (N, 1, 8, 8) to scores (N, 10)."""
    nn = lib.nn
    return nn.Sequential(
        nn.Conv2d(1, channels, 3, padding=1), nn.BatchNorm2d(channels), nn.ReLU(),
        nn.Conv2d(channels, 2 * channels, 3, padding=1), nn.BatchNorm2d(2 * channels), nn.ReLU(),
        nn.MaxPool2d(2), nn.Dropout(dropout), nn.Flatten(),
        nn.Linear(2 * channels * 16, 10),
    )  # fmt: skip


def transformer(
    lib: Any, vocabulary: int, layers: int = 4, width: int = 32, heads: int = 4, context: int = 32
) -> Any:
    """A GPT: tokens (N, T) to scores (N, T, vocabulary), each seeing those before it."""
    nn, F = lib.nn, lib.nn.functional

    class Attention(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.qkv = nn.Linear(width, 3 * width)
            self.out = nn.Linear(width, width)

        def forward(self, x: Any) -> Any:
            n, t, _ = x.shape
            q, k, v = (
                part.reshape(n, t, heads, width // heads).transpose(1, 2)
                for part in self.qkv(x).split(width, dim=2)
            )
            scores = q @ k.transpose(-2, -1) * (width // heads) ** -0.5
            at = lib.arange(t)
            scores = scores.masked_fill(at[:, None] < at[None, :], -float("inf"))
            y = F.softmax(scores, dim=-1) @ v
            return self.out(y.transpose(1, 2).reshape(n, t, width))

    class Block(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm1, self.attention = nn.LayerNorm(width), Attention()
            self.norm2 = nn.LayerNorm(width)
            self.up, self.down = nn.Linear(width, 4 * width), nn.Linear(4 * width, width)

        def forward(self, x: Any) -> Any:
            x = x + self.attention(self.norm1(x))
            return x + self.down(F.gelu(self.up(self.norm2(x))))

    class Transformer(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.tokens = nn.Embedding(vocabulary, width)
            self.positions = nn.Embedding(context, width)
            self.blocks = nn.ModuleList([Block() for _ in range(layers)])
            self.norm = nn.LayerNorm(width)
            self.head = nn.Linear(width, vocabulary, bias=False)

        def forward(self, ids: Any) -> Any:
            x = self.tokens(ids) + self.positions(lib.arange(ids.shape[1]))
            for block in self.blocks:
                x = block(x)
            return self.head(self.norm(x))

    return Transformer()


def set_weights(model: Any, lib: Any, seed: int = 0) -> None:
    """The same random weights for the same model, whichever library it is of."""
    rng = np.random.default_rng(seed)
    for name, parameter in sorted(model.named_parameters()):
        shape = tuple(parameter.shape)
        if parameter.ndim < 2:
            value = np.ones(shape) if name.endswith("weight") else np.zeros(shape)
            value = value + 0.1 * rng.standard_normal(shape)
        else:
            value = rng.standard_normal(shape) / np.sqrt(np.prod(shape[1:]))
        with lib.no_grad():
            parameter.copy_(lib.from_numpy(value.astype(np.float32)))


def training_step(lib: Any, model: Any, optimizer: Any) -> Any:
    """One step on (x, y): the classes y of the last dimension of what the model says of x."""
    F = lib.nn.functional

    def step(x: Any, y: Any) -> Any:
        optimizer.zero_grad()
        scores = model(x)
        loss = F.cross_entropy(scores.reshape(-1, scores.shape[-1]), y.reshape(-1))
        loss.backward()
        optimizer.step()
        return loss.detach()

    return step
