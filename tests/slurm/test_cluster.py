"""Sweeps on a real Slurm cluster of two nodes, which these tests start and stop on this machine."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from cli.factories import TINY, bnrun, tiny_experiment
from resume.factories import events

from bncore.launch.slurm.array import read_record
from bncore.store import commands, requests
from bncore.store.owner import read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import read_status
from slurm import cluster

pytestmark = [pytest.mark.slurm, pytest.mark.timeout(600)]

LONG = TINY.replace("steps = 12", "steps = 1500").replace("depth = 3", "depth = 6")
FOUR = LONG.replace('["none", "batch"]', '["none", "batch", "l1", "l2"]')
THREE = LONG.replace('["none", "batch"]', '["none", "batch", "l1"]')
ODD = "odd $HOME 'q' %A #1"
MIDDLE = 700
PATIENCE_S = 120.0


@pytest.fixture(scope="module")
def slurm(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """A cluster; the environment that makes a process use it."""
    if missing := cluster.missing():
        pytest.skip(f"Slurm is not installed here: no {', '.join(missing)} (apt-get install slurm-wlm munge)")
    folder = tmp_path_factory.mktemp("cluster")
    try:
        cluster.start(folder)
        yield cluster.environment(folder)
    finally:
        cluster.stop(folder)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Digests of a local sweep to which nothing happens."""
    folder = tmp_path_factory.mktemp("undisturbed")
    done = bnrun("run", tiny_experiment(folder, FOUR), "--headless", cwd=folder)
    assert done.returncode == 0, done.stderr
    return {name: row["params_sha256"] for name, row in rows(folder).items()}


class Cluster:
    """`bnrun` and Slurm's commands in a directory with an odd name."""

    def __init__(self, folder: Path, environment: dict[str, str]) -> None:
        self.folder = folder / ODD
        self.folder.mkdir()
        self.environment = environment
        self.cluster = Path(environment["SLURM_CONF"]).parent

    def bnrun(self, *arguments: str | Path, code: int = 0) -> subprocess.CompletedProcess[str]:
        """A command of ours, which must end so."""
        done = bnrun(*arguments, cwd=self.folder, **self.environment)
        assert done.returncode == code, done.stdout + done.stderr
        return done

    def slurm(self, *command: str) -> str:
        """A command of Slurm's."""
        done = subprocess.run(
            command, env={**os.environ, **self.environment}, capture_output=True, text=True, check=True
        )
        return done.stdout

    def submit(self, text: str, *options: str) -> SweepDir:
        """A sweep handed to Slurm."""
        done = self.bnrun("run", tiny_experiment(self.folder, text), "--launcher", "slurm", *options)
        return SweepDir(self.folder / done.stdout.strip())

    def rows(self) -> dict[str, dict[str, Any]]:
        """What `bnrun ls` says by run."""
        return rows(self.folder, **self.environment)

    def states(self) -> dict[str, str]:
        """States by run."""
        return {name: row["state"] for name, row in self.rows().items()}

    def digests(self) -> dict[str, str]:
        """Digests by run."""
        return {name: row["params_sha256"] for name, row in self.rows().items()}

    def task(self, run: RunDir) -> str:
        """The newest task of a run."""
        record = read_record(run.sweep)
        task = record.task_of(run) if record is not None else None
        assert task is not None
        return task

    def task_state(self, run: RunDir) -> str:
        """What Slurm says of it."""
        said = self.slurm("squeue", "-h", "-r", "-t", "all", "-j", self.task(run), "-o", "%T")
        return said.strip()

    def pause_in_the_middle(self, *runs: RunDir) -> None:
        """Hold runs that were just submitted at some step."""
        for run in runs:
            requests.send_request(run, commands.Pause(at_step=MIDDLE))
        for run in runs:
            wait_until(lambda run=run: state(run) == "paused", "a paused run")


def rows(folder: Path, **environment: str) -> dict[str, dict[str, Any]]:
    said = json.loads(bnrun("ls", "--json", cwd=folder, **environment).stdout)
    return {row["run"].partition("/")[2]: row for row in said}


def wait_until(happened: Callable[[], bool], what: str) -> None:
    until = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < until, f"never: {what}"
        time.sleep(0.2)


def state(run: RunDir) -> str:
    status = read_status(run)
    return "" if status is None else status.state


def restarts(run: RunDir) -> int:
    """How often a run was resumed from where it was."""
    return sum(bool(e.get("resumed")) for e in events(run) if e["type"] == "start")


@pytest.fixture
def here(tmp_path: Path, slurm: dict[str, str]) -> Iterator[Cluster]:
    """A directory on the cluster, whose jobs end with the test."""
    one = Cluster(tmp_path, slurm)
    yield one
    one.slurm("scancel", "--me", "--signal=KILL", "--full")
    one.slurm("scancel", "--me")
    wait_until(lambda: not one.slurm("squeue", "-h"), "an empty queue")


