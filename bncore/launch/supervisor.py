"""The supervisor of a sweep: executes its runs, reports progress, and answers requests to the sweep.

In the foreground it is part of `bnrun`. Detached, it is a process in its own session, ``python -m
bncore.launch.supervisor SWEEP``, which outlives the shell, SSH connection or tmux pane from which it was started.
"""

from __future__ import annotations

import argparse
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Collection, Sequence
from contextlib import suppress
from pathlib import Path

from bncore.launch.local import LocalSweep, exit_in_words
from bncore.plain_files import append_to
from bncore.store.commands import CancelQueued, Stop
from bncore.store.errors import AlreadyOwnedError, StoreError
from bncore.store.log import LOGGER, last_line, log_to_stderr
from bncore.store.owner import Ownership, acquire, read_owner
from bncore.store.paths import RunDir, SweepDir
from bncore.store.requests import Request, pending, send_request, take_back, waiting
from bncore.store.status import HEARTBEAT_S, LIVE, State, Status, read_status, set_unowned_state, write_status

DETACH_S = 30.0
"""Seconds that a detached supervisor may take to acquire its sweep before the start counts as failed."""


class Supervisor:
    """Executes a sweep on this machine.

    Arguments:
        sweep: the sweep. If another process already supervises it, that one stays its supervisor, and this one
            only executes `runs`.
        runs: the runs to start or resume.
        jobs: maximum number of concurrent worker processes.
        force: take runs over from their present holders.
    """

    def __init__(self, sweep: SweepDir, runs: Sequence[RunDir], *, jobs: int, force: bool = False) -> None:
        self.local = LocalSweep(runs, jobs=jobs, force=force)
        self._sweep = sweep
        self._runs = list(runs)
        self._ownership: Ownership | None = None
        self._counter = 0
        self._next_beat = 0.0
        self._stops: dict[RunDir, str] = {}  # ids of its own requests to stop

    def run(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Execute all runs; see `LocalSweep.run`. Runs are queued until their turn comes."""
        for run in self._runs:
            _queue(run)
        self._sweep.inbox.mkdir(exist_ok=True)
        with suppress(AlreadyOwnedError):
            self._ownership = acquire(self._sweep)

        def tick() -> None:
            self._hear()
            self._take_back_stops()
            self._beat("running")
            on_tick()

        try:
            self.local.run(tick)
            for run in self.local.queued():
                _cancel(run, "the sweep was stopped before its turn came")
        finally:
            if self._ownership is not None:
                self._next_beat = 0.0
                self._beat("stopped" if self.local.stopping else "finished")
                self._ownership.release()

    def _hear(self) -> None:
        if self._ownership is None:
            return
        for request in pending(self._sweep, refused=LOGGER.warning):
            self._apply(request)
            request.path.unlink(missing_ok=True)

    def _apply(self, request: Request) -> None:
        if isinstance(request.command, CancelQueued):
            run = RunDir(self._sweep.path / request.command.run)
            if self.local.cancel_queued(request.command.run):
                _cancel(run, f"dropped by {request.author}")
            elif request.command.run in self.local.at_work():  # has just started
                self._stop(run)
            else:
                LOGGER.warning("%s: not queued, so not dropped", run.name)
            return
        self.local.stopping = True
        for run in self._runs:
            if run.path.name in self.local.at_work():
                self._stop(run)

    def _stop(self, run: RunDir) -> None:
        try:
            if not _stops_anyway(run, self.local.stale[run.path.name]):
                self._stops[run] = send_request(run, Stop())
        except StoreError as error:
            LOGGER.warning("%s", error)

    def _take_back_stops(self) -> None:
        """Remove its unanswered requests to stop from ended runs: until resumed, nobody would reject them."""
        for run in [run for run in self._stops if run.path.name not in self.local.at_work()]:
            take_back(run, self._stops.pop(run))

    def _beat(self, state: State) -> None:
        now = time.monotonic()
        if self._ownership is None or now < self._next_beat or not self._ownership.is_valid():
            return
        self._next_beat = now + HEARTBEAT_S
        self._counter += 1
        ended = len(self.local.exit_codes)
        with suppress(StoreError):  # a full disk loses only a heartbeat
            write_status(self._sweep, Status(state, ended, len(self._runs), counter=self._counter))


def detach(sweep: SweepDir, runs: Sequence[RunDir], *, jobs: int, force: bool = False) -> int:
    """Start a supervisor in its own session, without a terminal; returns its pid.

    Returns once it holds the sweep, or at once if the sweep has another supervisor that is not known to be dead.

    Raises:
        StoreError: it cannot be started, ended at once (the message is its last line of log), or did not acquire
            the sweep within `DETACH_S`.
    """
    path = str(sweep.path.resolve())
    command = [sys.executable, "-m", "bncore.launch.supervisor", path, "--jobs", str(jobs)]
    command += ["--force"] if force else []
    command += ["--runs", *(run.path.name for run in runs)]
    held_by = read_owner(sweep)
    try:
        with append_to(sweep.log_file) as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
            )
    except OSError as error:
        raise StoreError(f"{sweep.path}: no supervisor can be started: {error}") from error
    until = time.monotonic() + DETACH_S
    while time.monotonic() < until:
        if process.poll() not in (None, 0):
            raise StoreError(f"{sweep.path}: the supervisor ended: {last_line(sweep) or 'without a word'}")
        holder = read_owner(sweep)
        alive_already = held_by is not None and not held_by.known_dead()
        if process.poll() == 0 or alive_already or (holder is not None and holder.pid == process.pid):
            return process.pid
        time.sleep(0.02)
    raise StoreError(f"{sweep.path}: the supervisor did not come up within {DETACH_S:.0f} s; see its log.txt")


def main(arguments: list[str] | None = None) -> int:
    """Supervise a sweep until it ends; returns 0, 128 plus the signal that ended it, or 1 after an error."""
    parser = argparse.ArgumentParser(prog="python -m bncore.launch.supervisor", description="Run a sweep.")
    parser.add_argument("sweep", type=Path)
    parser.add_argument("--jobs", type=int, required=True)
    parser.add_argument("--force", action="store_true")
    parser.add_argument("--runs", nargs="+", required=True, help="names of the runs, in order")
    options = parser.parse_args(arguments)
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    log_to_stderr()
    sweep = SweepDir(options.sweep)
    runs = [RunDir(sweep.path / name) for name in options.runs]
    supervisor = Supervisor(sweep, runs, jobs=options.jobs, force=options.force)
    try:
        supervisor.run()
    except StoreError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    for name, code in supervisor.local.exit_codes.items():
        if code:
            LOGGER.warning("%s: %s", name, supervisor.local.unstarted.get(name) or exit_in_words(code))
    return 128 + supervisor.local.signal if supervisor.local.signal is not None else 0


def _stops_anyway(run: RunDir, stale: Collection[str]) -> bool:
    """Whether a run has ended or has a pending request to stop. A further request might remain unanswered as the
    run ends, and would then stop it again as soon as it is resumed."""
    status = read_status(run)
    return (status is not None and status.state not in {*LIVE, "queued"}) or any(
        isinstance(one.command, Stop) and one.command.at_step is None and one.id not in stale
        for one in waiting(run)
    )


def _queue(run: RunDir) -> None:
    """Set the state of a run to queued, unless it is held by a process, or has finished or diverged."""
    status = read_status(run)
    if status is not None and status.state not in ("queued", "finished", "diverged"):
        with suppress(StoreError):
            set_unowned_state(run, "queued")


def _cancel(run: RunDir, why: str) -> None:
    status = read_status(run)
    if status is not None and status.state == "queued":
        with suppress(StoreError):
            write_status(run, Status("stopped", status.step, status.steps, message=why))


if __name__ == "__main__":
    sys.exit(main())
