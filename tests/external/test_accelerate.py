"""A loop with Accelerate, as docs/how-to/frameworks.md has it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

import bncore
from bncore.train.checkpoint import params_sha256

from .factories import of_type
from .loops import journal
from .plain import assert_landscapes, plain_landscapes

accelerate = pytest.importorskip("accelerate")
pytestmark = pytest.mark.filterwarnings("ignore")
LR, SAMPLES = 0.05, 8


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Linear(3, 8), nn.Tanh(), nn.Linear(8, 2))


def loss_of(model: Any, batch: Any) -> Tensor:
    return F.mse_loss(model(batch[0]), batch[1])


def data() -> tuple[Tensor, Tensor]:
    x = torch.randn(6 * SAMPLES, 3, generator=torch.Generator().manual_seed(3))
    return x, x[:, :2].sin()


def train(run: Path | None, precision: str) -> nn.Module:
    accelerate.state.AcceleratorState._reset_state(reset_partial_state=True)
    accelerator = accelerate.Accelerator(cpu=True, gradient_accumulation_steps=2, mixed_precision=precision)
    net = network()
    model, optimizer, loader = accelerator.prepare(
        net,
        torch.optim.SGD(net.parameters(), lr=LR),
        torch.utils.data.DataLoader(torch.utils.data.TensorDataset(*data()), batch_size=SAMPLES),
    )
    if run is None:
        for batch in loader:
            with accelerator.accumulate(model):
                accelerator.backward(loss_of(model, batch))
                optimizer.step()
                optimizer.zero_grad()
        return net
    probes = {"landscape": {"every": 1}}
    with bncore.observe(model, optimizer, loss_of=loss_of, run=run, probes=probes, on_error="raise") as watch:
        step = None
        for batch in loader:
            step = step or watch.step().begin()
            step.batch(batch, weight=1 / accelerator.gradient_accumulation_steps)
            with accelerator.accumulate(model):
                loss = loss_of(model, batch)
                accelerator.backward(loss)
                optimizer.step()
                optimizer.zero_grad()
            step.record(loss)
            if accelerator.sync_gradients:
                step = step.end()
    return net


@pytest.mark.parametrize("precision", ["no", "bf16"])
def test_an_accumulating_loop(tmp_path: Path, precision: str) -> None:
    alone, watched = train(None, precision), train(tmp_path / "run", precision)
    events = journal(tmp_path / "run")
    assert params_sha256(alone) == params_sha256(watched) == events[-1]["params_sha256"]
    batches = [
        (x.double(), y.double()) for x, y in zip(*(part.split(SAMPLES) for part in data()), strict=True)
    ]
    count = 3 if precision == "no" else 1
    updates = [batches[2 * i : 2 * i + 2] for i in range(count)]
    assert_landscapes(events, plain_landscapes(network(), loss_of, updates, LR), 1e-5)
    assert max(e["deviation"] for e in of_type(events, "probe", "fidelity")) < 1e-6
