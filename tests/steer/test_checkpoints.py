"""Checkpoints that are damaged, that others fall back on, and that stay."""

from __future__ import annotations

from pathlib import Path

from resume.factories import DEEP_LINEAR, digest, make_run, train

from bncore.config.model import Checkpoints
from bncore.store import commands, requests
from bncore.store.branch import fork
from bncore.store.lineage import read_lineage
from bncore.store.paths import list_checkpoints
from bncore.store.verify import verify
from bncore.train import checkpoint
from bncore.train.checkpoint import step_and_digest


def test_a_damaged_checkpoint_is_set_aside_and_the_next_one_stays(tmp_path: Path) -> None:
    spec = DEEP_LINEAR.model_copy(update={"checkpoint": Checkpoints(keep=1, every_steps=7, every_minutes=0)})
    run = make_run(tmp_path / "run-s0", spec)
    requests.send_request(run, commands.Stop(at_step=40))
    assert train(run) == 0
    (newest,) = list_checkpoints(run.checkpoints)
    assert newest.step == 40
    newest.path.write_bytes(newest.path.read_bytes()[:1000])
    requests.send_request(run, commands.Stop(at_step=10))
    assert train(run) == 0
    assert [c.step for c in list_checkpoints(run.checkpoints)] == [10]
    assert newest.path.with_name(newest.path.name + checkpoint.DAMAGED).exists()
    assert train(run) == 0
    twin = make_run(tmp_path / "twin-s0", spec)
    assert train(twin) == 0
    assert digest(run) == digest(twin)
    assert verify(run, step_and_digest) == []


def test_a_fork_passes_over_checkpoints_that_cannot_be_used(tmp_path: Path) -> None:
    spec = DEEP_LINEAR.model_copy(update={"checkpoint": Checkpoints(keep=3, every_steps=7, every_minutes=0)})
    parent = make_run(tmp_path / "sweep" / "run-s0", spec)
    assert train(parent) == 0
    (older, newer, _) = list_checkpoints(parent.checkpoints)
    newer.path.write_bytes(b"nothing")

    def usable(path: Path) -> bool:
        try:
            return step_and_digest(path)[0] >= 0
        except ValueError:
            return False

    made = fork(parent, at=newer.step, changes={}, usable=usable)
    lineage = read_lineage(made)
    assert lineage is not None and lineage.step == older.step
    assert train(made) == 0
    assert digest(made) == digest(parent)


def test_names_of_checkpoints_say_why_they_stay(tmp_path: Path) -> None:
    for name in ("step-000000007.pt", "step-000000007-kept.pt", "step-000000007-parent.pt", "step-7.pt"):
        (tmp_path / name).touch()
    assert [(c.step, c.why) for c in list_checkpoints(tmp_path)] == [(7, ""), (7, "kept"), (7, "parent")]
