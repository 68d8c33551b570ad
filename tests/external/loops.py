"""Training loops as people write them, observed or by themselves."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

import bncore
from bncore.external.observe import ObservedStep
from bncore.store.journal import read_events

from .factories import Event

Batch = Any
Loss = Callable[[Any, Batch], Tensor]
PROBES = {"landscape": {"every": 1, "floor_every": 1}, "sharpness": {"every": 1, "iterations": 8}}


class Step(NamedTuple):
    """What a loop has at hand within a step."""

    kind: Kind
    net: nn.Module
    optimizer: torch.optim.Optimizer
    micro: Sequence[Batch]
    """The micro-batches of one update."""
    observed: ObservedStep | None

    def loss(self) -> Tensor:
        return self.kind.loss_of(self.net, self.micro[0])

    def record(self, loss: Tensor) -> None:
        if self.observed is not None:
            self.observed.record(loss)


Update = Callable[[Step], None]
"""The part of a loop within a step."""


def plain(step: Step) -> None:
    step.optimizer.zero_grad()
    loss = step.loss()
    loss.backward()
    step.optimizer.step()
    step.record(loss)


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
    reference: Loss | None = None
    """The loss in float64, without autocast, where that is another; the loop is then one in float32."""
    rtol: float = 1e-10
    """How far numbers may be from plain autograd's in float64."""
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
                kind.update(Step(kind, net, optimizer, micro, step))
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


def accumulating(step: Step) -> None:
    step.optimizer.zero_grad()
    for batch, weight in zip(step.micro, step.kind.weights, strict=True):
        if step.observed is not None:
            step.observed.batch(batch, weight=weight)
        loss = step.kind.loss_of(step.net, batch)
        (weight * loss).backward()
        step.record(loss)
    step.optimizer.step()


def clipping(step: Step) -> None:
    step.optimizer.zero_grad()
    loss = step.loss()
    loss.backward()
    nn.utils.clip_grad_norm_(step.net.parameters(), 1e-2)
    step.optimizer.step()
    step.record(loss)


def scaling(step: Step) -> None:
    scaler = torch.amp.GradScaler("cpu", init_scale=1024.0)
    step.optimizer.zero_grad()
    loss = step.loss()
    scaler.scale(loss).backward()
    scaler.step(step.optimizer)
    scaler.update()
    step.record(loss)


def by_closure(step: Step) -> None:
    def closure() -> Tensor:
        step.optimizer.zero_grad()
        loss = step.loss()
        loss.backward()
        return loss

    step.record(step.optimizer.step(closure))  # type: ignore[arg-type]


def in_evaluation_mode(step: Step) -> None:
    step.net.eval()
    plain(step)


def with_average(step: Step) -> None:
    """A moving average of the weights is kept within the step."""
    average = torch.optim.swa_utils.AveragedModel(
        step.net, multi_avg_fn=torch.optim.swa_utils.get_ema_multi_avg_fn()
    )
    plain(step)
    average.update_parameters(step.net)


def around_the_step(step: Step) -> None:
    """Autocast written in the loop, and in no loss function."""
    step.optimizer.zero_grad()
    with torch.autocast("cpu", torch.bfloat16):
        loss = step.loss()
    loss.backward()
    step.optimizer.step()
    step.record(loss)
