"""Observe a plain training loop with gradient accumulation and a penalty in the loss. Half a minute on a CPU.

python examples/plain_loop.py runs/frameworks/plain
"""

from __future__ import annotations

import sys
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bncore

UPDATES, MICRO_BATCHES = 200, 2


def loss_of(model: Any, batch: dict[str, Tensor]) -> Tensor:
    """The whole loss, including the penalty."""
    penalty = sum(p.square().sum() for p in model.parameters())
    return F.cross_entropy(model(batch["image"]), batch["label"]) + 1e-4 * penalty


def draw(patterns: Tensor) -> dict[str, Tensor]:
    labels = torch.randint(len(patterns), (64,))
    return {"image": patterns[labels] + 2 * torch.randn(64, 64), "label": labels}


def main(run: str) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(64, 64), nn.BatchNorm1d(64), nn.ReLU(), nn.Linear(64, 10))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    patterns = torch.randn(10, 64)
    probes = {"landscape": {"every": 20}, "activations": {"every": 20}}
    with bncore.observe(
        model, optimizer, loss_of=loss_of, run=run, probes=probes, steps=UPDATES, config={"penalty": 1e-4}
    ) as watch:
        for _ in range(UPDATES):
            with watch.step() as step:
                optimizer.zero_grad()
                for _ in range(MICRO_BATCHES):
                    batch = draw(patterns)
                    step.batch(batch, weight=1 / MICRO_BATCHES)
                    loss = loss_of(model, batch)
                    (loss / MICRO_BATCHES).backward()
                    step.record(loss)
                optimizer.step()

    losses = bncore.load_run(run).table("step")["loss"]
    beta = bncore.load_run(run).table("probe:landscape")["beta"]
    print(f"loss {losses[0]:.3f} -> {losses[-1]:.3f}; effective beta {beta[0]:.3g} -> {beta[-1]:.3g}")


if __name__ == "__main__":
    main(sys.argv[1])
