"""Every landscape and sharpness measurement tells the stability threshold of the optimizer that trains."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import orjson
import pytest
import torch
from resume.factories import DEEP_LINEAR, events, make_run, train
from torch import nn

import bncore
from bncore.config.model import Optim, Schedule
from bncore.config.probes import Landscape, Probes, Sharpness

PROBES = Probes(landscape=Landscape(every=5, penalty=True), sharpness=Sharpness(every=5))
HALVED = Schedule(kind="step", milestones=(4,), factor=0.5)


@pytest.mark.parametrize(
    ("optim", "expected"),
    [
        (Optim(lr=0.01), 200.0),
        (Optim(lr=0.01, momentum=0.9), 380.0),
        (Optim(lr=0.01, momentum=0.9, weight_decay=0.5), 380.0),
        (Optim(kind="adam", lr=0.01), math.nan),
        (Optim(lr=0.01, relative_update=0.01), math.nan),
    ],
    ids=["sgd", "momentum", "penalty", "adam", "relative"],
)
def test_of_a_run(tmp_path: Path, optim: Optim, expected: float) -> None:
    spec = DEEP_LINEAR.model_copy(
        update={"steps": 6, "probes": PROBES, "optim": optim.model_copy(update={"schedule": HALVED})}
    )
    run = make_run(tmp_path / "run-s0", spec)
    assert train(run) == 0, run.log_file.read_text()
    for event in (e for e in events(run) if e["type"] == "probe"):
        share = 1 if event["step"] < 4 else 2
        shift = optim.weight_decay if event["name"] == "sharpness" else 0  # which is of the data loss alone
        found = float(event["stability_threshold"])
        assert found == pytest.approx(share * expected - shift, rel=1e-12, nan_ok=True)
        assert event["two_over_lr"] == pytest.approx(share * 200.0)
    assert {e["name"] for e in events(run) if e["type"] == "probe"} == {"landscape", "sharpness"}


@pytest.mark.parametrize(
    ("kind", "settings", "expected"),
    [
        (torch.optim.SGD, {}, 200.0),
        (torch.optim.SGD, {"momentum": 0.9}, 380.0),
        (torch.optim.SGD, {"momentum": 0.9, "dampening": 0.5}, 760.0),
        (torch.optim.SGD, {"momentum": 0.5, "nesterov": True, "weight_decay": 0.5}, 149.5),
        (torch.optim.SGD, {"maximize": True}, math.nan),
        (torch.optim.Adam, {}, math.nan),
        (torch.optim.AdamW, {}, math.nan),
        (torch.optim.RMSprop, {"momentum": 0.9}, math.nan),
    ],
    ids=str,
)
def test_of_a_loop_of_somebody_s_own(
    tmp_path: Path, kind: Any, settings: dict[str, Any], expected: float
) -> None:
    torch.manual_seed(0)
    net = nn.Sequential(nn.Linear(4, 6), nn.Tanh(), nn.Linear(6, 2))
    optimizer = kind(net.parameters(), lr=0.01, **settings)
    x, y = torch.randn(8, 4), torch.randn(8, 2)
    loss_fn = nn.MSELoss()
    probes = {"landscape": {"every": 1}, "sharpness": {"every": 1}}
    with (
        bncore.observe(net, loss_fn, optimizer, run=tmp_path / "run", probes=probes) as watch,
        watch.step(x, y) as step,
    ):
        loss = loss_fn(net(x), y)
        loss.backward()
        optimizer.step()
        step.record(loss)
    reported = [orjson.loads(line) for line in (tmp_path / "run" / "journal.jsonl").read_bytes().splitlines()]
    found = [float(e["stability_threshold"]) for e in reported if e.get("name") in probes]
    assert found == pytest.approx([expected, expected], rel=1e-6, nan_ok=True)
