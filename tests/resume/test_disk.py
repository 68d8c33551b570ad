"""A full disk and a read-only folder: a clear message, exit 1, a valid journal, and nothing lost."""

from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest

from bncore.store import commands, requests
from bncore.store.paths import RunDir
from resume.conftest import Undisturbed
from resume.factories import DEEP_LINEAR, end, events, make_run, start, story, train, wait_for_state


def fill(disk: Path, *, leave: int) -> Path:
    """Fill the disk but for so many bytes (in pages of 4096)."""
    filler = disk / "filler"
    with filler.open("wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass
        file.truncate(max(0, file.tell() // 4096 * 4096 - leave))
    return filler


@pytest.mark.parametrize("leave", [0, 4096, 8192, 12288, 16384, 24576, 40960])
def test_a_full_disk_loses_nothing(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed, leave: int
) -> None:
    run = make_run(small_disk / "run-s0", DEEP_LINEAR)
    filler = fill(small_disk, leave=leave)
    log = tmp_path / "log.txt"
    assert train(run, log=log) == 1
    message = log.read_text()
    assert "No space left on device" in message.splitlines()[-1]
    assert str(run.path) in message.splitlines()[-1]
    assert "Traceback" not in message
    if run.journal_file.exists():
        assert [e["seq"] for e in events(run)] == list(range(len(events(run))))
    filler.unlink()
    assert train(run, log=log) == 0
    assert story(run) == story(undisturbed(DEEP_LINEAR))


def test_a_disk_that_fills_up_while_it_runs(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    run = make_run(small_disk / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=30))
    log = tmp_path / "log.txt"
    process = start(run, log=log)
    wait_for_state(run, "paused", 30)
    requests.send_request(run, commands.Resume())
    filler = fill(small_disk, leave=0)
    assert end(process) == 1
    assert "No space left on device" in log.read_text()
    assert events(run)
    filler.unlink()
    assert train(run, log=log) == 0
    reported = [e for e in story(run) if e["type"] != "request"]
    assert reported == story(undisturbed(DEEP_LINEAR))


@pytest.mark.parametrize("when", ["queued", "killed"])
def test_a_read_only_folder_is_refused_and_still_read(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed, when: str
) -> None:
    run = make_run(small_disk / "run-s0", DEEP_LINEAR)
    log = tmp_path / "log.txt"
    if when == "killed":
        assert train(run, failpoint="journal.half:30", log=log) == -signal.SIGKILL
    remount(small_disk, "ro")
    assert train(run, log=log) == 1
    assert log.read_text().splitlines()[-1] == (f"{run.owner_file}: cannot be written: Read-only file system")
    remount(small_disk, "rw")
    assert train(run, log=log) == 0
    assert story(run) == story(undisturbed(DEEP_LINEAR))


def test_a_folder_that_becomes_read_only_under_a_run_ends_it_clearly(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed
) -> None:
    run = make_run(small_disk / "run-s0", DEEP_LINEAR)
    requests.send_request(run, commands.Pause(at_step=20))
    log = tmp_path / "log.txt"
    process = start(run, log=log)
    wait_for_state(run, "paused", 20)
    run.checkpoints.rename(run.path / "elsewhere")
    run.checkpoints.write_bytes(b"")  # no folder any more: the next checkpoint cannot be written
    requests.send_request(run, commands.Resume())
    assert end(process) == 1
    assert "Traceback" not in log.read_text()
    assert f"{run.checkpoints}/step-000000021" in log.read_text().splitlines()[-1]
    run.checkpoints.unlink()
    (run.path / "elsewhere").rename(run.checkpoints)
    assert train(run, log=log) == 0
    assert [e for e in story(run) if e["type"] != "request"] == story(undisturbed(DEEP_LINEAR))


def remount(disk: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(disk)], check=True)


def test_a_run_on_the_small_disk_does_fit(small_disk: Path) -> None:
    """Else the tests above would prove nothing."""
    assert train(make_run(RunDir(small_disk / "run-s0").path, DEEP_LINEAR)) == 0
