"""A loop in DistributedDataParallel: ``processes.py RANK COUNT FOLDER BATCH [alone]``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.nn import functional as F

import bncore
from bncore.train.checkpoint import params_sha256

PROBES = {
    "landscape": {"every": 1, "floor_every": 0},
    "activations": {"every": 1, "bins": 16},
    "sharpness": {"every": 1, "iterations": 8},
    "ics": {"every": 1, "floor_every": 0},
}


def net() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 4), nn.LayerNorm(4), nn.Tanh(), nn.Linear(4, 2)).double()


def batches(rank: int, count: int) -> list[tuple[Tensor, Tensor]]:
    """This process's part of each of two batches of twelve samples; all of it for one process."""
    source = torch.Generator().manual_seed(7)
    found = []
    for _ in range(2):
        x, y = (torch.randn(12, n, generator=source, dtype=torch.float64) for n in (3, 2))
        found.append((x.chunk(count)[rank], y.chunk(count)[rank]))
    return found


def squared(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def train(rank: int, count: int, run: Path | None, **settings: Any) -> str:
    """The loop; the digest of its end."""
    inner = net()
    model = nn.parallel.DistributedDataParallel(inner) if count > 1 else inner
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    opened: Any = nullcontext()
    if run is not None:
        opened = bncore.observe(
            model, optimizer, loss_of=squared, run=run, probes=PROBES, on_error="raise", **settings
        )
    with opened as watch:
        for batch in batches(rank, count):
            with nullcontext() if watch is None else watch.step(batch) as step:
                optimizer.zero_grad()
                loss = squared(model, batch)
                loss.backward()
                optimizer.step()
                if step is not None:
                    step.record(loss)
            if watch is not None:
                watch.log(lag=0.5)
    return params_sha256(inner)


def main(rank: int, count: int, folder: Path, batch: str) -> None:
    """One of the processes; its digest goes into a file, or what stopped it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    run = None if batch == "none" else folder / "run"
    digest = train(rank, count, run, **({} if run is None else {"batch": batch}))
    (folder / f"digest-{rank}").write_text(digest)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), sys.argv[4])
