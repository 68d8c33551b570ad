"""Whole sweeps through the command line, in real processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pexpect
import pytest

from cli.factories import TINY, bnrun, clean_environment, tiny_experiment

LONG = TINY.replace("steps = 12", "steps = 200000").replace("depth = 3", "depth = 12")


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with one finished sweep in it, and what its command printed."""
    folder = tmp_path_factory.mktemp("finished")
    done = bnrun("run", tiny_experiment(folder), "--headless", "--json", cwd=folder)
    assert done.returncode == 0, done.stderr
    (folder / "out.json").write_text(done.stdout)
    return folder


def digests(folder: Path) -> dict[str, str]:
    """params_sha256 of every run under `folder`, by run name."""
    rows = json.loads(bnrun("ls", "--json", cwd=folder).stdout)
    return {row["run"].partition("/")[2]: row["params_sha256"] for row in rows}


def test_stdout_is_data_and_stderr_everything_else(finished: Path) -> None:
    printed = json.loads((finished / "out.json").read_text())
    assert [run["run"] for run in printed["runs"]] == ["tiny-001/none-s0", "tiny-001/batch-s0"]
    assert {run["state"] for run in printed["runs"]} == {"finished"}


def test_a_run_directory_is_what_the_contract_says(finished: Path) -> None:
    run = finished / "runs" / "tiny-001" / "batch-s0"
    names = {p.name for p in run.iterdir()}
    assert {"spec.toml", "meta.json", "journal.jsonl", "status.json", "inbox", "checkpoints"} <= names
    assert "owner.json" not in names  # nobody writes it any more
    events = [json.loads(line) for line in (run / "journal.jsonl").read_text().splitlines()]
    assert [e["seq"] for e in events] == list(range(len(events)))
    assert events[0]["type"] == "start"
    assert events[0]["schema"] == 1
    assert events[0]["train_samples"] == 30
    assert [e["step"] for e in events if e["type"] == "step"] == list(range(12))
    assert [e["step"] for e in events if e["type"] == "eval"] == [0, 5, 10, 12]
    assert events[-1]["type"] == "finished"
    assert json.loads((run / "meta.json").read_text())["versions"]["torch"]
    assert "auto" not in (run / "spec.toml").read_text()


def test_show_verify_export_and_ls_read_it(finished: Path) -> None:
    shown = bnrun("show", "@last", cwd=finished).stdout
    assert "Training loss on Gaussian regression" in shown
    assert "\x1b" not in shown
    assert bnrun("verify", "@last", cwd=finished).stdout.count(": ok") == 2
    exported = bnrun("export", "tiny-001/batch", "--csv", "--out", "tables", cwd=finished)
    assert exported.returncode == 0
    assert (finished / "tables" / "step.csv").read_text().startswith("step,")
    assert bnrun("ls", cwd=finished).stdout.count("finished") == 2


def test_a_finished_run_is_not_resumed(finished: Path) -> None:
    assert bnrun("resume", "@last", cwd=finished).returncode == 2


def test_jobs_alone_never_change_a_result(tmp_path: Path, finished: Path) -> None:
    done = bnrun("run", tiny_experiment(tmp_path), "--headless", "--jobs", "2", cwd=tmp_path)
    assert done.returncode == 0
    assert digests(tmp_path) == digests(finished)


def test_one_failed_run_stops_no_other_and_is_not_forgotten(tmp_path: Path) -> None:
    bnrun("run", tiny_experiment(tmp_path), "--headless", "--steps", "5", cwd=tmp_path)
    sweep = tmp_path / "runs" / "tiny-001"
    for run in sweep.glob("*-s0"):
        for name in ("journal.jsonl", "status.json"):
            (run / name).unlink()
        for checkpoint in (run / "checkpoints").iterdir():
            checkpoint.unlink()
    (sweep / "none-s0" / "spec.toml").write_text("steps = 'many'\n")
    done = bnrun("resume", "tiny-001", "--json", cwd=tmp_path)
    assert done.returncode == 4
    assert {r["run"]: r["state"] for r in json.loads(done.stdout)["runs"]}["tiny-001/batch-s0"] == "finished"


