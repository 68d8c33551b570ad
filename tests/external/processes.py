"""A loop in DistributedDataParallel: ``processes.py RANK COUNT FOLDER BATCH [SCENARIO]``."""

from __future__ import annotations

import shutil
import sys
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch import distributed as dist
from torch.distributed.nn.functional import all_reduce
from torch.nn import functional as F

import bncore
from bncore.external.observe import Observation
from bncore.store.commands import Evaluate, SetControls, Stop
from bncore.store.requests import send_request
from bncore.train.checkpoint import params_sha256

PROBES = {
    "landscape": {"every": 1, "floor_every": 0},
    "activations": {"every": 1, "bins": 16},
    "sharpness": {"every": 1, "iterations": 8},
    "ics": {"every": 1, "floor_every": 0},
}


class Synchronized(nn.BatchNorm1d):
    """What SyncBatchNorm does, which torch has for GPUs only: statistics of the batches of all processes."""

    def forward(self, x: Tensor) -> Tensor:
        moments = torch.stack([x.mean(0), x.square().mean(0)])
        moments = all_reduce(moments) / dist.get_world_size()
        return (x - moments[0]) / (moments[1] - moments[0].square() + 1e-5).sqrt()


def net(synced: bool = False) -> nn.Module:
    torch.manual_seed(1)
    kind = Synchronized if dist.is_initialized() else nn.BatchNorm1d
    norm = kind(4, affine=False, track_running_stats=False) if synced else nn.LayerNorm(4)
    return nn.Sequential(nn.Linear(3, 4), norm, nn.Tanh(), nn.Linear(4, 2)).double()


def batches(rank: int, count: int, updates: int = 2) -> list[tuple[Tensor, Tensor]]:
    """This process's part of each of some batches of twelve samples; all of it for one process."""
    source = torch.Generator().manual_seed(7)
    found = []
    for _ in range(updates):
        x, y = (torch.randn(12, n, generator=source, dtype=torch.float64) for n in (3, 2))
        found.append((x.chunk(count)[rank], y.chunk(count)[rank]))
    return found


def squared(model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


class Failing:
    """The loss, which fails at one of its calls."""

    def __init__(self, at: int) -> None:
        self.remaining = at

    def __call__(self, model: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        self.remaining -= 1
        if self.remaining == 0:
            raise ArithmeticError("it fails here")
        return squared(model, batch)


REQUESTS = (
    SetControls(changes={"lr": 0.01}, at_step=1),
    SetControls(changes={"lr": 0.5, "scale": 5.0}, at_step=2),
    Evaluate(at_step=3),
    Stop(at_step=4),
)


def steer(watch: Observation, rank: int, scenario: str) -> None:
    """Controls, of which one cannot be set in the second process; requests, or those of another run."""
    scale = {"value": 1.0}

    def set_scale(value: float) -> None:
        scale["value"] = value
        if rank == 1 and value > 1:
            raise ValueError("not here")

    watch.control_optimizer("lr")
    watch.control("scale", lambda: scale["value"], set_scale)
    if scenario == "replayed":
        watch.replay(watch.run.path.parents[1] / "steered" / "run")
    elif rank == 0:
        for request in REQUESTS:
            send_request(watch.run, request)


def mean_of_ranks() -> dict[str, float]:
    """An evaluation that all processes make together."""
    ranks = torch.tensor([float(dist.get_rank())])
    dist.all_reduce(ranks)
    return {"test_loss": ranks.item() / dist.get_world_size()}


def train(rank: int, count: int, run: Path | None, scenario: str = "", **settings: Any) -> str:
    """The loop; the digest of its end."""
    inner = net(scenario == "synced")
    model = nn.parallel.DistributedDataParallel(inner) if count > 1 else inner
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    opened: Any = nullcontext()
    if run is not None:
        fails = Failing(int(scenario.partition("-")[2])) if scenario.startswith("fails") and rank else squared
        chosen = {"probes": PROBES, "on_error": "warn" if scenario else "raise", **settings}
        opened = bncore.observe(model, optimizer, loss_of=fails, run=run, on_evaluate=mean_of_ranks, **chosen)  # type: ignore[call-overload]
    with opened as watch:
        if watch is not None and scenario in ("steered", "replayed"):
            steer(watch, rank, scenario)
        for number, batch in enumerate(batches(rank, count, 6 if scenario else 2)):
            with nullcontext() if watch is None else watch.step(batch) as step:
                if scenario == "unwritable" and rank == 0 and number == 1:
                    shutil.rmtree(run)  # type: ignore[arg-type]
                optimizer.zero_grad()
                loss = squared(model, batch)
                loss.backward()
                optimizer.step()
                if step is not None:
                    step.record(loss)
            if watch is not None:
                watch.log(lag=0.5)
    return params_sha256(inner)


def main(rank: int, count: int, folder: Path, batch: str, scenario: str = "") -> None:
    """One of the processes; its digest goes into a file, or what stopped it."""
    torch.set_num_threads(1)
    dist.init_process_group("gloo", init_method=f"file://{folder}/meeting", rank=rank, world_size=count)
    run = None if batch == "none" else folder / "run"
    digest = train(rank, count, run, scenario, **({} if run is None else {"batch": batch}))
    (folder / f"digest-{rank}").write_text(digest)
    dist.destroy_process_group()


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]), Path(sys.argv[3]), *sys.argv[4:])
