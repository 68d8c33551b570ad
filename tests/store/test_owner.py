"""One writer (architecture.md, invariant 4): of any number of processes that want a run, one gets it."""

from __future__ import annotations

import multiprocessing
import os
import signal
import socket
import subprocess
import sys
import time
from dataclasses import asdict, replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import orjson
import pytest

from bncore.store import owner
from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.journal import Journal
from bncore.store.owner import Owner, _claim, acquire, boot_id, pid_namespace, process_start, read_owner
from bncore.store.paths import RunDir
from store.factories import empty_run

ROUNDS = 150
forked = multiprocessing.get_context("fork")


def dead_process() -> Owner:
    """A holder that ended: this host, this boot, but no such process."""
    process = forked.Process(target=int)
    process.start()
    assert process.pid is not None
    started = process_start(process.pid)
    process.join()
    return replace(_like_me(), pid=process.pid, started=started or 0, nonce=os.urandom(8).hex())


def _like_me() -> Owner:
    return Owner(socket.gethostname(), boot_id(), os.getpid(), process_start(os.getpid()) or 0, "me")


def hold(run: RunDir, holder: Owner) -> None:
    run.owner_file.write_bytes(orjson.dumps(asdict(holder)))


def _contend(pipe: Connection) -> None:
    """Acquire on request, and report the outcome; release on request."""
    while (message := pipe.recv()) is not None:
        run, moment = message
        while time.monotonic() < moment:
            pass
        try:
            mine = acquire(run)
        except AlreadyOwnedError:
            pipe.send("refused")
            continue
        pipe.send("won")
        pipe.recv()
        pipe.send(mine.is_valid())


@pytest.mark.parametrize("before", ["nobody", "a dead process", "garbage", "a dead process, and a dead heir"])
def test_of_simultaneous_processes_exactly_one_wins(tmp_path: Path, before: str) -> None:
    ends = [forked.Pipe() for _ in range(3)]
    processes = [forked.Process(target=_contend, args=(theirs,), daemon=True) for _, theirs in ends]
    for process in processes:
        process.start()
    corpses = [dead_process(), dead_process()]
    pipes: list[Any] = [ours for ours, _ in ends]
    for number in range(ROUNDS):
        run = RunDir(tmp_path / f"run-s{number}")
        run.path.mkdir()
        if before == "garbage":
            run.owner_file.write_bytes(b"\xff{")
        elif before != "nobody":
            hold(run, corpses[0])
        if before.endswith("heir"):
            _die_while_taking_over(run, corpses[0], corpses[1])
        moment = time.monotonic() + 0.003
        for pipe in pipes:
            pipe.send((run, moment))
        answers = [pipe.recv() for pipe in pipes]
        assert sorted(answers) == ["refused", "refused", "won"]
        winner = pipes[answers.index("won")]
        winner.send("still?")
        assert winner.recv() is True
        assert [p.name for p in run.path.iterdir()] == ["owner.json"]
    for pipe, process in zip(pipes, processes, strict=True):
        pipe.send(None)
        process.join()


def _die_while_taking_over(run: RunDir, holder: Owner, heir: Owner) -> None:
    """What a taker leaves that was killed between winning the right to displace `holder` and using it."""
    _claim(run, holder.nonce).write_bytes(orjson.dumps(asdict(heir)))


def test_who_holds_a_run_is_named_to_the_one_refused(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "vgg-001" / "batch-s0")
    holder = acquire(run).holder
    with pytest.raises(
        AlreadyOwnedError, match=rf"vgg-001/batch-s0 is held by process {os.getpid()} on {holder.host}"
    ):
        acquire(run)
    assert read_owner(run) == holder


