"""A copy of a live run does not pass for live, however it was copied; a run that is renamed does."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, replace
from pathlib import Path

import orjson
import pytest

from bncore.store.errors import AlreadyOwnedError
from bncore.store.owner import Owner, acquire, read_owner
from bncore.store.paths import OwnedDir, RunDir, SweepDir
from bncore.store.status import Observer, Status, read_status, write_status
from store.factories import empty_run


def state(run: OwnedDir) -> str:
    status = read_status(run)
    assert status is not None
    return "dead" if Observer().dead(run, status) else status.state


@pytest.fixture
def live(tmp_path: Path) -> RunDir:
    """A run that this process holds."""
    run = empty_run(tmp_path / "sweep-001" / "batch-s0")
    acquire(run)
    write_status(run, Status("running", step=3, counter=7))
    return run


def test_a_copy_is_dead_and_free_and_its_original_lives_on(live: RunDir, tmp_path: Path) -> None:
    copy = RunDir(Path(shutil.copytree(live.path, tmp_path / "sweep-001" / "copy-s0")))
    assert (state(live), state(copy)) == ("running", "dead")
    assert read_owner(copy) is None
    ours = acquire(copy)
    assert ours.is_valid()
    assert not ours.contested, "nobody writes there"
    assert read_owner(live) is not None
    with pytest.raises(AlreadyOwnedError):
        acquire(live)


def test_a_copy_of_a_whole_sweep_has_neither_runs_nor_a_supervisor_at_work(
    live: RunDir, tmp_path: Path
) -> None:
    acquire(live.sweep)
    write_status(live.sweep, Status("running"))
    queued = empty_run(live.path.with_name("none-s0"))
    write_status(queued, Status("queued"))
    copied = SweepDir(Path(shutil.copytree(live.sweep.path, tmp_path / "copy-001")))
    observer = Observer()
    assert observer.supervised(live.sweep)
    assert not observer.supervised(copied)
    states = {run.path.name: observer.state(run, read_status(run)) for run in copied.runs()}
    assert states == {"batch-s0": "dead", "none-s0": "dead"}


def test_a_run_that_is_renamed_or_reached_by_a_link_lives(live: RunDir, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(live.path)
    assert state(RunDir(tmp_path / "link")) == "running"
    live.sweep.path.rename(tmp_path / "renamed-001")
    renamed = RunDir(tmp_path / "renamed-001" / "batch-s0")
    assert state(renamed) == "running"
    copy = RunDir(Path(shutil.copytree(renamed.path, tmp_path / "renamed-001" / "copy-s0")))
    assert state(copy) == "dead"


def test_where_inodes_change_the_path_is_enough(live: RunDir) -> None:
    holder = read_owner(live)
    assert holder is not None
    live.owner_file.write_bytes(orjson.dumps(asdict(replace(holder, inode=holder.inode + 1))))
    assert state(live) == "running"


@pytest.mark.parametrize("change", [{"host": "another"}, {"namespace": "pid:[1]"}])
def test_a_holder_of_another_host_or_container_is_judged_by_its_silence(
    live: RunDir, change: dict[str, str], tmp_path: Path
) -> None:
    """Inodes and paths may be others there."""
    holder = read_owner(live)
    assert holder is not None
    live.owner_file.write_bytes(orjson.dumps(asdict(replace(holder, inode=1, path="/mnt/run", **change))))
    assert state(live) == "running"


def test_a_holder_of_an_earlier_program_is_read_as_ever(live: RunDir) -> None:
    table = orjson.loads(live.owner_file.read_bytes())
    del table["inode"], table["path"]
    live.owner_file.write_bytes(orjson.dumps(table))
    assert state(live) == "running"
    assert read_owner(live) == Owner(**table)


def test_a_directory_whose_name_is_no_text_is_held(tmp_path: Path) -> None:
    run = empty_run(tmp_path / os.fsdecode(b"run\xff-s0"))
    assert acquire(run).is_valid()
    assert read_owner(run) is not None
