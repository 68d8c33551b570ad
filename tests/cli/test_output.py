"""What is in the way of output: pipes, devices, links, full disks, other encodings, files that are there."""

from __future__ import annotations

import io
import os
import re
import stat
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from store.factories import empty_run

from bncore.store.errors import StoreError
from bncore.store.files import write_out
from bncore.store.paths import SweepDir
from bncore.store.status import Status, write_status
from bntui.cli.progress import Progress
from cli.factories import bnrun, clean_environment, tiny_experiment

LAST = ("ls", "presets", "claims")


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    """Two runs with every instrument."""
    path = tmp_path / "runs" / "one-001"
    for name in ("batch-s0", "none-s0"):
        made_run(path / name, events())
    write_sweep(path, ["batch-s0", "none-s0"], name="one")
    return SweepDir(path)


def test_a_file_is_replaced_and_so_is_what_a_link_leads_to(tmp_path: Path) -> None:
    target, link = tmp_path / "target", tmp_path / "link"
    target.write_text("old")
    link.symlink_to(target)
    write_out(link, b"new")
    assert link.is_symlink()
    assert target.read_bytes() == b"new"
    write_out(tmp_path / "fresh", b"first")
    assert (tmp_path / "fresh").read_bytes() == b"first"


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    read: list[bytes] = []
    reader = threading.Thread(target=lambda: read.append(pipe.read_bytes()))
    reader.start()
    write_out(pipe, b"through")
    reader.join()
    assert read == [b"through"]
    assert stat.S_ISFIFO(pipe.stat().st_mode)


@pytest.mark.parametrize("place", ["folder", "circle", "missing/file"])
def test_what_cannot_be_written_is_told(tmp_path: Path, place: str) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "circle").symlink_to("circle")
    with pytest.raises(StoreError, match="cannot be written"):
        write_out(tmp_path / place, b"content")
    assert (tmp_path / "circle").is_symlink()


def piped(
    *arguments: str, cwd: Path, stdout: int | None = subprocess.PIPE, **environment: str
) -> subprocess.CompletedProcess[bytes]:
    return subprocess.run(
        [sys.executable, "-m", "bntui.cli.main", *arguments],
        cwd=cwd, env=clean_environment(cwd, **environment), stdout=stdout, stderr=subprocess.PIPE, check=False,
    )  # fmt: skip


@pytest.mark.parametrize("command", LAST)
def test_a_full_disk_behind_standard_output_is_told(tmp_path: Path, sweep: SweepDir, command: str) -> None:
    full = os.open("/dev/full", os.O_WRONLY)
    done = piped(command, cwd=tmp_path, stdout=full)
    os.close(full)
    assert done.returncode == 1
    assert (
        done.stderr.decode().splitlines()[-1].startswith("bnrun: standard output cannot be written: No space")
    )
    assert b"Traceback" not in done.stderr


