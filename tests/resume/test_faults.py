"""Accidents at random moments (slow): a disk that is full at any byte, directories that go away, clocks that step,
and two hosts that want one run. Nothing is lost, nothing comes twice, and whoever ends says why."""

from __future__ import annotations

import os
import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from itertools import pairwise
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest
from forked import server

from bncore.config.model import Spec
from bncore.store.paths import RunDir
from bncore.store.verify import verify
from bncore.train.checkpoint import step_and_digest
from resume.conftest import Undisturbed
from resume.factories import (
    DEEP_LINEAR,
    SLOW,
    SPARSE,
    _work,
    digest,
    end,
    events,
    held_still,
    make_run,
    start,
    story,
    train,
    wait_until,
)
from resume.test_disk import fill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(900)]

ROUNDS = 6
SILENCE_S = 5.0
"""In place of two minutes; a heartbeat takes two seconds."""
FAILURES = ("No space left on device", "File too large", "Read-only file system", "No such file or directory")


@contextmanager
def counted(capsys: pytest.CaptureFixture[str]) -> Iterator[Counter[str]]:
    counts: Counter[str] = Counter()
    yield counts
    with capsys.disabled():
        print(f"\n{dict(counts)}")  # noqa: T201


def assert_nothing_lost(run: RunDir, twin: RunDir) -> None:
    """And nothing twice."""
    assert story(run) == story(twin)
    assert digest(run) == digest(twin)
    assert [event["seq"] for event in events(run)] == list(range(len(events(run))))
    assert not verify(run, step_and_digest)


def assert_clear(log: Path) -> None:
    said = log.read_text()
    assert "Traceback" not in said
    assert any(words in said.splitlines()[-1] for words in FAILURES), said


@pytest.mark.parametrize("spec", [DEEP_LINEAR, SPARSE], ids=["every step", "every third"])
def test_files_that_may_not_grow_beyond_some_byte(
    tmp_path: Path, undisturbed: Undisturbed, spec: Spec, capsys: pytest.CaptureFixture[str]
) -> None:
    """A quota: a line or a checkpoint ends at any byte."""
    twin, chance = undisturbed(spec), random.Random(1)
    largest = max(path.stat().st_size for path in twin.path.rglob("*") if path.is_file())
    with counted(capsys) as counts:
        for number in range(ROUNDS):
            run = make_run(tmp_path / f"run{number}-s0", spec)
            for attempt in range(4):
                log = tmp_path / f"log{number}-{attempt}.txt"
                process = start(run, log=log)
                limit = chance.randint(2000, largest)
                resource.prlimit(process.pid or 0, resource.RLIMIT_FSIZE, (limit, -1))
                if end(process) == 0:
                    break
                assert_clear(log)
                counts["full"] += 1
            assert train(run) == 0, run.log_file.read_text()
            assert_nothing_lost(run, twin)
            counts["runs"] += 1
    assert counts["full"] > ROUNDS


