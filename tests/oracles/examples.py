"""Tiny networks and batches for tests of the oracles and of the code compared with them."""

from dataclasses import replace

import torch
from torch import Tensor

from .network import Layer


def t(*values: float | list[float]) -> Tensor:
    """A float64 tensor of the given numbers (or rows)."""
    return torch.tensor(values, dtype=torch.float64)


def normal(*shape: int, seed: int = 0) -> Tensor:
    """Standard normal float64 draws."""
    return torch.randn(*shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def dense_net(norm: str = "batch", seed: int = 1) -> list[Layer]:
    """3 → 4 → 4 → 2: two normalized ReLU layers and a head with a bias."""
    made = []
    for i, (out, into) in enumerate([(4, 3), (4, 4), (2, 4)]):
        weight = normal(out, into, seed=seed + 10 * i)
        normed = i < 2
        made.append(
            Layer(
                weight,
                bias=None if normed else normal(out, seed=seed + 5),
                norm=norm if normed else "none",
                gamma=1 + 0.2 * normal(out, seed=seed + 2 + i) if normed else None,
                beta=0.3 * normal(out, seed=seed + 4 + i) if normed else None,
                relu=normed,
                groups=2,
            )
        )
    return made


def conv_net(norm: str = "batch") -> list[Layer]:
    """1×4×4 → normalized, pooled convolution with 2 channels → 3 classes."""
    first = Layer(
        normal(2, 1, 3, 3, seed=3), norm=norm, gamma=t(1.1, 0.8), beta=t(0.1, -0.2), relu=True, pool=True
    )
    return [replace(first, groups=2), Layer(normal(3, 8, seed=4), bias=t(0.1, 0.2, 0.3))]


X, TARGETS = normal(6, 3, seed=7), normal(6, 2, seed=8)
PICTURES, CLASSES = normal(3, 1, 4, 4, seed=9), torch.tensor([0, 2, 1])