def test_without_a_standard_output_nothing_breaks(tmp_path: Path, sweep: SweepDir) -> None:
    done = subprocess.run(
        f"{sys.executable} -m bntui.cli.main ls >&-",
        shell=True, cwd=tmp_path, env=clean_environment(tmp_path), stderr=subprocess.PIPE, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")


@pytest.mark.parametrize("command", [*LAST, "show one-001", "report one-001"])
@pytest.mark.parametrize("encoding", ["latin-1", "ascii"])
def test_an_encoding_that_cannot_write_everything_breaks_nothing(
    tmp_path: Path, sweep: SweepDir, command: str, encoding: str
) -> None:
    done = piped(*command.split(), cwd=tmp_path, PYTHONUTF8="0", PYTHONIOENCODING=encoding)
    assert done.returncode == 0, done.stderr
    assert done.stdout
    assert b"Traceback" not in done.stderr


def test_on_a_terminal_of_80_cells_a_run_is_followed_on_one_line(
    sweep: SweepDir, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    run = made_run(sweep.path / "batch-slow-s0", events())
    write_status(run, Status("finished", 12_000, 15_000, rate=123.4))
    terminal = io.StringIO()
    monkeypatch.setattr(terminal, "isatty", lambda: True)
    with Progress([run], stream=terminal) as progress:
        progress.tick()
    lines = [
        line for line in re.sub(r"\x1b\[[\d;?]*\w", "", terminal.getvalue()).splitlines() if line.strip()
    ]
    assert lines
    for line in lines:
        assert line.split()[:2] == ["batch-slow-s0", "finished"]
        assert "12,000/15,000" in line
        assert line.rstrip().endswith("ETA -")


def test_tables_are_never_written_over_others(tmp_path: Path, sweep: SweepDir) -> None:
    first = bnrun("export", "one-001/batch-s0", "--csv", "--out", "there", cwd=tmp_path)
    assert first.returncode == 0
    before = {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()}
    again = bnrun("export", "one-001/none-s0", "--csv", "--parquet", "--out", "there", cwd=tmp_path)
    assert again.returncode == 2
    assert "exists; nothing was written" in again.stderr
    assert {path.name: path.read_bytes() for path in (tmp_path / "there").iterdir()} == before
    for out in ("", ".", "/"):
        refused = bnrun("export", "one-001", "--csv", "--out", out, cwd=tmp_path)
        assert refused.returncode == 2, out
        assert "a folder of its own" in refused.stderr


@pytest.mark.parametrize("kind", ["--csv", "--parquet", "--svg", "--tensorboard"])
def test_a_sweep_without_a_number_exports_nothing_and_says_so(tmp_path: Path, kind: str) -> None:
    empty_run(tmp_path / "runs" / "one-001" / "batch-s0")
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0"], name="one")
    done = bnrun("export", "one-001", kind, "--out", "there", cwd=tmp_path)
    assert done.returncode == 1
    assert "nothing" in done.stderr
    assert not (tmp_path / "there").exists()


def test_each_run_of_a_sweep_has_a_folder_of_its_own_even_a_single_one(tmp_path: Path) -> None:
    made_run(tmp_path / "runs" / "one-001" / "batch-s0", events())
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0"], name="one")
    assert bnrun("export", "one-001", "--csv", "--out", "there", cwd=tmp_path).returncode == 0
    assert (tmp_path / "there" / "batch-s0" / "step.csv").exists()


@pytest.mark.parametrize("kind", ["unreadable", "folder"])
def test_a_journal_that_cannot_be_read_hides_no_other_run(tmp_path: Path, sweep: SweepDir, kind: str) -> None:
    journal = sweep.path / "none-s0" / "journal.jsonl"
    journal.unlink()
    if kind == "folder":
        journal.mkdir()
    else:
        (tmp_path / "circle").symlink_to("circle")
        journal.symlink_to(tmp_path / "circle")
    listed = bnrun("ls", cwd=tmp_path)
    assert listed.returncode == 0
    assert "one-001/batch-s0" in listed.stdout
    assert "one-001/none-s0" in listed.stdout
    assert "journal.jsonl: cannot be read" in listed.stderr
    assert bnrun("presets", cwd=tmp_path).returncode == 0
    (sweep.path / "none-s0" / "log.txt").mkdir()
    told = bnrun("logs", "one-001", cwd=tmp_path).stderr.splitlines()
    assert told == ["one-001/batch-s0: no log yet", "one-001/none-s0: its log cannot be read: Is a directory"]
    path = tiny_experiment(tmp_path)
    assert bnrun("run", path, "--headless", "--dry-run", cwd=tmp_path).returncode == 0
    for command in (["show", "one-001"], ["export", "one-001", "--csv"], ["resume", "one-001/none-s0"]):
        done = bnrun(*command, cwd=tmp_path)
        assert "Traceback" not in done.stderr, command
        assert done.returncode in (1, 2), command


def test_only_some_can_be_listed(tmp_path: Path, sweep: SweepDir) -> None:
    made_run(tmp_path / "runs" / "two-001" / "batch-s0", events())
    write_sweep(tmp_path / "runs" / "two-001", ["batch-s0"], name="two")
    listed = bnrun("ls", "one", cwd=tmp_path)
    assert "one-001/batch-s0" in listed.stdout
    assert "two" not in listed.stdout
    assert bnrun("ls", "three", cwd=tmp_path).returncode == 3


def test_a_layer_that_was_not_measured_is_refused(tmp_path: Path, sweep: SweepDir) -> None:
    done = bnrun("show", "one-001", "--layer", "99", cwd=tmp_path)
    assert done.returncode == 2
    assert "expected one that was measured: 2, 3, 5" in done.stderr


def test_the_time_a_sweep_took_is_told_of_the_same_runs_alone(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path)

    def reported(*options: str) -> bool:
        done = bnrun("run", path, "--headless", "--dry-run", *options, cwd=tmp_path)
        assert done.returncode == 0
        return "expected time" in done.stderr

    assert not reported()
    assert bnrun("run", path, "--headless", cwd=tmp_path).returncode == 0
    assert reported()
    assert reported("--seed", "3")
    assert not reported("--set", "steps=4000")
    assert not reported("--seeds", "0,1")


def test_a_request_beyond_the_end_is_refused_at_once(tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs" / "one-001" / "batch-s0", events(12), state="paused")
    write_sweep(tmp_path / "runs" / "one-001", ["batch-s0"], name="one")
    done = bnrun("set", "one-001", "lr=0.1", "--at-step", "100000", cwd=tmp_path)
    assert done.returncode in (2, 3)
    assert not list(run.inbox.glob("*.json"))
