"""How many runs at once are worth having: what is timed, when it ends, and what is recommended."""

from __future__ import annotations

import json
import math
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from cli.factories import bnrun, clean_environment, tiny_experiment
from resume.factories import wait_until

from bncore.bench import jobs
from bncore.bench.jobs import ConcurrentRuns, NotMeasured, bench_jobs
from bncore.config.load import load_experiment
from bncore.config.plan import Plan, plan
from bncore.launch.devices import Occupancy


@pytest.fixture
def resolved(tmp_path: Path) -> Plan:
    """Two runs on a GPU, by name only."""
    found = plan(load_experiment(tiny_experiment(tmp_path)), profile="cpu", device="cuda")
    return found.resolved(data=None, device="cuda", threads=1)


def machine(
    monkeypatch: pytest.MonkeyPatch, speeds: dict[int, float], *, each: float = 1000, gpus: bool = True
) -> list[int]:
    """A machine with one GPU of 10,000 MiB on which so many runs make so many steps per second, and each takes
    `each` MiB; the numbers requested of it are in the list."""
    requested: list[int] = []

    def measured(plan: Plan, count: int, gpus: tuple[str, ...], at_least_s: float) -> ConcurrentRuns:
        requested.append(count)
        taken = Occupancy(0.5, 200 + each * count, 10_000) if gpus else None
        return ConcurrentRuns(count, speeds[count], taken)

    monkeypatch.setattr(jobs, "_measured", measured)
    monkeypatch.setattr(jobs, "visible_gpus", lambda: ("0",) if gpus else ())
    monkeypatch.setattr(jobs, "occupancy", lambda names: Occupancy(0, 200, 10_000))
    return requested


@pytest.mark.parametrize(
    ("speeds", "requested", "best"),
    [
        ({1: 100, 2: 190, 4: 195}, [1, 2, 4], 2),  # 2 are within 5 % of 4
        ({1: 100, 2: 190, 4: 350, 8: 200}, [1, 2, 4, 8], 4),
        ({1: 100, 2: 60}, [1, 2], 1),
        ({1: 100, 2: 104}, [1, 2], 1),
        ({1: 100, 2: 200, 4: 400, 8: 800, 12: 1200}, [1, 2, 4, 8, 12], 12),  # the most that were allowed
    ],
)
def test_it_goes_on_while_that_helps_and_recommends_the_fewest(
    monkeypatch: pytest.MonkeyPatch, resolved: Plan, speeds: dict[int, float], requested: list[int], best: int
) -> None:
    log = machine(monkeypatch, speeds, gpus=False)
    *rows, last = bench_jobs(resolved, "none-s0", most=12)
    assert log == requested
    assert [(row.what, row.ours, row.ratio) for row in rows] == [
        (f"{count} at once", speeds[count], speeds[count] / 100) for count in requested
    ]
    assert (last.what, last.ours, last.ratio) == (f"--jobs {best}", best, speeds[best] / 100)


def test_it_does_not_try_what_the_gpu_has_no_memory_for(
    monkeypatch: pytest.MonkeyPatch, resolved: Plan
) -> None:
    log = machine(monkeypatch, {1: 100, 2: 200, 4: 400}, each=2000)
    *rows, left_out, last = bench_jobs(resolved, "none-s0")
    assert log == [1, 2, 4]
    assert "GPU at work 50% of the time, 8,200 of 10,000 MiB" in rows[-1].target
    assert (left_out.what, left_out.target) == ("8 at once", "left out: 16,200 MiB, 10,000 are there")
    assert math.isnan(left_out.ours)
    assert last.ours == 4


def test_what_was_measured_counts_where_more_do_not_run(
    monkeypatch: pytest.MonkeyPatch, resolved: Plan
) -> None:
    machine(monkeypatch, {1: 100, 2: 200}, gpus=False)
    measured = jobs._measured

    def up_to_two(plan: Plan, count: int, gpus: tuple[str, ...], at_least_s: float) -> ConcurrentRuns:
        if count > 2:
            raise NotMeasured("none-s0-3 has failed at step 7; OutOfMemoryError: CUDA out of memory")
        return measured(plan, count, gpus, at_least_s)

    monkeypatch.setattr(jobs, "_measured", up_to_two)
    *_, left_out, last = bench_jobs(resolved, "none-s0")
    assert (left_out.what, left_out.target) == (
        "4 at once", "left out: none-s0-3 has failed at step 7; OutOfMemoryError: CUDA out of memory",
    )  # fmt: skip
    assert last.what == "--jobs 2"


def test_the_same_run_is_timed_at_every_count(resolved: Plan) -> None:
    """Variants may differ in what a step costs."""
    one = replace(resolved, runs=resolved.runs[1:])
    for count in (1, 3):
        copies = jobs._endless(one, count).runs
        assert len({copy.name for copy in copies}) == count
        assert {copy.spec.norm.kind for copy in copies} == {"batch"}


def test_real_runs_are_timed_and_leave_nothing_behind(tmp_path: Path) -> None:
    experiment, scratch = tiny_experiment(tmp_path), tmp_path / "scratch"
    scratch.mkdir()
    done = bnrun(
        "bench", "jobs", experiment, "--most", "2", "--seconds", "1", "--json",
        cwd=tmp_path, TMPDIR=str(scratch),
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    one, two, last = json.loads(done.stdout)
    assert (one["what"], two["what"], one["ratio"]) == ("1 at once", "2 at once", 1)
    assert one["ours"] > 100
    assert last["what"] in ("--jobs 1", "--jobs 2")
    assert list(scratch.glob("bnrun-*")) == []
    assert not (tmp_path / "runs").exists()


def test_a_run_that_ends_is_told_with_its_reason(tmp_path: Path) -> None:
    experiment, scratch = tiny_experiment(tmp_path), tmp_path / "scratch"
    scratch.mkdir()
    done = bnrun("bench", "jobs", experiment, "--set", "optim.lr=1e9", cwd=tmp_path, TMPDIR=str(scratch))
    assert done.returncode == 1
    assert "none-s0-0 has diverged at step" in done.stderr
    assert "--run" in done.stderr
    assert list(scratch.glob("bnrun-*")) == []


@pytest.fixture
def at_a_terminal() -> Iterator[None]:
    """However these tests were started: under nohup, say, which what they start would respect."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("at_a_terminal")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_interrupted_it_leaves_no_process_and_no_file(tmp_path: Path, number: signal.Signals) -> None:
    experiment, scratch = tiny_experiment(tmp_path), tmp_path / "scratch"
    scratch.mkdir()
    command = [sys.executable, "-m", "bntui.cli.main", "bench", "jobs", str(experiment), "--seconds", "600"]
    environment = clean_environment(tmp_path, TMPDIR=str(scratch))
    with subprocess.Popen(command, env=environment, cwd=tmp_path, stdout=subprocess.PIPE) as bench:
        try:
            wait_until(lambda: any(scratch.glob("*/*/*/journal.jsonl")), "a run at work")
            bench.send_signal(number)
            assert bench.wait(60) == 128 + number
        finally:
            bench.kill()
    assert list(scratch.glob("bnrun-*")) == []
    reported = bytes(scratch)
    assert not [path for path in Path("/proc").glob("[0-9]*/cmdline") if _mentions(path, reported)]


def _mentions(path: Path, reported: bytes) -> bool:
    try:
        return reported in path.read_bytes()
    except OSError:
        return False
