"""`--launcher slurm` from the command line, on a Slurm that only says yes."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import orjson
import pytest
from cli.factories import TINY, bnrun, tiny_experiment

from bncore.launch.slurm.array import read_record, script_file
from bncore.store.paths import SweepDir
from bncore.store.requests import waiting
from bncore.store.status import Status, read_status, write_status
from slurm.factories import FakeSlurm, without_slurm

SLURM = ("--launcher", "slurm")


@pytest.fixture
def slurm(tmp_path: Path) -> FakeSlurm:
    """Commands that only say yes."""
    return FakeSlurm(tmp_path / "slurm")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where sweeps are made."""
    folder = tmp_path / "work"
    folder.mkdir()
    tiny_experiment(folder, TINY.replace('["none", "batch"]', '["none", "batch", "l1"]'))
    return folder


def submit(folder: Path, slurm: FakeSlurm, *options: str) -> SweepDir:
    done = bnrun("run", "tiny.toml", *SLURM, *options, cwd=folder, PATH=slurm.path)
    assert done.returncode == 0, done.stderr
    return SweepDir(folder / done.stdout.strip())


def states(sweep: SweepDir) -> list[str]:
    found = [read_status(run) for run in sweep.runs()]
    return [status.state for status in found if status is not None]


def test_a_sweep_is_submitted_held_recorded_and_released(folder: Path, slurm: FakeSlurm) -> None:
    sweep = submit(folder, slurm, "--slurm-partition", "gpu", "--slurm-gpus", "1", "--jobs", "2")
    assert slurm.calls("sbatch") == [f"--parsable --hold {script_file(sweep)}"]
    assert slurm.calls("scontrol") == ["release 7"]
    text = script_file(sweep).read_text()
    assert "#SBATCH --array=0-2%2\n#SBATCH --requeue\n" in text
    assert "#SBATCH --cpus-per-task=1\n" in text
    table = orjson.loads((sweep.path / "slurm.json").read_bytes())
    assert table["jobs"][0]["tasks"] == {"0": "none-s0", "1": "batch-s0", "2": "l1-s0"}
    assert table["options"]["partition"] == "gpu"
    assert states(sweep) == ["queued"] * 3
    assert not any(run.owner_file.exists() for run in sweep.runs())


def test_a_dry_run_prints_the_script_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    path = without_slurm(tmp_path / "bin")
    done = bnrun("run", "tiny.toml", *SLURM, "--dry-run", "--slurm-time", "90", cwd=folder, PATH=path)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("#!/bin/bash\n#SBATCH --job-name=tiny-001\n")
    assert "#SBATCH --time=90\n" in done.stdout
    assert subprocess.run(["bash", "-n"], input=done.stdout, text=True, check=False).returncode == 0
    reported = bnrun(
        "run", "tiny.toml", *SLURM, "--dry-run", "--slurm-time", "90", "--json", cwd=folder, PATH=path
    )
    assert json.loads(reported.stdout)["script"] == done.stdout
    assert [p.name for p in folder.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--slurm-partition", "a b"], "--slurm-partition = 'a b': expected a name, such as gpu"),
        (["--slurm-time", "1"], "longer than 180 s"),
        (["--slurm-setup", "nowhere.sh"], "--slurm-setup: nowhere.sh: cannot be read"),
        (["--out", "two\nlines"], "without control characters"),
        (["--launcher", "local", "--slurm-qos", "x"], "--slurm-qos"),
    ],
)  # fmt: skip
def test_bad_options_exit_2_and_write_nothing(
    folder: Path, slurm: FakeSlurm, options: list[str], words: str
) -> None:
    done = bnrun("run", "tiny.toml", *SLURM, *options, cwd=folder, PATH=slurm.path)
    assert done.returncode == 2
    assert words in " ".join(done.stderr.replace("│", " ").split()), done.stderr
    assert [p.name for p in folder.iterdir()] == ["tiny.toml"]
    assert slurm.calls("sbatch") == []


def test_without_slurm_it_says_so_and_writes_nothing(folder: Path, tmp_path: Path) -> None:
    done = bnrun("run", "tiny.toml", *SLURM, cwd=folder, PATH=without_slurm(tmp_path / "bin"))
    assert done.returncode == 2
    assert "sbatch: not found" in done.stderr
    assert [p.name for p in folder.iterdir()] == ["tiny.toml"]


