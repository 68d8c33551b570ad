"""Run directories written by hand."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import orjson

from bncore.config.model import DLN, Evaluation, GaussianData, Loss, Spec
from bncore.config.toml import spec_to_toml
from bncore.store.journal import Journal
from bncore.store.paths import RunDir
from bncore.store.status import State, Status, write_status

SMALL = Spec(
    steps=4,
    device="cpu",
    threads=1,
    batch_size="full",
    data=GaussianData(samples=8, features=3),
    net=DLN(depth=2, width=3),
    loss=Loss(kind="squared_error"),
    eval=Evaluation(every=2),
)
DIGEST = hashlib.sha256(b"parameters").hexdigest()


def empty_run(path: Path, spec: Spec = SMALL, state: State = "queued") -> RunDir:
    """A run directory in which nothing has happened."""
    run = RunDir(path)
    run.inbox.mkdir(parents=True)
    run.checkpoints.mkdir()
    run.spec_file.write_text(spec_to_toml(spec))
    write_status(run, Status(state, steps=spec.steps))
    return run


def finished_run(path: Path, *, layers: int = 2) -> RunDir:
    """A run of `SMALL` that has ended, with a probe of `layers` layers at its even steps; no torch involved."""
    run = empty_run(path, state="finished")
    journal = Journal(run.journal_file)
    journal.append("start", 0, schema=1, title="small", data="gaussian")
    for step in range(SMALL.steps):
        if step % 2 == 0:
            journal.append("eval", step, train_loss=1.0 / (step + 1), test_loss=2.0 / (step + 1))
        journal.append("step", step, loss=0.5**step, penalty=0.0, lr=0.1, grad_norm=float(step))
        if step % 2 == 0:
            journal.append("probe", step, name="ics", l2=[float(step + j) for j in range(layers)])
    journal.append("eval", SMALL.steps, train_loss=0.1, test_loss=0.2)
    journal.append("checkpoint", SMALL.steps, path="checkpoints/step-000000004.pt")
    journal.append("finished", SMALL.steps, state="finished", params_sha256=DIGEST)
    journal.close()
    (run.checkpoints / "step-000000004.pt").write_text(f"4 {DIGEST}")
    return run


def loadable(path: Path) -> tuple[int, str]:
    """Reads what `finished_run` put in the place of a checkpoint."""
    step, _, digest = path.read_text().partition(" ")
    if not step.isdigit():
        raise ValueError(f"{path}: not a readable checkpoint")
    return int(step), digest


def lines(path: Path) -> list[Any]:
    """Every line of a journal, decoded; the last must be whole."""
    content = path.read_bytes()
    assert not content or content.endswith(b"\n")
    return [orjson.loads(line) for line in content.split(b"\n")[:-1]]
