"""Two processes of DistributedDataParallel, by gloo: the first observes, alone or with the other."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

import bncore
from bncore import ObserveError
from bncore.external.checks import check_processes
from bncore.probes.processes import Processes
from bncore.store.journal import read_events

from . import processes
from .factories import Event, of_type

EXACT = (
    "loss0", "loss", "grad_norm", "grad_diff", "beta", "eigenvalue", "gradient_curvature", "l2", "mean",
    "variance", "counts", "weight_norm", "relative_update",
)  # fmt: skip


def made(folder: Path, batch: str, scenario: str = "", count: int = 2) -> list[Event]:
    """The loop in several processes; the journal of the first."""
    folder.mkdir()
    program = [sys.executable, processes.__file__]
    started = [
        subprocess.Popen(
            [*program, str(rank), str(count), str(folder), batch, scenario], stderr=subprocess.PIPE
        )
        for rank in range(count)
    ]
    try:
        for process in started:
            _, said = process.communicate(timeout=100)
            assert process.returncode == 0, said.decode()
    finally:
        for process in started:
            process.kill()
    journal = folder / "run" / "journal.jsonl"
    return read_events(journal) if journal.exists() else []


def digests(folder: Path) -> set[str]:
    return {path.read_text() for path in folder.glob("digest-*")}


@pytest.mark.slow
def test_observing_changes_nothing_in_any_process(tmp_path: Path) -> None:
    for batch in ("none", "local", "global"):
        made(tmp_path / batch, batch)
        assert len(list((tmp_path / batch).glob("digest-*"))) == 2
    assert digests(tmp_path / "none") == digests(tmp_path / "local") == digests(tmp_path / "global")
    assert len(digests(tmp_path / "none")) == 1


@pytest.mark.slow
@pytest.mark.parametrize("scenario", ["", "synced"])
def test_measured_together_it_is_one_process_on_the_joined_batch(tmp_path: Path, scenario: str) -> None:
    together = made(tmp_path / "two", "global", scenario)
    processes.train(0, 1, tmp_path / "one", scenario)
    alone = read_events(tmp_path / "one" / "journal.jsonl")
    for probe in processes.PROBES:
        found, expected = of_type(together, "probe", probe), of_type(alone, "probe", probe)
        assert len(found) == len(expected) == len(of_type(alone, "step"))
        for one, other in zip(found, expected, strict=True):
            for field in EXACT:
                if field in other:
                    np.testing.assert_allclose(one[field], other[field], rtol=1e-9, atol=1e-13, err_msg=field)
    fidelity = of_type(together, "probe", "fidelity")
    assert all(e["faithful"] and e["batch"] == "global" and e["deviation"] < 1e-12 for e in fidelity)
    assert {e["lag"] for e in of_type(together, "log")} == {0.5}


@pytest.mark.slow
def test_measured_by_the_first_alone_it_is_its_own_batch_s_and_says_so(tmp_path: Path) -> None:
    events = made(tmp_path / "two", "local")
    torch.manual_seed(1)
    net = processes.net()
    loss = processes.squared(net, processes.batches(0, 2)[0])
    loss.backward()
    size = float(sum((p.grad**2).sum() for p in net.parameters() if p.grad is not None) ** 0.5)
    landscape = of_type(events, "probe", "landscape")[0]
    np.testing.assert_allclose([landscape["loss0"], landscape["grad_norm"]], [loss.item(), size], rtol=1e-10)
    assert "the loop's gradient is the mean" in "\n".join(e["text"] for e in of_type(events, "warning"))
    first = of_type(events, "probe", "fidelity")[0]
    assert first["batch"] == "local"
    assert not first["faithful"]


@pytest.mark.slow
def test_where_one_process_fails_alone_the_others_leave_with_it(tmp_path: Path) -> None:
    made(tmp_path / "none", "none", "six updates")
    first = made(tmp_path / "first", "global", "fails-1")
    assert ["PeerFailedError: process 1 failed" in e["text"] for e in of_type(first, "warning")] == [True]
    assert not of_type(first, "probe")
    assert len(of_type(first, "step")) == 6
    midst = made(tmp_path / "midst", "global", "fails-9")
    (failed,) = of_type(midst, "probe_failed")
    assert (failed["name"], failed["step"]) == ("landscape", 0)
    assert "process 1 failed" in failed["reason"]
    assert [len(of_type(midst, "probe", name)) for name in processes.PROBES] == [5, 6, 6, 6]
    made(tmp_path / "unwritable", "global", "unwritable")
    for scenario in ("first", "midst", "unwritable"):
        assert digests(tmp_path / scenario) == digests(tmp_path / "none"), scenario


@pytest.mark.slow
def test_a_request_is_applied_by_every_process_between_the_same_updates_or_by_none(tmp_path: Path) -> None:
    events = made(tmp_path / "steered", "local", "steered")
    lr, scale, evaluate, stop = of_type(events, "request")
    assert (lr["step"], lr["outcome"], lr["old"], lr["new"]) == (1, "applied", {"lr": 0.05}, {"lr": 0.01})
    assert (scale["outcome"], scale["reason"]) == ("rejected", "process 1: scale = 5: ValueError: not here")
    assert (evaluate["outcome"], of_type(events, "eval")[0]["test_loss"]) == ("applied", 0.5)
    assert (stop["step"], events[-1]["state"]) == (4, "stopped")
    assert [e["lr"] for e in of_type(events, "step")] == [0.05, 0.01, 0.01, 0.01]
    again = made(tmp_path / "again", "global", "replayed")
    assert digests(tmp_path / "again") == digests(tmp_path / "steered")
    assert len(digests(tmp_path / "again")) == 1
    told = [(e["step"], e["id"], e["outcome"]) for e in of_type(again, "request")]
    assert told == [(e["step"], e["id"], e["outcome"]) for e in (lr, scale, evaluate, stop)]
    assert not any("parameters at the end" in e["text"] for e in of_type(again, "warning"))


def test_what_would_wait_for_the_others_is_refused(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Linear(3, 4), nn.SyncBatchNorm(4))
    with pytest.raises(ObserveError, match="SyncBatchNorm at 1 waits for the other processes"):
        check_processes(net, Processes(2, 0), "local")
    check_processes(net, Processes(2, 0, joined=True), "global")
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    with pytest.raises(ObserveError, match="batch: 'global'; expected 'local' in a loop of one process"):
        bncore.observe(net, optimizer, loss_of=processes.squared, run=tmp_path / "run", batch="global")


def test_torch_synchronizes_batch_norm_on_gpus_only() -> None:
    """Therefore what is tested with two processes is a module of our own."""
    torch.distributed.init_process_group("gloo", store=torch.distributed.HashStore(), rank=0, world_size=1)
    try:
        with pytest.raises(ValueError, match=r"SyncBatchNorm.* GPU"):
            nn.SyncBatchNorm(3)(torch.randn(5, 3))
    finally:
        torch.distributed.destroy_process_group()
