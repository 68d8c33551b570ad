"""`bnrun resume` on a sweep: what is missing is finished, what is done is left alone."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import tomli_w

from bncore.store.paths import SweepDir
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest
from resume.conftest import Undisturbed
from resume.factories import DEEP_LINEAR, make_run, story, train


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Three runs of the same spec: one finished, one killed, one not begun."""
    found = SweepDir(tmp_path / "small-001")
    found.path.mkdir()
    names = ["finished-s0", "killed-s0", "queued-s0"]
    found.sweep_file.write_text(tomli_w.dumps({"queue": names}))
    finished, killed, _ = (make_run(found.path / name, DEEP_LINEAR) for name in names)
    assert train(finished) == 0
    assert train(killed, failpoint="journal.half:40") == -signal.SIGKILL
    return found


def bnrun(sweep: SweepDir, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "bntui.cli.main", *arguments, "--root", str(sweep.path.parent)],
        capture_output=True,
        text=True,
        check=False,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(p for p in sys.path if p)},
    )


def test_what_is_missing_is_finished_and_what_is_done_is_left_alone(
    sweep: SweepDir, undisturbed: Undisturbed
) -> None:
    finished, killed, queued = sweep.runs()
    before = {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()}
    assert bnrun(sweep, "resume", "small", "--jobs", "2").returncode == 0
    assert {p: p.read_bytes() for p in finished.path.rglob("*") if p.is_file()} == before
    for run in (killed, queued):
        assert story(run) == story(undisturbed(DEEP_LINEAR))
        assert verify(run, step_and_digest) == []
    done = bnrun(sweep, "resume", "small")
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr
