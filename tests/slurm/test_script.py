"""The array script: its text, and that bash does with it what it says."""

from __future__ import annotations

import os
import signal
import subprocess
from pathlib import Path

import pytest

from bncore.config.errors import SpecError
from bncore.launch.slurm.array import script
from bncore.launch.slurm.options import SlurmOptions
from slurm.factories import FakeSlurm, odd_names

GOLDEN = """\
#!/bin/bash
#SBATCH --job-name=vgg_bn-001
#SBATCH --array=0-2%2
#SBATCH --requeue
#SBATCH --signal=B:USR2@90
#SBATCH --open-mode=append
#SBATCH --output=/data/runs/vgg_bn-001/slurm-%A_%a.log
#SBATCH --ntasks=1
#SBATCH --cpus-per-task=4
#SBATCH --partition=gpu
#SBATCH --account=lab
#SBATCH --qos=high
#SBATCH --time=4:00:00
#SBATCH --gres=gpu:a100:1
#SBATCH --mem=16G
#SBATCH --constraint='a100|h100'

# Written by bnrun. Given notice of its end (USR2), a task checkpoints and goes back into the queue. Ended (TERM),
# it checkpoints and stays ended, unless Slurm itself requeues it.
bnrun_sweep=/data/runs/vgg_bn-001
bnrun_runs=(
  none-s0
  batch-s0
  l1-s0
)
bnrun_run=$bnrun_sweep/${bnrun_runs[$SLURM_ARRAY_TASK_ID]}
exec >>"$bnrun_run/log.txt" 2>&1
# Until the worker hears the notice itself:
trap 'scontrol requeue "${SLURM_ARRAY_JOB_ID}_$SLURM_ARRAY_TASK_ID"; exit 75' USR2

# ---- set-up
module load cuda
source ~/venv/bin/activate
# ---- the worker: in this shell's place, so that Slurm's signals reach it
exec /usr/bin/python3 -m bncore.train.slurm_worker "$bnrun_run"
"""


@pytest.fixture
def python(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Stands for the interpreter: says what it was given."""
    stub = tmp_path / "python of mine"
    stub.write_text('#!/bin/bash\nprintf "%s\\n" "$@"\n')
    stub.chmod(0o755)
    monkeypatch.setattr("sys.executable", str(stub))
    return stub


def run_task(text: str, path: str, index: int) -> subprocess.Popen[str]:
    """Bash on the script, as Slurm starts a task."""
    environment = {**os.environ, "PATH": path, "SLURM_ARRAY_JOB_ID": "7", "SLURM_ARRAY_TASK_ID": str(index)}
    return subprocess.Popen(["bash", "-c", text], env=environment, text=True)


def test_its_text(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.executable", "/usr/bin/python3")
    options = SlurmOptions(
        "gpu", "lab", "high", "4:00:00", "a100:1", "16G", "a100|h100", 90,
        "module load cuda\nsource ~/venv/bin/activate\n",
    )  # fmt: skip
    names = ["none-s0", "batch-s0", "l1-s0"]
    assert script(Path("/data/runs/vgg_bn-001"), names, options, jobs=2, threads=4) == GOLDEN


def test_what_is_not_asked_for_is_left_to_slurm() -> None:
    text = script(Path("/runs/a"), ["b"], SlurmOptions(), jobs=8, threads=1)
    assert "--array=0-0%1\n" in text
    for name in ("partition", "account", "qos", "time", "gres", "mem", "constraint"):
        assert f"--{name}=" not in text


def test_odd_names_come_through_unharmed(tmp_path: Path, python: Path) -> None:
    names = list(odd_names())
    sweep = tmp_path / "sweep of $USER's `x` %A"
    for name in names:
        (sweep / name).mkdir(parents=True)
    text = script(sweep, names, SlurmOptions(), jobs=1, threads=1)
    assert "%%A/slurm-%A_%a.log" in text
    for index, name in enumerate(names):
        assert run_task(text, os.environ["PATH"], index).wait(timeout=30) == 0
        said = (sweep / name / "log.txt").read_text().splitlines()
        assert said == ["-m", "bncore.train.slurm_worker", str(sweep / name)]


def test_the_set_up_comes_before_the_worker_and_into_its_log(tmp_path: Path, python: Path) -> None:
    (tmp_path / "a-s0").mkdir()
    options = SlurmOptions(setup="echo one\nrun=elsewhere\necho two >&2")
    assert run_task(script(tmp_path, ["a-s0"], options, jobs=1, threads=1), os.environ["PATH"], 0).wait() == 0
    assert (tmp_path / "a-s0" / "log.txt").read_text().splitlines()[:3] == ["one", "two", "-m"]


def test_notice_during_the_set_up_puts_the_task_back(tmp_path: Path, python: Path) -> None:
    slurm = FakeSlurm(tmp_path / "slurm")
    (tmp_path / "a-s0").mkdir()
    log = tmp_path / "a-s0" / "log.txt"
    options = SlurmOptions(setup="echo begun\nsleep 1")
    process = run_task(script(tmp_path, ["a-s0"], options, jobs=1, threads=1), slurm.path, 0)
    while not (log.exists() and log.read_text() == "begun\n"):
        assert process.poll() is None
    process.send_signal(signal.SIGUSR2)
    assert process.wait(timeout=30) == 75
    assert slurm.calls("scontrol") == ["requeue 7_0"]
    assert log.read_text() == "begun\n"


@pytest.mark.parametrize("name", ["two\nlines", "back\\slash", "bell\a"])
def test_a_directory_that_no_script_can_name_is_refused(name: str) -> None:
    with pytest.raises(SpecError, match="without control characters and backslashes"):
        script(Path("/runs") / name, ["a-s0"], SlurmOptions(), jobs=1, threads=1)
