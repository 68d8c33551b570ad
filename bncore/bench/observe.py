"""`bnrun bench observe`: an observed loop compared with the same loop unobserved."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from bncore.bench.timing import Row, beside, keep_freed_memory
from bncore.external.observe import Observation, observe

NEVER = 10**9
STEPS = 20
"""Number of loop steps timed together."""


def small_cnn() -> nn.Module:
    """Three convolutions with BatchNorm, for 3x32x32 images in ten classes."""
    widths = (3, 16, 32, 64)
    blocks = [
        nn.Sequential(
            nn.Conv2d(a, b, 3, padding=1, bias=False), nn.BatchNorm2d(b), nn.ReLU(), nn.MaxPool2d(2)
        )
        for a, b in pairwise(widths)
    ]
    return nn.Sequential(*blocks, nn.Flatten(), nn.Linear(64 * 16, 10))


class Loop:
    """A hand-written training loop, observed if `watch` is set."""

    def __init__(self, device: str, batch_size: int = 64) -> None:
        torch.manual_seed(0)
        self.net = small_cnn().to(device)
        self.optimizer = torch.optim.SGD(self.net.parameters(), lr=0.01, momentum=0.9)
        images = torch.randn(batch_size, 3, 32, 32, device=device)
        self.batch = images, torch.randint(10, (batch_size,), device=device)
        self.watch: Observation | None = None

    def loss_of(self, net: nn.Module, batch: tuple[Tensor, Tensor]) -> Tensor:
        return F.cross_entropy(net(batch[0]), batch[1])

    def step(self) -> None:
        if self.watch is None:
            self._update()
            return
        with self.watch.step(self.batch) as step:
            step.record(self._update())

    def _update(self) -> Tensor:
        self.optimizer.zero_grad()
        loss = self.loss_of(self.net, self.batch)
        loss.backward()
        self.optimizer.step()
        return loss


def bench_observe(*, repeats: int, device: str = "cpu") -> Iterator[Row]:
    """Speed of a loop's steps between measurements, and cost of each measurement."""
    keep_freed_memory()
    bare, watched = Loop(device), Loop(device)
    for log_every, bar in ((1, ">= 0.98 of its steps/s"), (10, "")):
        probes = {"landscape": {"every": NEVER}, "activations": {"every": NEVER}}
        with _observed(watched, probes, log_every):
            what = f"a step of a small CNN, log_every={log_every}"
            yield beside(what, watched.step, bare.step, bar, repeats=repeats, device=device, steps=STEPS)
    for name, probe in (
        ("landscape", {"every": 1, "floor_every": 0}),
        ("activations", {"every": 1}),
        ("ics", {"every": 1, "floor_every": 0}),
    ):
        with _observed(watched, {name: probe}, 1):
            what = f"a step with {name}, in steps"
            yield beside(
                what, watched.step, bare.step, repeats=repeats, device=device, steps=STEPS, costs=True
            )


@contextmanager
def _observed(loop: Loop, probes: dict[str, dict[str, int]], log_every: int) -> Iterator[None]:
    """Observe the loop within the context, into a temporary directory."""
    with (
        tempfile.TemporaryDirectory() as folder,
        observe(
            loop.net, loop.optimizer, loss_of=loop.loss_of, run=Path(folder) / "run", probes=probes,
            log_every=log_every,
        ) as loop.watch,
    ):  # fmt: skip
        yield
    loop.watch = None