def test_a_disk_with_room_for_a_random_number_of_bytes(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    chance = random.Random(2)
    with counted(capsys) as counts:
        for number in range(ROUNDS):
            run = make_run(small_disk / f"run{number}-s0", DEEP_LINEAR)
            filler = fill(small_disk, leave=chance.randrange(0, 60_000))
            log = tmp_path / f"log{number}.txt"
            if train(run, log=log):
                assert_clear(log)
                counts["full"] += 1
            filler.unlink()
            assert train(run, log=log) == 0, log.read_text()
            assert_nothing_lost(run, undisturbed(DEEP_LINEAR))
            counts["runs"] += 1
            shutil.rmtree(run.path)
    assert counts["full"] > ROUNDS // 2


def under_way(run: RunDir, log: Path, chance: random.Random) -> ForkServerProcess:
    """A worker at a random moment of its life, if it has begun to write."""
    process = start(run, log=log)
    wait_until(run.journal_file.exists, "begun")
    process.join(chance.uniform(0, 0.5))
    return process


@pytest.mark.parametrize("what", ["renamed", "removed", "read-only"])
def test_a_sweep_that_goes_away_under_a_live_run(
    small_disk: Path, tmp_path: Path, undisturbed: Undisturbed, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    twin, chance = undisturbed(SLOW), random.Random(what)
    with counted(capsys) as counts:
        for number in range(ROUNDS):
            sweep, away = small_disk / f"sweep{number}", small_disk / "away"
            run, log = make_run(sweep / "run-s0", SLOW), tmp_path / f"log{number}.txt"
            process = under_way(run, log, chance)
            if what == "renamed":
                sweep.rename(away)
            elif what == "removed":
                with suppress(ProcessLookupError), held_still(process.pid or 0):
                    shutil.rmtree(sweep)
            else:
                make_read_only(sweep)
            if end(process) != 0:
                counts["ended by it"] += 1
                assert_clear(log)
            if what == "removed":
                assert not run.journal_file.exists(), "made anew without what it had"
                shutil.rmtree(sweep, ignore_errors=True)
                continue
            if what == "renamed":
                assert not sweep.exists(), "made anew where it was"
                away.rename(sweep)
            else:
                subprocess.run(["umount", "-l", str(sweep)], check=True)
            assert train(run, log=log) == 0, log.read_text()
            assert_nothing_lost(run, twin)
            counts["resumed"] += 1
            shutil.rmtree(sweep)
    assert counts["ended by it"] > ROUNDS // 2


def make_read_only(sweep: Path) -> None:
    """For whoever opens a file from now on: a file system with files open for writing cannot become so itself."""
    subprocess.run(["mount", "--bind", str(sweep), str(sweep)], check=True)
    subprocess.run(["mount", "-o", "remount,bind,ro", str(sweep)], check=True)


def _with_a_stepping_clock(seed: int, run: str, log: str) -> None:
    chance, real = random.Random(seed), time.time_ns

    def stepping() -> int:
        return real() + chance.randint(-(10**15), 10**15)  # up to twelve days

    time.time_ns = stepping
    time.time = lambda: stepping() / 1e9
    _work([run], "", log, freeze_at=0, ahead=1, updates="")


def test_clocks_that_step(
    tmp_path: Path, undisturbed: Undisturbed, capsys: pytest.CaptureFixture[str]
) -> None:
    twin, chance = undisturbed(SPARSE), random.Random(4)
    with counted(capsys) as counts:
        for number in range(ROUNDS):
            run = make_run(tmp_path / f"run{number}-s0", SPARSE)
            code, longest_s = None, 0.5
            while code != 0:
                arguments = (chance.randrange(1000), str(run.path), str(run.log_file))
                process = server.Process(target=_with_a_stepping_clock, args=arguments, daemon=True)
                process.start()
                process.join(chance.uniform(0, longest_s))
                process.kill()
                process.join()
                code, longest_s = process.exitcode, 1.5 * longest_s
                counts["kills"] += code == -signal.SIGKILL
            times = [event["t"] for event in events(run)]
            counts["steps back"] += sum(later < earlier for earlier, later in pairwise(times))
            assert "Traceback" not in run.log_file.read_text()
            assert_nothing_lost(run, twin)
            counts["runs"] += 1
    assert counts["steps back"] > ROUNDS


WORKER = f"""
import sys
from bncore.store.status import find_stalled
find_stalled.__kwdefaults__["seconds"] = {SILENCE_S}
from bncore.train.worker import main
sys.exit(main(sys.argv[1:]))
"""

On = Callable[[str, RunDir], "subprocess.Popen[str]"]


@pytest.fixture
def on() -> Iterator[On]:
    """Starts a worker on a host of that name: in network and UTS namespaces of its own."""
    begun: list[subprocess.Popen[str]] = []
    inside = ["unshare", "--net", "--uts", "sh", "-c", 'hostname "$0" && exec "$@"']
    if subprocess.run([*inside, "elsewhere", "true"], capture_output=True, check=False).returncode != 0:
        pytest.skip("needs the right to make namespaces")

    def worker(host: str, run: RunDir) -> subprocess.Popen[str]:
        command = [*inside, host, sys.executable, "-c", WORKER, str(run.path)]
        begun.append(subprocess.Popen(command, stderr=subprocess.PIPE, text=True))
        return begun[-1]

    yield worker
    for process in begun:
        if process.poll() is None:
            os.kill(process.pid, signal.SIGCONT)
            process.kill()
        process.communicate()


@pytest.mark.parametrize("what", ["killed", "frozen"])
def test_two_hosts_on_one_run(
    tmp_path: Path, undisturbed: Undisturbed, on: On, what: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """The other host refuses while the first one lives, and takes over once it has been silent for long enough; a
    first one that was only frozen writes nothing more."""
    chance = random.Random(what)
    spec = SLOW.model_copy(update={"steps": 600})
    twin = undisturbed(spec)
    with counted(capsys) as counts:
        for number in range(2):
            run = make_run(tmp_path / f"run{number}-s0", spec)
            first = on("alpha", run)
            wait_until(lambda run=run: run.journal_file.exists() and events_there(run), "begun")  # type: ignore[misc]
            time.sleep(chance.uniform(0, 0.5))
            os.kill(first.pid, signal.SIGKILL if what == "killed" else signal.SIGSTOP)
            second = on("beta", run)
            assert second.wait(120) == 0, second.stderr.read() if second.stderr else ""
            counts["taken over"] += 1
            if what == "frozen":
                os.kill(first.pid, signal.SIGCONT)
                _, said = first.communicate(timeout=60)
                assert first.returncode == 1, said
                assert "taken this run over" in said.splitlines()[-1] and "Traceback" not in said
            assert_nothing_lost(run, twin)


def events_there(run: RunDir) -> bool:
    return run.journal_file.read_bytes().count(b"\n") > 5


def test_a_host_is_refused_while_the_other_lives(tmp_path: Path, undisturbed: Undisturbed, on: On) -> None:
    spec = SLOW.model_copy(update={"steps": 9000})
    run = make_run(tmp_path / "run-s0", spec)
    first = on("alpha", run)
    wait_until(lambda: run.journal_file.exists() and events_there(run), "begun")
    second = on("beta", run)
    _, said = second.communicate(timeout=120)
    assert second.returncode == 2
    assert f"{run.name} is held by process {first.pid} on alpha" in said
    assert first.poll() is None, "or nothing is tested"
