"""SIGKILLs of workers, supervisors and both at random moments, start-up included; `bnrun resume` follows at once.

`BNRUN_KILLS` says how many, of programs that are started and of forked ones (slow; a kill of what is started takes
about twice as long as importing torch). The sweep's journals,
digests and requests are compared with those of a sweep that nothing happened to.

A `resume` that was requested of a run in its last moments may stay in its inbox: an ended run reads no more, and a
later process that takes it unpauses a run that is not paused (tests/steer/test_boundary.py).
"""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import forked
import pytest
from cli.factories import TINY, bnrun, clean_environment, tiny_experiment
from resume.factories import digest, events, story

from bncore.store import commands, requests
from bncore.store.owner import process_start
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import read_status
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest

KILLS = int(os.environ.get("BNRUN_KILLS", "40"))
LONGEST = 1.6
"""Until a kill, at most, in units of the time until a sweep's first event: mostly the import of torch."""
PATIENCE_S = 300
SWEEP = TINY.replace("steps = 12", "steps = 6000\ncheckpoint.every_steps = 50").replace(
    "depth = 3", "depth = 6"
)


def await_begun(sweep: SweepDir) -> float:
    """Wait until a run has begun; the seconds that it took."""
    began = time.monotonic()
    while not any(run.journal_file.exists() for run in sweep.runs()):
        assert time.monotonic() < began + PATIENCE_S
        time.sleep(0.01)
    return time.monotonic() - began


def prepared(folder: Path) -> SweepDir:
    """A queued sweep with requests waiting for its runs."""
    folder.mkdir()
    done = bnrun("run", tiny_experiment(folder, SWEEP), "--detach", "--jobs", "2", cwd=folder)
    assert done.returncode == 0, done.stderr
    sweep = SweepDir(folder / "runs" / "tiny-001")
    for run in sweep.runs():
        requests.send_request(run, commands.Note(text="note", at_step=5700))
        requests.send_request(run, commands.Set(changes={"optim.lr": 5e-4}, at_step=5800))
    return sweep


def processes(sweep: SweepDir) -> dict[str, list[int]]:
    """Pids of the sweep's workers and supervisors, a foreground `bnrun resume` among the latter."""
    found: dict[str, list[int]] = {"worker": [], "supervisor": []}
    for path in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            line = (path / "cmdline").read_bytes()
            ours = bytes(sweep.path) in line
            foreground = b"resume\0tiny-001" in line and (path / "cwd").readlink() == sweep.path.parents[1]
            if ours and b"bncore.train.worker" in line:
                found["worker"].append(int(path.name))
            elif foreground or (ours and b"bncore.launch.supervisor" in line):
                found["supervisor"].append(int(path.name))
    return found


def kill(pids: list[int]) -> int:
    """Kill them together; how many there were."""
    done = 0
    for pid in pids:
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
            done += 1
    end = time.monotonic() + 20
    while any(process_start(pid) is not None for pid in pids):
        assert time.monotonic() < end, "a killed process does not end"
        time.sleep(0.001)
    return done


def resume(sweep: SweepDir) -> subprocess.Popen[bytes]:
    """`bnrun resume`, begun; what it says goes to a file."""
    folder = sweep.path.parents[1]
    with (folder / "said.txt").open("ab") as said:
        return subprocess.Popen(
            [sys.executable, "-m", "bntui.cli.main", "resume", "tiny-001", "--jobs", "2"],
            cwd=folder, env=clean_environment(folder), stdin=subprocess.DEVNULL, stdout=said, stderr=said,
        )  # fmt: skip


def told_alike(run: RunDir) -> list[dict[str, Any]]:
    """The run's story without the requests to go on that a resume sends to what lives."""
    return [e for e in story(run) if e["type"] != "request" or e["command"]["kind"] != "resume"]


def ended(run: RunDir) -> bool:
    status = read_status(run)
    return status is not None and status.state == "finished"


def disturb(sweep: SweepDir, chance: random.Random, counts: Counter[str], longest_s: float) -> None:
    """Kill and resume until the sweep has ended, or there were enough kills; then let it end."""
    begun: list[subprocess.Popen[bytes]] = []
    while not all(map(ended, sweep.runs())) and counts["kills"] < KILLS:
        time.sleep(chance.uniform(0, longest_s))
        who = chance.choice(["worker", "supervisor", "both"])
        there = processes(sweep)
        victims = there["worker"][:1] if who == "worker" else there["supervisor"]
        if kill(victims + (there["worker"] if who == "both" else [])):
            counts["kills"] += 1
            counts[who] += 1
            counts["in start-up"] += not any(run.journal_file.exists() for run in sweep.runs())
        begun.append(resume(sweep))
    for one in begun:
        one.wait(PATIENCE_S)
    last = resume(sweep)
    code, said = last.wait(PATIENCE_S), (sweep.path.parents[1] / "said.txt").read_text()
    assert code == 0 or (code == 2 and "nothing to resume" in said), said
    assert "Traceback" not in said
    end = time.monotonic() + PATIENCE_S
    while not all(map(ended, sweep.runs())) and processes(sweep)["supervisor"]:  # one that was never killed
        assert time.monotonic() < end
        time.sleep(0.1)


@pytest.fixture(params=["interpreters", "forked"])
def how(request: pytest.FixtureRequest) -> Iterator[None]:
    """Programs are started as a person starts them, or forked, which takes a tenth of the time."""
    with forked.interpreters() if request.param == "interpreters" else nullcontext():
        yield


@pytest.mark.slow
@pytest.mark.timeout(0)
@pytest.mark.usefixtures("how")
def test_whoever_is_killed_nothing_is_lost_and_nothing_twice(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    chance, counts = random.Random(KILLS), Counter[str]()
    twin = prepared(tmp_path / "twin")
    longest_s = LONGEST * await_begun(twin)
    disturb(twin, chance, Counter(kills=KILLS), 0)
    while counts["kills"] < KILLS:
        sweep = prepared(tmp_path / f"sweep{counts['sweeps']}")
        counts["sweeps"] += 1
        disturb(sweep, chance, counts, longest_s)
        for run, other in zip(sweep.runs(), twin.runs(), strict=True):
            counts["differences"] += told_alike(run) != told_alike(other) or digest(run) != digest(other)
            counts["gaps"] += [e["seq"] for e in events(run)] != list(range(len(events(run))))
            counts["unsound"] += bool(verify(run, step_and_digest))
            left = [request.command.kind for request in requests.waiting(run)]
            counts["requests left"] += any(kind != "resume" for kind in left)
            counts["resumes left"] += left.count("resume")
            counts["not ended"] += not ended(run)
        with capsys.disabled():
            print(f"\n{dict(counts)}", flush=True)  # noqa: T201
    wrong = ("differences", "gaps", "unsound", "requests left", "not ended")
    assert [counts[name] for name in wrong] == [0] * len(wrong)