def test_a_released_run_is_free(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    first = acquire(run)
    first.release()
    assert not first.is_valid()
    assert read_owner(run) is None
    assert acquire(run).is_valid()


def test_force_takes_a_run_from_the_living_who_notices(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    old = acquire(run)
    new = acquire(run, force=True)
    assert new.is_valid()
    assert not old.is_valid()
    old.release()
    assert new.is_valid(), "the old holder released what was no longer its own"


def test_a_holder_on_another_host_is_displaced_only_when_it_is_silent(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    hold(run, replace(_like_me(), host="elsewhere", pid=1, nonce="far"))
    with pytest.raises(AlreadyOwnedError, match="process 1 on elsewhere"):
        acquire(run)
    assert acquire(run, silent=lambda holder: holder.host == "elsewhere").is_valid()


def _far(nonce: str) -> Owner:
    return replace(_like_me(), host="elsewhere", pid=1, nonce=nonce)


def _dies_while_releasing(run: RunDir, holder: Owner) -> None:
    """What a holder leaves that was killed between winning the right to remove its own file and using it."""
    hold(run, holder)
    os.link(run.owner_file, _claim(run, holder.nonce))


@pytest.mark.parametrize("ending", ["taking over", "releasing"])
def test_a_claim_that_another_host_left_lying_gives_way(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, ending: str
) -> None:
    monkeypatch.setattr(owner, "CLAIM_S", 0.3)
    run = empty_run(tmp_path / "run-s0")
    if ending == "releasing":
        _dies_while_releasing(run, _far("first"))
    else:
        hold(run, dead_process())
        _die_while_taking_over(run, _held(run), _far("first"))
    began = time.monotonic()
    mine = acquire(run, silent=lambda holder: holder.host == "elsewhere")
    assert time.monotonic() - began >= 0.3
    assert mine.is_valid()
    assert mine.contested, "it may be frozen, and write one day: the journal is fenced"
    mine.release()
    assert not run.owner_file.exists()


def test_force_does_not_wait_for_it(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    hold(run, _far("holder"))
    _die_while_taking_over(run, _held(run), _far("heir"))
    began = time.monotonic()
    assert acquire(run, force=True).is_valid()
    assert time.monotonic() - began < owner.CLAIM_S / 2


def test_a_claim_that_is_in_use_is_left_to_who_made_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The other host takes the run over while this one waits to see whether its claim was left lying."""
    run = empty_run(tmp_path / "run-s0")
    hold(run, dead_process())
    claim = _claim(run, _held(run).nonce)
    _die_while_taking_over(run, _held(run), _far("heir"))

    def use(seconds: float) -> None:
        if claim.exists():
            claim.rename(run.owner_file)

    monkeypatch.setattr(owner.time, "sleep", use)
    with pytest.raises(AlreadyOwnedError, match="process 1 on elsewhere"):
        acquire(run)
    assert _held(run) == _far("heir")


def test_a_frozen_claimant_that_wakes_up_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It renames what has its claim's name by now: the claim of who displaced it, and who has the run."""
    monkeypatch.setattr(owner, "CLAIM_S", 0.0)
    run = empty_run(tmp_path / "run-s0")
    hold(run, dead_process())
    claim = _claim(run, _held(run).nonce)
    _die_while_taking_over(run, _held(run), _far("heir"))

    def wake(point: str) -> None:
        if point == "owner.claim" and _far("heir") != owner._read(claim) is not None:
            claim.rename(run.owner_file)

    monkeypatch.setattr(owner, "failpoint", wake)
    mine = acquire(run)
    assert mine.is_valid()
    assert _held(run) == mine.holder


@pytest.mark.parametrize("where", ["taken over", "released"])
def test_whoever_was_killed_in_the_middle_here_blocks_nobody(tmp_path: Path, where: str) -> None:
    run = empty_run(tmp_path / "run-s0")
    if where == "released":
        _dies_while_releasing(run, dead_process())
    else:
        hold(run, dead_process())
        _claim(run, _held(run).nonce).write_bytes(b"\xff{")
    assert acquire(run).is_valid()


def _held(run: RunDir) -> Owner:
    holder = read_owner(run)
    assert holder is not None
    return holder


@pytest.mark.parametrize(
    ("change", "dead"),
    [
        ({}, False),
        ({"started": 1}, True),  # the pid is somebody else's by now
        ({"boot": "another boot"}, True),
        ({"pid": 2**30}, True),
        ({"pid": -1}, True),
        ({"host": "elsewhere", "pid": 2**30}, False),  # nobody here can tell
        ({"namespace": "pid:[1]", "pid": 2**30}, False),  # in another container of this host
        ({"namespace": "pid:[1]", "boot": "another boot"}, True),
        ({"namespace": pid_namespace(), "pid": 2**30}, True),
    ],
)
def test_a_holder_is_known_dead_only_where_this_host_can_tell(change: dict[str, Any], dead: bool) -> None:
    assert replace(_like_me(), **change).known_dead() is dead


def test_a_holder_in_a_container_of_this_host_is_not_taken_for_dead(tmp_path: Path) -> None:
    """Its pid is none of ours, or another process's: only its silence can tell."""
    contained = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"]
    try:
        subprocess.run([*contained, "true"], check=True, capture_output=True)
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("no pid namespace may be made here")
    run = empty_run(tmp_path / "run-s0")
    holding = (
        "import pathlib, sys; from bncore.store.owner import acquire; from bncore.store.paths import RunDir\n"
        "mine = acquire(RunDir(pathlib.Path(sys.argv[1]))); print('held', flush=True); sys.stdin.read()"
    )
    holder = subprocess.Popen(
        [*contained, sys.executable, "-c", holding, str(run.path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(AlreadyOwnedError):
            acquire(run)
        assert acquire(run, silent=lambda _: True).contested


def test_a_zombie_is_dead() -> None:
    pid = os.fork()
    if pid == 0:
        os._exit(0)
    os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
    assert process_start(pid) is None
    os.waitpid(pid, 0)


def test_a_file_copied_over_the_owner_is_noticed(tmp_path: Path) -> None:
    run = empty_run(tmp_path / "run-s0")
    mine = acquire(run)
    content = run.owner_file.read_bytes()
    run.owner_file.unlink()
    assert not mine.is_valid()
    run.owner_file.write_bytes(content)  # moved away and back, as when a directory is restored
    assert mine.is_valid()


def test_a_folder_that_is_not_there_cannot_be_owned(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match=r"owner\.json: cannot be written: No such file or directory"):
        acquire(RunDir(tmp_path / "gone"))


@pytest.mark.parametrize("frozen_by", ["us", "itself, having made sure that it may write"])
def test_a_stopped_holder_that_goes_on_finds_the_run_taken(tmp_path: Path, frozen_by: str) -> None:
    run = empty_run(tmp_path / "run-s0")
    ours, theirs = forked.Pipe()
    frozen = forked.Process(target=_hold_and_write, args=(run, theirs, frozen_by != "us"), daemon=True)
    frozen.start()
    ours.recv()
    assert frozen.pid is not None
    if frozen_by == "us":
        os.kill(frozen.pid, signal.SIGSTOP)
    os.waitid(os.P_PID, frozen.pid, os.WSTOPPED | os.WNOWAIT)
    with pytest.raises(AlreadyOwnedError):
        acquire(run)
    mine = acquire(run, force=True)
    Journal(run.journal_file, fence=mine.contested).close()
    written = run.journal_file.read_bytes()
    os.kill(frozen.pid, signal.SIGCONT)
    frozen.join(10)
    assert frozen.exitcode == 7
    assert run.journal_file.read_bytes() == written
    assert mine.is_valid()


def _hold_and_write(run: RunDir, pipe: Connection, freezes: bool) -> None:
    mine = acquire(run)
    steps = 0

    def may_write() -> bool:
        answer = mine.is_valid()
        if freezes and steps == 11:
            os.kill(os.getpid(), signal.SIGSTOP)
        return answer

    journal = Journal(run.journal_file, may_write)
    for step in range(1_000_000):
        steps = step
        try:
            journal.append("step", step)
        except AlreadyOwnedError:
            os._exit(7)
        if step == 10:
            pipe.send("writing")
