"""Training loops of every kind, each with two updates, and their losses by plain autograd."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint

import bncore
from bncore.external.observe import ObservedStep
from bncore.store.journal import read_events

from .factories import Event

Batch = Any
Loss = Callable[[Any, Batch], Tensor]
Update = Callable[["Kind", nn.Module, torch.optim.Optimizer, Sequence[Batch], ObservedStep | None], None]
"""The part of a loop within a step, on the micro-batches of one update; observed or not."""
PROBES = {"landscape": {"every": 1, "floor_every": 1}, "sharpness": {"every": 1, "iterations": 8}}


def told(step: ObservedStep | None, loss: Tensor) -> None:
    if step is not None:
        step.record(loss)


def plain(
    kind: Kind,
    net: nn.Module,
    optimizer: torch.optim.Optimizer,
    micro: Sequence[Batch],
    step: ObservedStep | None,
) -> None:
    optimizer.zero_grad()
    loss = kind.loss_of(net, micro[0])
    loss.backward()
    optimizer.step()
    told(step, loss)


def sgd(net: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(net.parameters(), lr=0.05, momentum=0.9)


@dataclass(frozen=True)
class Kind:
    """A kind of loop."""

    net: Callable[[], nn.Module]
    loss_of: Loss
    batches: Callable[[], list[list[Batch]]]
    """The micro-batches of each update."""
    update: Update = plain
    optimizer: Callable[[nn.Module], torch.optim.Optimizer] = sgd
    weights: tuple[float, ...] = (1.0,)
    """Of the micro-batches."""
    faithful: bool = True
    exact: bool = True
    """Whether all of it is float64, so that every number can be compared."""
    settings: dict[str, Any] = field(default_factory=dict)
    probes: dict[str, Any] = field(default_factory=lambda: dict(PROBES))

    def rates(self, net: nn.Module) -> dict[str, float]:
        """The learning rate of each parameter."""
        groups = self.optimizer(net).param_groups
        by_id = {id(p): float(group["lr"]) for group in groups for p in group["params"]}
        return {name: by_id.get(id(p), 0.0) for name, p in net.named_parameters()}


class Run(NamedTuple):
    """What a loop leaves."""

    net: nn.Module
    before: list[dict[str, Tensor]]
    """The parameters before each update."""
    buffers: list[dict[str, Tensor]]
    state: dict[str, Any]
    """Everything that it would continue from."""


def run_loop(kind: Kind, directory: Path | None) -> Run:
    """The loop, observed into a directory or by itself."""
    torch.manual_seed(1)
    net = kind.net()
    inner = getattr(net, "_orig_mod", net)
    optimizer = kind.optimizer(net)
    before, buffers = [], []
    torch.manual_seed(2)
    opened: Any = nullcontext()
    if directory is not None:
        options: dict[str, Any] = {"probes": kind.probes, "on_error": "raise", **kind.settings}
        opened = bncore.observe(net, optimizer, loss_of=kind.loss_of, run=directory, **options)
    with opened as watch:
        for micro in kind.batches():
            before.append({n: p.detach().clone() for n, p in inner.named_parameters()})
            buffers.append({n: b.detach().clone() for n, b in inner.named_buffers()})
            given = () if len(micro) > 1 else (micro[0],)
            with nullcontext() if watch is None else watch.step(*given) as step:
                kind.update(kind, net, optimizer, micro, step)
            torch.rand(1)
    slots = optimizer.state_dict()["state"]
    state = {f"net.{name}": value for name, value in inner.state_dict().items()}
    state |= {f"grad.{name}": p.grad for name, p in inner.named_parameters()}
    state |= {f"optimizer.{i}.{name}": value for i, slot in slots.items() for name, value in slot.items()}
    state |= {"generator": torch.get_rng_state()}
    state |= {f"mode.{name}": module.training for name, module in inner.named_modules()}
    return Run(inner, before, buffers, state)


def journal(directory: Path) -> list[Event]:
    return read_events(directory / "journal.jsonl")


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


def penalised(net: Any, batch: Batch) -> Tensor:
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


KINDS: dict[str, Kind] = {
    "plain": Kind(perceptron, squared, pairs),
    "a penalty in the loss": Kind(perceptron, penalised, pairs),
    "several passes": Kind(perceptron, twice, pairs),
    "a gradient penalty": Kind(lambda: perceptron(norm=False), gradient_penalty, pairs),
    "mixup": Kind(perceptron, mixup, pairs),
    "tied weights, integer inputs, outputs with a loss": Kind(
        lambda: Words().double(), lambda net, batch: net(**batch).loss, words
    ),
    "activation checkpointing": Kind(Checkpointed, squared, pairs),
}
"""By name, as in docs/observe.md."""