def test_steered_requeued_cancelled_and_timed_out_it_ends_as_an_undisturbed_sweep(
    here: Cluster, undisturbed: dict[str, str]
) -> None:
    setup = here.folder / "setup file.sh"
    setup.write_text("echo set-up on $SLURMD_NODENAME\nexport OMP_NUM_THREADS=1\n")
    sweep = here.submit(FOUR, "--slurm-time", "2", "--slurm-notice", "30", "--slurm-setup", str(setup))
    steered, requeued, cancelled, timed_out = sweep.runs()
    here.pause_in_the_middle(*sweep.runs())
    here.slurm("scontrol", "requeue", here.task(requeued))
    here.slurm("scancel", here.task(cancelled))
    said = here.bnrun("set", str(steered.path), "lr=5e-4", "--wait").stdout
    assert "applied at step" in said
    here.bnrun("resume", str(steered.path))
    wait_until(lambda: here.states()[steered.path.name] == "finished", "the end of the steered run")
    wait_until(lambda: here.states()[requeued.path.name] == "finished", "the end of the requeued run")
    assert restarts(requeued) == 1

    assert here.states()[cancelled.path.name] == "stopped"
    assert here.task_state(cancelled) == "CANCELLED"
    assert list(cancelled.checkpoints.glob("*.pt"))
    assert restarts(cancelled) == 0

    wait_until(lambda: here.states()[timed_out.path.name] == "finished", "the end of the timed-out run")
    assert restarts(timed_out) == 1
    assert "set-up on node" in timed_out.log_file.read_text()

    assert here.bnrun("resume", sweep.name).stdout.strip().endswith(sweep.name)
    wait_until(lambda: here.states()[cancelled.path.name] == "finished", "the end of the cancelled run")
    assert restarts(cancelled) == 1
    digests = here.digests()
    of_the_steered = digests.pop(steered.path.name)
    assert digests == {name: d for name, d in undisturbed.items() if name in digests}
    assert of_the_steered != undisturbed[steered.path.name]
    assert "same digest" in here.bnrun("replay", str(steered.path)).stdout
    here.bnrun("verify", sweep.name)


def test_stopping_a_sweep_stops_what_runs_and_cancels_what_waits(
    here: Cluster, undisturbed: dict[str, str]
) -> None:
    sweep = here.submit(THREE, "--jobs", "1")
    first, *others = sweep.runs()
    here.pause_in_the_middle(first)
    assert [here.states()[run.path.name] for run in others] == ["queued", "queued"]
    assert "pending" in here.rows()[others[0].path.name]["message"]
    here.bnrun("note", sweep.name, "seen by all")
    here.bnrun("stop", sweep.name)
    wait_until(lambda: set(here.states().values()) == {"stopped"}, "the end of all")
    assert not any(run.journal_file.exists() for run in others)
    wait_until(lambda: not here.slurm("squeue", "-h"), "an empty queue")
    here.bnrun("resume", sweep.name)
    here.bnrun("watch", sweep.name, "--plain")
    assert here.digests() == {run.path.name: undisturbed[run.path.name] for run in sweep.runs()}
    assert all("note" in {e["type"] for e in events(run)} for run in sweep.runs())


def test_preempted_it_goes_on_by_itself(here: Cluster, undisturbed: dict[str, str]) -> None:
    sweep = here.submit(LONG)
    run = sweep.runs()[0]
    here.pause_in_the_middle(*sweep.runs())
    here.slurm("sbatch", "-p", "urgent", "-N", "2", "--exclusive", "-o", "/dev/null", "--wrap", "sleep 12")
    wait_until(lambda: here.states()[run.path.name] == "queued", "the preemption")
    assert "Slurm" in here.rows()[run.path.name]["message"]
    wait_until(lambda: set(here.states().values()) == {"finished"}, "the end")
    assert [restarts(one) for one in sweep.runs()] == [1, 1]
    assert here.digests() == {one.path.name: undisturbed[one.path.name] for one in sweep.runs()}


def test_killed_it_shows_as_dead_with_the_reason_and_resumes(
    here: Cluster, undisturbed: dict[str, str]
) -> None:
    sweep = here.submit(LONG)
    victim, other = sweep.runs()
    here.pause_in_the_middle(victim)
    holder = read_owner(victim)
    assert holder is not None
    assert holder.task == here.task(victim)
    os.kill(holder.pid, signal.SIGKILL)
    wait_until(lambda: here.task_state(victim) == "FAILED", "Slurm to notice")
    wait_until(lambda: here.states()[other.path.name] == "finished", "the other")
    said = here.bnrun("ls")
    assert here.states()[victim.path.name] == "dead"
    assert f"Slurm's task {here.task(victim)} ended: failed" in said.stderr
    here.bnrun("resume", sweep.name)
    wait_until(lambda: here.states()[victim.path.name] == "finished", "the end")
    assert here.digests() == {run.path.name: undisturbed[run.path.name] for run in sweep.runs()}


def test_when_its_node_goes_down_it_goes_on_elsewhere(here: Cluster, undisturbed: dict[str, str]) -> None:
    sweep = here.submit(LONG)
    victim, other = sweep.runs()
    here.pause_in_the_middle(victim)
    node = here.slurm("squeue", "-h", "-j", here.task(victim), "-o", "%N").strip()
    holder = read_owner(victim)
    assert holder is not None
    wait_until(lambda: state(other) == "finished", "the other")
    cluster.crash(here.cluster, node, worker=holder.pid)
    try:
        wait_until(lambda: here.states()[victim.path.name] == "finished", "the end")
    finally:
        cluster.boot(here.cluster, node)
    assert restarts(victim) == 1
    assert here.digests() == {run.path.name: undisturbed[run.path.name] for run in sweep.runs()}


def test_what_slurm_refuses_leaves_nothing_behind(here: Cluster) -> None:
    experiment = tiny_experiment(here.folder)
    done = here.bnrun("run", experiment, "--launcher", "slurm", "--slurm-partition", "nowhere", code=2)
    assert "sbatch: " in done.stderr
    assert "nowhere" in done.stderr or "partition" in done.stderr
    assert not list((here.folder / "runs").iterdir())