@pytest.mark.parametrize("command", ["sbatch", "scontrol"])
def test_what_slurm_refuses_leaves_nothing_behind(folder: Path, slurm: FakeSlurm, command: str) -> None:
    slurm.command(command, "echo 'error: not today' >&2; exit 1")
    done = bnrun("run", "tiny.toml", *SLURM, cwd=folder, PATH=slurm.path)
    assert done.returncode == 2
    assert f"{command}: error: not today" in done.stderr
    assert list((folder / "runs").iterdir()) == []
    assert slurm.calls("scancel") == ([] if command == "sbatch" else ["--quiet 7"])


def test_it_is_listed_as_slurm_has_it(folder: Path, slurm: FakeSlurm) -> None:
    submit(folder, slurm)
    slurm.queue("7|0|PENDING|Resources", "7|1|CANCELLED|None")
    done = bnrun("ls", "--json", cwd=folder, PATH=slurm.path)
    rows = json.loads(done.stdout)
    assert [row["state"] for row in rows] == ["queued", "dead", "dead"]
    assert [row["message"] for row in rows] == [
        "Slurm's task 7_0 pending (Resources)",
        "Slurm's task 7_1 ended: cancelled; `bnrun resume` continues",
        "Slurm's task 7_2 is no longer known to Slurm; `bnrun resume` continues",
    ]
    assert (
        "tiny-001/batch-s0: dead: Slurm's task 7_1 ended" in bnrun("ls", cwd=folder, PATH=slurm.path).stderr
    )


def test_stopping_it_cancels_what_waits_and_resuming_submits_it_again(folder: Path, slurm: FakeSlurm) -> None:
    sweep = submit(folder, slurm, "--slurm-partition", "gpu", "--slurm-time", "60")
    slurm.queue(*(f"7|{index}|PENDING|None" for index in range(3)))
    first, second, third = sweep.runs()
    assert bnrun("stop", "tiny-001/batch-s0", cwd=folder, PATH=slurm.path).returncode == 0
    assert slurm.calls("scancel") == ["--quiet 7_1"]
    assert states(sweep) == ["queued", "stopped", "queued"]
    status = read_status(second)
    assert status is not None
    assert "task 7_1 was cancelled before it started" in status.message
    write_status(first, Status("finished", 12, 12))
    slurm.queue("7|2|PENDING|None", "7|1|CANCELLED|None")
    done = bnrun("resume", "tiny-001", "--slurm-time", "90", cwd=folder, PATH=slurm.path)
    assert done.returncode == 0, done.stderr
    assert "tiny-001/l1-s0: queued; it will start automatically" in done.stderr
    record = read_record(sweep)
    assert record is not None
    assert [(job.id, job.tasks) for job in record.jobs][1:] == [("8", {"0": "batch-s0"})]
    assert (record.options.partition, record.options.time) == ("gpu", "90")
    assert (record.task_of(second), record.task_of(third)) == ("8_0", "7_2")
    assert states(sweep) == ["finished", "queued", "queued"]


def test_a_change_waits_for_a_task_that_waits(folder: Path, slurm: FakeSlurm) -> None:
    sweep = submit(folder, slurm)
    slurm.queue(*(f"7|{index}|PENDING|None" for index in range(3)))
    assert bnrun("set", "tiny-001", "lr=2e-3", cwd=folder, PATH=slurm.path).returncode == 0
    assert [len(waiting(run)) for run in sweep.runs()] == [1, 1, 1]
    assert bnrun("rm", "tiny-001", "--yes", cwd=folder, PATH=slurm.path).returncode == 2
    assert sweep.path.is_dir()


def test_a_sweep_of_slurm_can_go_on_here(folder: Path, slurm: FakeSlurm) -> None:
    sweep = submit(folder, slurm)
    slurm.queue()
    done = bnrun("resume", "tiny-001", "--launcher", "local", cwd=folder, PATH=slurm.path)
    assert done.returncode == 0, done.stderr
    assert states(sweep) == ["finished"] * 3
    done = bnrun("resume", "tiny-001", cwd=folder, PATH=slurm.path)
    assert done.returncode == 2
    assert "nothing to resume" in done.stderr
