"""Training loops as a person writes them, observed or not."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import bncore
from bncore.external.observe import Observation
from bncore.store.journal import read_events

Event = dict[str, Any]
ALL: Mapping[str, Any] = {
    "ics": {"every": 2},
    "landscape": {"every": 2},
    "activations": {"every": 2, "bins": 16},
    "sharpness": {"every": 2, "iterations": 6},
}


def mlp(*, dropout: float = 0.0) -> nn.Sequential:
    """3 -> 4 -> 4 -> 2 with batch normalization, float64."""
    drop = [nn.Dropout(dropout)] if dropout else []
    return nn.Sequential(
        nn.Linear(3, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(), *drop,
        nn.Linear(4, 4, bias=False), nn.BatchNorm1d(4), nn.ReLU(),
        nn.Linear(4, 2),
    ).double()  # fmt: skip


def pictures() -> nn.Sequential:
    """1x4x4 -> a pooled convolution of 2 -> 3 classes, float64."""
    return nn.Sequential(
        nn.Conv2d(1, 2, 3, padding=1, bias=False), nn.BatchNorm2d(2), nn.ReLU(), nn.MaxPool2d(2),
        nn.Flatten(), nn.Linear(8, 3),
    ).double()  # fmt: skip


def batches(count: int, *shape: int, classes: int = 0, samples: int = 6) -> list[tuple[Tensor, Tensor]]:
    """Random batches, float64; with targets of two numbers, or of classes."""
    drawn = torch.Generator().manual_seed(9)
    made = []
    for _ in range(count):
        inputs = torch.randn(samples, *shape, generator=drawn, dtype=torch.float64)
        targets = torch.randn(samples, 2, generator=drawn, dtype=torch.float64)
        made.append((inputs, torch.randint(classes, (samples,), generator=drawn) if classes else targets))
    return made


@dataclass
class Loop:
    """A loop: what it trains, and its own memory of every step."""

    net: nn.Module
    loss_fn: Callable[[Any, Any], Tensor] = field(default_factory=nn.MSELoss)
    lr: float = 0.1
    optimizer: torch.optim.Optimizer = None  # type: ignore[assignment]
    before: list[dict[str, Tensor]] = field(default_factory=list)
    after: list[dict[str, Tensor]] = field(default_factory=list)

    def __post_init__(self) -> None:
        if self.optimizer is None:
            self.optimizer = torch.optim.SGD(self.net.parameters(), lr=self.lr, momentum=0.9)

    def make(self, inputs: Tensor, targets: Tensor) -> Tensor:
        """One step."""
        self.before.append(copied(self.net))
        self.optimizer.zero_grad()
        loss = self.loss_fn(self.net(inputs), targets)
        loss.backward()
        self.optimizer.step()
        self.after.append(copied(self.net))
        return loss

    def observed(self, run: Path, data: list[tuple[Tensor, Tensor]], **settings: Any) -> list[Event]:
        """The whole loop, observed; the journal's events."""
        with bncore.observe(
            self.net, self.loss_fn, self.optimizer, run=run, **{"probes": ALL, **settings}
        ) as watch:
            for inputs, targets in data:
                with watch.step(inputs, targets) as step:
                    step.record(self.make(inputs, targets))
        return read_events(run / "journal.jsonl")


@contextmanager
def watching(
    run: Path, net: nn.Module, optimizer: torch.optim.Optimizer, **settings: Any
) -> Iterator[Observation]:
    """An observation of a squared-error loop, with the landscape at every step, checked strictly."""
    chosen = {"probes": {"landscape": {"every": 1}}, "check": "strict", "on_error": "raise", **settings}
    with bncore.observe(net, nn.MSELoss(), optimizer, run=run, **chosen) as watch:
        yield watch


def copied(net: nn.Module) -> dict[str, Tensor]:
    """Parameters by name, copied."""
    return {name: p.detach().clone() for name, p in net.named_parameters()}


def of_type(events: list[Event], kind: str, name: str | None = None) -> list[Event]:
    """The events of a type, and of one probe."""
    return [e for e in events if e["type"] == kind and name in (None, e.get("name"))]


def probe_at(events: list[Event], name: str, step: int) -> Event:
    """The one measurement of a probe at a step."""
    (found,) = [e for e in of_type(events, "probe", name) if e["step"] == step]
    return found
