"""Sweeps written by an earlier program (README.md) are read, resumed, replayed, forked and verified."""

from __future__ import annotations

import shutil
from pathlib import Path

import orjson
import pytest
from cli.factories import bnrun
from resume.factories import digest, make_run, train

from bncore.config.toml import resolved_spec_from_toml
from bncore.store.branch import fork, replay
from bncore.store.journal import encode, read_events
from bncore.store.paths import RunDir, SweepDir, list_checkpoints, meta_of
from bncore.store.replay_diff import compare, environment_diff
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest

SWEEPS = Path(__file__).parent / "sweeps"
FINISHED = {
    "steered/none-s0": "ed277e6b54965f0053ab30ba32c605b29c11ecd6f1604ebd5d8cb19ea23873e0",
    "steered/batch-s0": "480e79d68745504ed05a4b2cdd80bd819fe5f0f77238492ee7cceedaa27b9550",
    "steered/batch-s0-fork-1": "e8e74e21de94a7d6acf2c2f3a8ca37179d6f1fb63a83d6bb1c58fb869c2bcbb9",
    "own/net": "2bfe1dec9422fada867872789c4f3c00026f468fb60dfed539a1b8a2a5812e43",
}
KILLED = "119288f09d8a1f14db07c151701c69aee0a26b9b3f9600a3359f22449762d8a9"
"""Of killed/run-s0, resumed by the program that had begun it."""


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of the sweeps, with the inboxes that git does not keep."""
    copy = shutil.copytree(SWEEPS, tmp_path / "runs")
    for path in [*copy.glob("*"), *copy.glob("*/*/")]:
        (path / "inbox").mkdir(exist_ok=True)
    return copy


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """The killed run's spec, trained by this program."""
    spec = resolved_spec_from_toml(SWEEPS / "killed" / "run-s0" / "spec.toml")
    run = make_run(tmp_path_factory.mktemp("undisturbed") / "run-s0", spec)
    assert train(run) == 0
    return run


@pytest.fixture
def elsewhere(undisturbed: RunDir) -> list[str]:
    """Why sums may be rounded otherwise here than where the sweeps were made; no version of this program's may."""
    found = environment_diff(meta_of(RunDir(SWEEPS / "killed" / "run-s0")), meta_of(undisturbed))
    return [why for why in found if not why.startswith("versions.bnrun")]


def cut(run: RunDir, step: int) -> None:
    """Take a run back to its checkpoint of that step."""
    events = [e for e in read_events(run.journal_file) if e["step"] < step or e["type"] == "checkpoint"]
    run.journal_file.write_bytes(b"".join(encode(e) + b"\n" for e in events if e["step"] <= step))
    for found in list_checkpoints(run.checkpoints):
        if found.step > step:
            found.path.unlink()


def test_they_are_listed_shown_exported_and_reported(root: Path) -> None:
    listed = {one["run"]: one for one in orjson.loads(bnrun("ls", "--json", cwd=root.parent).stdout)}
    assert {name: one["params_sha256"] for name, one in listed.items()} == {**FINISHED, "killed/run-s0": None}
    assert {one["state"] for name, one in listed.items() if name in FINISHED} == {"finished"}
    assert listed["steered/batch-s0"]["test_loss"] == 3.173560380935669
    shown = bnrun("show", "steered", "own/net", "killed", cwd=root.parent)
    assert shown.returncode == 0, shown.stderr
    assert "a remark" in bnrun("logs", "steered/batch-s0", cwd=root.parent).stdout
    exported = bnrun("export", "steered/batch-s0", "--csv", "--out", "tables", cwd=root.parent)
    assert exported.returncode == 0, exported.stderr
    ics = (root.parent / "tables" / "probe-ics.csv").read_text().splitlines()
    assert [line.split(",")[0] for line in ics] == ["step", "0", "5", "10", "12", "14", "16", "18"]
    reported = bnrun("report", "steered", "own", "killed", "--json", "--html", "page.html", cwd=root.parent)
    assert reported.returncode == 0, reported.stderr
    assert "steered/batch-s0" in (root.parent / "page.html").read_text()


@pytest.mark.parametrize("name", FINISHED)
def test_they_are_whole(root: Path, name: str) -> None:
    run = RunDir(root / name)
    assert verify(run, step_and_digest) == []
    assert digest(run) == FINISHED[name]


def test_a_killed_run_is_resumed_to_the_same_parameters(
    root: Path, undisturbed: RunDir, elsewhere: list[str]
) -> None:
    run = RunDir(root / "killed" / "run-s0")
    (problem,) = verify(run, step_and_digest)
    assert "the last line is torn" in problem
    if elsewhere:
        cut(run, 8)  # the steps after the checkpoint would not be reproduced alike
    assert train(run, force=True) == 0, run.log_file.read_text()
    assert verify(run, step_and_digest) == []
    assert elsewhere or digest(run) == digest(undisturbed) == KILLED


def test_a_steered_run_goes_on_from_its_checkpoint_as_it_was_steered(
    root: Path, elsewhere: list[str]
) -> None:
    run = RunDir(root / "steered" / "batch-s0")
    cut(run, 16)
    assert train(run) == 0, run.log_file.read_text()
    assert verify(run, step_and_digest) == []
    assert elsewhere or not compare(RunDir(SWEEPS / "steered" / "batch-s0"), run).difference


def test_a_sweep_is_replayed_its_fork_too(root: Path, elsewhere: list[str]) -> None:
    originals = SweepDir(root / "steered").runs()
    for original, again in zip(originals, replay(originals).runs(), strict=True):
        assert train(again) == 0, again.log_file.read_text()
        assert verify(again, step_and_digest) == []
        assert elsewhere or not compare(original, again).difference


def test_a_steered_run_is_forked(root: Path) -> None:
    parent = RunDir(root / "steered" / "batch-s0")
    run = fork(parent, at=18, changes={"optim.lr": 0.5})
    assert len(list_checkpoints(run.checkpoints)) == 1, "that of step 16"
    assert train(run) == 0, run.log_file.read_text()
    assert verify(run, step_and_digest) == []
    assert digest(run) != digest(parent)
