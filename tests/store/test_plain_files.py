"""A pipe or a device in the place of a file of a run directory is reported, not waited for."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bncore.config.errors import SpecError
from bncore.config.toml import resolved_spec_from_toml
from bncore.launch.supervisor import detach
from bncore.plain_files import append_to, open_plain, read_plain
from bncore.store.errors import StoreError
from bncore.store.journal import Journal
from bncore.store.lineage import read_lineage
from bncore.store.log import last_line
from bncore.store.paths import RunDir, SweepDir, list_checkpoints, meta_of, read_sweep
from bncore.store.reader import read
from bncore.store.requests import pending
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train import checkpoint

pytestmark = pytest.mark.timeout(60)


def pipe(path: Path) -> None:
    os.mkfifo(path)


def device(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.fixture(params=[pipe, device])
def run(request: pytest.FixtureRequest, tmp_path: Path) -> RunDir:
    """A run directory in which no file is one."""
    run = RunDir(tmp_path / "sweep" / "run")
    run.inbox.mkdir(parents=True)
    run.checkpoints.mkdir()
    put: Callable[[Path], None] = request.param
    for path in (
        run.spec_file, run.meta_file, run.journal_file, run.status_file, run.owner_file, run.log_file,
        run.lineage_file, run.checkpoints / "step-000000010.pt", run.inbox / "0-x.json", run.sweep.sweep_file,
    ):  # fmt: skip
        put(path)
    return run


def test_no_reader_waits_for_a_pipe_or_reads_a_device(run: RunDir) -> None:
    assert read_status(run) is None
    assert not meta_of(run)
    assert last_line(run) == ""
    assert read_sweep(SweepDir(run.path.parent)) == {}
    assert list_checkpoints(run.checkpoints) == []
    for reading in (
        lambda: resolved_spec_from_toml(run.spec_file),
        lambda: read(run).advance(),
        lambda: Journal(run.journal_file),
        lambda: read_lineage(run),
    ):
        with pytest.raises((StoreError, SpecError), match="not a plain file"):
            reading()
    assert any("not a plain file" in problem for problem in verify(run, lambda path: (0, str(path))))
    refused: list[str] = []
    assert pending(run, refused=refused.append) == []
    assert "not a plain file" in refused[0]


def test_a_checkpoint_that_is_no_file_is_refused(run: RunDir) -> None:
    with pytest.raises(checkpoint.CheckpointError, match=r"step-000000010\.pt: .*not a plain file"):
        checkpoint.load(run.checkpoints / "step-000000010.pt")


def test_a_link_to_a_file_is_a_file(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"content")
    (tmp_path / "link").symlink_to("file")
    assert read_plain(tmp_path / "link") == b"content"
    with pytest.raises(IsADirectoryError):
        read_plain(tmp_path)
    with pytest.raises(FileNotFoundError):
        open_plain(tmp_path / "gone")


def test_what_takes_a_file_s_place_meanwhile_is_not_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "file"
    path.touch()
    really = os.open

    def replaced(*arguments: Any, **options: Any) -> int:
        path.unlink()
        os.mkfifo(path)
        return really(*arguments, **options)

    monkeypatch.setattr(os, "open", replaced)
    with pytest.raises(OSError, match="not a plain file"):
        read_plain(path)


def test_a_log_that_is_a_pipe_is_not_waited_for(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path)
    os.mkfifo(sweep.log_file)
    with pytest.raises(StoreError, match="no supervisor can be started: "):
        detach(sweep, [], jobs=1)


def test_a_log_grows_and_is_made_where_there_is_none(tmp_path: Path) -> None:
    for text in (b"one", b"two"):
        with append_to(tmp_path / "log.txt") as log:
            log.write(text)
    assert (tmp_path / "log.txt").read_bytes() == b"onetwo"
    (tmp_path / "null").symlink_to(os.devnull)
    with append_to(tmp_path / "null") as log:
        assert os.get_blocking(log.fileno())
