"""The kinds of loops that docs/how-to/observe.md lists: models, losses, batches."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

from .loops import (
    Batch,
    Kind,
    Loss,
    accumulating,
    around_the_step,
    by_closure,
    clipping,
    in_evaluation_mode,
    scaling,
    with_average,
)


def draws(count: int, *shape: int, updates: int = 2) -> Iterator[list[Tensor]]:
    """For each update `count` tensors, float64."""
    source = torch.Generator().manual_seed(5)
    for _ in range(updates):
        yield [torch.randn(*shape, generator=source, dtype=torch.float64) for _ in range(count)]


def pairs(*, updates: int = 2, count: int = 1, samples: int = 6) -> list[list[Batch]]:
    """Inputs of 3 numbers and targets of 2."""
    found = draws(2 * count, samples, 3, updates=updates)
    return [[(x, y[:, :2]) for x, y in zip(one[:count], one[count:], strict=True)] for one in found]


def perceptron(*, norm: bool = True) -> nn.Sequential:
    return nn.Sequential(
        nn.Linear(3, 4), nn.BatchNorm1d(4) if norm else nn.Identity(), nn.Tanh(), nn.Linear(4, 2)
    ).double()


def squared(net: Any, batch: Batch) -> Tensor:
    return F.mse_loss(net(batch[0]), batch[1])


def penalized(net: Any, batch: Batch) -> Tensor:
    return squared(net, batch) + 0.1 * sum(p.square().sum() for p in net.parameters())


def twice(net: Any, batch: Batch) -> Tensor:
    """Two passes, and an inner module by itself."""
    x, y = batch
    return F.mse_loss(net(x), y) + F.mse_loss(net(x.flip(1)), net(x)) + net[0](x).square().mean()


def gradient_penalty(net: Any, batch: Batch) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    return squared(net, batch) + slope.square().mean()


def mixup(net: Any, batch: Batch) -> Tensor:
    x, y = batch
    return F.mse_loss(net(0.7 * x + 0.3 * x.roll(1, 0)), 0.7 * y + 0.3 * y.roll(1, 0))


class Output(NamedTuple):
    loss: Tensor
    logits: Tensor


class Words(nn.Module):
    """Token ids to a loss, with the embedding's weight at both ends, as language models have it."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(7, 4)
        self.block = nn.TransformerEncoderLayer(4, 2, 8, dropout=0.0, batch_first=True)
        self.norm = nn.RMSNorm(4)
        self.head = nn.Linear(4, 7, bias=False)
        self.head.weight = self.embedding.weight

    def forward(self, *, ids: Tensor, labels: Tensor) -> Output:
        logits = self.head(self.norm(self.block(self.embedding(ids))))
        return Output(F.cross_entropy(logits.flatten(0, 1), labels.flatten()), logits)


def words() -> list[list[Batch]]:
    source = torch.Generator().manual_seed(6)
    ids = [torch.randint(7, (3, 5), generator=source) for _ in range(2)]
    return [[{"ids": one, "labels": one.roll(-1, 1)}] for one in ids]