def test_divergence_is_a_result(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path)
    done = bnrun("run", path, "--headless", "--json", "--steps", "300", "--set", "lr=1e6", cwd=tmp_path)
    assert done.returncode == 0
    states = {r["run"]: r for r in json.loads(done.stdout)["runs"]}
    assert states["tiny-001/none-s0"]["state"] == "diverged"


@pytest.mark.parametrize(("errors", "term"), [("2>errors", "xterm"), ("", "dumb")])
def test_where_there_can_be_no_explorer_the_sweep_stays_in_the_foreground(
    tmp_path: Path, errors: str, term: str
) -> None:
    """Standard error elsewhere, or a terminal that cannot place text: nothing is left to a supervisor."""
    command = f"{sys.executable} -m bntui.cli.main run {tiny_experiment(tmp_path)} {errors}"
    surrounding = clean_environment(tmp_path, TERM=term)
    output, code = pexpect.run(
        f'/bin/sh -c "{command}"', cwd=str(tmp_path), env=surrounding, withexitstatus=True, timeout=60
    )
    assert code == 0, output
    reported = output + (tmp_path / "errors").read_bytes() if errors else output
    assert b"needs a terminal" not in reported
    assert b"detached" not in reported
    status = json.loads((tmp_path / "runs" / "tiny-001" / "batch-s0" / "status.json").read_bytes())
    assert status["state"] == "finished"


def test_ctrl_c_on_a_terminal_checkpoints_and_resume_goes_on_to_the_same_digest(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path, LONG)
    sets = "--steps 1000 --set eval.every=500"
    bnrun("run", path, "--headless", "--out", "undisturbed", *sets.split(), cwd=tmp_path)
    child = pexpect.spawn(
        sys.executable,
        ["-m", "bntui.cli.main", "run", str(path), "--headless", "--out", "broken", *sets.split()],
        cwd=str(tmp_path),
        env=clean_environment(tmp_path, TERM="xterm"),  # type: ignore[arg-type]
        dimensions=(24, 120),
        timeout=60,
    )
    journal = tmp_path / "broken" / "batch-s0" / "journal.jsonl"
    wait_until(lambda: journal.is_file() and b'"step":200,' in journal.read_bytes())
    child.sendintr()
    child.expect(pexpect.EOF)
    child.close()
    assert child.exitstatus == 130
    assert list((tmp_path / "broken" / "batch-s0" / "checkpoints").iterdir())
    assert bnrun("resume", "broken", cwd=tmp_path).returncode == 0
    ends = [
        json.loads((tmp_path / name / "batch-s0" / "journal.jsonl").read_text().splitlines()[-1])[
            "params_sha256"
        ]
        for name in ("undisturbed", "broken")
    ]
    assert ends[0] == ends[1]


def test_workers_do_not_outlive_a_killed_supervisor(tmp_path: Path) -> None:
    path = tiny_experiment(tmp_path, LONG)
    command = [sys.executable, "-m", "bntui.cli.main", "run", str(path), "--headless"]
    supervisor = subprocess.Popen(
        command,
        cwd=tmp_path,
        env=clean_environment(tmp_path),
        stderr=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
    )
    owner = tmp_path / "runs" / "tiny-001" / "none-s0" / "owner.json"
    status = owner.with_name("status.json")
    wait_until(lambda: owner.is_file() and b'"running"' in status.read_bytes())
    worker = json.loads(owner.read_text())["pid"]
    supervisor.send_signal(signal.SIGKILL)
    supervisor.wait()
    wait_until(lambda: not alive(worker))
    assert bnrun("ls", cwd=tmp_path).stdout.count("stopped") >= 1


def alive(pid: int) -> bool:
    """Whether the process runs (a zombie does not)."""
    try:
        os.kill(pid, 0)
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (ProcessLookupError, FileNotFoundError):
        return False


def wait_until(true: object, seconds: float = 60) -> None:
    """Wait for something to become true."""
    assert callable(true)
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if true():
            return
        time.sleep(0.05)
    raise AssertionError("waited in vain")