class Checkpointed(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.inner = nn.Linear(3, 3).double(), perceptron()

    def forward(self, x: Tensor) -> Any:
        return checkpoint(self.inner, self.first(x), use_reentrant=False)


def grouped(net: nn.Module) -> torch.optim.Optimizer:
    """Layer-wise rates, and no decay of biases."""
    groups = [
        {"params": [p], "lr": 0.02 * (1 + i), "weight_decay": 0.1 if p.ndim > 1 else 0.0}
        for i, p in enumerate(net.parameters())
    ]
    return torch.optim.SGD(groups, lr=0.1, momentum=0.9)


def fused(net: nn.Module) -> torch.optim.Optimizer:
    """Unscales a scaler's gradients by itself."""
    return torch.optim.SGD(net.parameters(), lr=0.05, fused=True)


def lbfgs(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.LBFGS(net.parameters(), lr=0.1)


def autocast(dtype: torch.dtype) -> Loss:
    def loss_of(net: Any, batch: Batch) -> Tensor:
        with torch.autocast("cpu", dtype):
            outputs = net(batch[0])
        return F.mse_loss(outputs.float(), batch[1])

    return loss_of


def singles(*, updates: int = 2) -> list[list[Batch]]:
    """In float32."""
    return [[(x.float(), y.float())] for ((x, y),) in pairs(updates=updates)]


class Named(nn.Module):
    """Returns a dictionary."""

    def __init__(self) -> None:
        super().__init__()
        self.map = perceptron()

    def forward(self, x: Tensor) -> dict[str, Tensor]:
        return {"y": self.map(x)}


def sequences() -> list[list[Batch]]:
    return [[(x, x.mean((1, 2), keepdim=True).flatten(1).repeat(1, 2))] for (x,) in draws(1, 4, 3, 5)]


def volumes() -> list[list[Batch]]:
    return [[(x, x.flatten(1)[:, :2])] for (x,) in draws(1, 3, 1, 2, 3, 3)]


def pictures(*, channels_last: bool) -> nn.Module:
    net = nn.Sequential(
        nn.Conv2d(3, 4, 3, padding=1), nn.BatchNorm2d(4), nn.Tanh(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        nn.Linear(4, 2),
    ).double()  # fmt: skip
    return net.to(memory_format=torch.channels_last) if channels_last else net  # type: ignore[call-overload]


def images() -> list[list[Batch]]:
    return [
        [(x.contiguous(memory_format=torch.channels_last), x.flatten(1)[:, :2])]
        for (x,) in draws(1, 4, 3, 5, 5)
    ]


KINDS: dict[str, Kind] = {
    "plain": Kind(perceptron, squared, pairs),
    "a penalty in the loss": Kind(perceptron, penalized, pairs),
    "several forward passes": Kind(perceptron, twice, pairs),
    "a gradient penalty": Kind(lambda: perceptron(norm=False), gradient_penalty, pairs),
    "mixup": Kind(perceptron, mixup, pairs),
    "outputs in a dictionary": Kind(Named, lambda net, batch: F.mse_loss(net(batch[0])["y"], batch[1]), pairs),
    "tied weights, integer inputs, outputs with a loss": Kind(
        lambda: Words().double(), lambda net, batch: net(**batch).loss, words
    ),
    "convolutions in one dimension": Kind(
        lambda: nn.Sequential(nn.Conv1d(3, 4, 3), nn.GroupNorm(2, 4), nn.Flatten(), nn.Linear(12, 2)).double(),
        squared,
        sequences,
    ),
    "convolutions in three dimensions": Kind(
        lambda: nn.Sequential(nn.Conv3d(1, 4, 2), nn.BatchNorm3d(4), nn.Flatten(), nn.Linear(16, 2)).double(),
        squared,
        volumes,
    ),
    "channels last": Kind(lambda: pictures(channels_last=True), squared, images),
    "activation checkpointing": Kind(Checkpointed, squared, pairs),
    "torch.compile": Kind(lambda: torch.compile(perceptron(), backend="eager"), squared, pairs),  # type: ignore[arg-type,return-value]
    "accumulated gradients": Kind(
        perceptron, squared, lambda: pairs(count=3), accumulating, weights=(0.5, 0.25, 0.25)
    ),
    "clipped gradients": Kind(perceptron, squared, pairs, clipping),
    "a closure": Kind(perceptron, squared, pairs, by_closure),
    "L-BFGS": Kind(perceptron, squared, pairs, by_closure, lbfgs),
    "learning rates by group": Kind(perceptron, squared, pairs, optimizer=grouped),
    "normalization in evaluation mode": Kind(perceptron, squared, pairs, in_evaluation_mode),
    "a moving average of the weights": Kind(perceptron, squared, pairs, with_average),
    "a gradient scaler": Kind(perceptron, squared, pairs, scaling),
    "a gradient scaler, unscaled by the optimizer": Kind(perceptron, squared, pairs, scaling, fused),
    "bfloat16 autocast": Kind(
        lambda: perceptron().float(), autocast(torch.bfloat16), singles, reference=squared, rtol=1e-5
    ),
    "float16 autocast with a gradient scaler": Kind(
        lambda: perceptron().float(), autocast(torch.float16), singles, scaling, reference=squared, rtol=1e-5
    ),
    "probes under the loop's autocast": Kind(
        lambda: perceptron().float(), autocast(torch.bfloat16), singles,
        settings={"probe_autocast": True}, reference=squared,
    ),
    "autocast outside `loss_of`": Kind(
        lambda: perceptron().float(), squared, singles, around_the_step,
        faithful=False, reference=squared, rtol=1e-5,
    ),
}  # fmt: skip
"""By name, as in docs/observe.md."""
