"""A sweep on this machine: a fixed number of slots, and a worker process for each run. Workers whose supervisor
has died (orphans) write a checkpoint and end by themselves, and hold their runs until then."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType

from bncore.config.errors import SpecError
from bncore.config.toml import resolved_spec_from_toml
from bncore.launch.devices import least_loaded, visible_gpus
from bncore.plain_files import append_to
from bncore.store.owner import pid_namespace, process_start
from bncore.store.paths import RunDir
from bncore.store.requests import halting

TICK_S = 0.2


class LocalSweep:
    """Executes the runs of a sweep in order, `jobs` at once. A failed run does not stop the others.

    Runs on ``cuda`` are distributed over the GPUs that this process may use; a run on ``cuda:1`` stays there.

    Arguments:
        runs: the runs to start or resume.
        jobs: maximum number of concurrent worker processes.
        force: take runs over from their present holders.
    """

    def __init__(self, runs: Sequence[RunDir], *, jobs: int, force: bool = False) -> None:
        self.exit_codes: dict[str, int] = {}
        """Exit code of each ended worker, by run name; negative if a signal killed it."""
        self.signal: int | None = None
        """The first SIGINT, SIGTERM or SIGHUP received, or None."""
        self.stopping = False
        """Whether to start no further runs."""
        self.unstarted: dict[str, str] = {}
        """Why a worker could not be started, by run name; its exit code counts as 1."""
        self._queue = deque(runs)
        self._jobs = jobs
        self._force = force
        self._gpus = visible_gpus()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._placed: dict[str, str] = {}  # GPU by run name
        self._signaled: set[str] = set()  # runs whose workers were sent a signal
        self.stale = {run.path.name: halting(run) for run in runs}
        """Ids of requests, by run name, that were meant for an earlier worker of the run."""

    def run(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Execute all runs, calling `on_tick` five times per second and once at the end.

        SIGINT and SIGTERM are passed on to the workers, which write a checkpoint and end; no further run is
        started. The same happens on SIGHUP (the terminal closes), which workers receive as SIGTERM, unless SIGHUP
        is ignored.
        """
        with self._forwarding_signals():
            while self._workers or (self._queue and not self.stopping):
                self._reap()
                on_tick()  # a request may have stopped queued runs together with the ended one
                while self._queue and len(self._workers) < self._jobs and not self.stopping:
                    self._start(self._queue.popleft())
                time.sleep(TICK_S)
        on_tick()

    def at_work(self) -> frozenset[str]:
        """Names of the runs with a running worker."""
        return frozenset(self._workers)

    def queued(self) -> list[RunDir]:
        """The runs not started yet."""
        return list(self._queue)

    def cancel_queued(self, name: str) -> bool:
        """Cancel a queued run; False if it is not queued."""
        queued = next((run for run in self._queue if run.path.name == name), None)
        if queued is not None:
            self._queue.remove(queued)
        return queued is not None

    def end(self, number: int = signal.SIGTERM) -> None:
        """Start no further runs, and send signal `number` to the workers, which write a checkpoint and end."""
        self.stopping = True
        for name, worker in self._workers.items():
            worker.send_signal(number)
            self._signaled.add(name)

    def _start(self, run: RunDir) -> None:
        name = run.path.name
        command = [sys.executable, "-m", "bncore.train.worker", str(run.path.absolute())]
        command += ["--supervisor", str(os.getpid())]
        command += ["--force"] if self._force else []
        command += ["--stale", *self.stale[name]]
        try:
            with append_to(run.log_file) as log:
                self._workers[name] = subprocess.Popen(
                    command,
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=subprocess.STDOUT,
                    start_new_session=True,  # so that Ctrl-C reaches it only once, through this process
                    env=self._environment(run),
                )
        except OSError as error:
            self.exit_codes[name], self.unstarted[name] = 1, f"cannot be started: {error}"
            return
        if self.signal is not None and name not in self._signaled:  # it came while the worker was starting
            self._workers[name].send_signal(_passed_on(self.signal))

    def _environment(self, run: RunDir) -> dict[str, str] | None:
        """The worker's environment, with one GPU visible if the run does not choose one; None: inherit ours."""
        with suppress(SpecError):  # the worker will report it
            if self._gpus and resolved_spec_from_toml(run.spec_file).device == "cuda":
                gpu = least_loaded(self._gpus, self._placed.values())
                self._placed[run.path.name] = gpu
                return {**os.environ, "CUDA_VISIBLE_DEVICES": gpu}
        return None

    def _reap(self) -> None:
        for name, worker in list(self._workers.items()):
            code = worker.poll()
            if code is not None:
                self.exit_codes[name] = code
                del self._workers[name]
                self._placed.pop(name, None)

    @contextmanager
    def _forwarding_signals(self) -> Iterator[None]:
        numbers = [signal.SIGINT, signal.SIGTERM]
        numbers += [] if signal.getsignal(signal.SIGHUP) == signal.SIG_IGN else [signal.SIGHUP]
        before = {number: signal.signal(number, self._forward) for number in numbers}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or number
        self.end(_passed_on(number))


def exit_in_words(code: int) -> str:
    """Meaning of a worker's exit code, such as ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _passed_on(number: int) -> int:
    """The signal sent to the workers for a received one: SIGTERM for SIGHUP, which workers ignore."""
    return signal.SIGTERM if number == signal.SIGHUP else number


PATIENCE_S = 120.0
"""Seconds to wait for an orphan, which ends after its present step, probe or evaluation."""
POLL_EVERY_S = 0.1


def orphans(runs: Sequence[RunDir]) -> list[RunDir]:
    """The runs that have a worker on this host whose supervisor is gone.

    This searches processes, not `owner.json`, because a worker that is just starting does not hold its run yet.
    """
    by_path = {run.path.resolve(): run for run in runs}
    orphaned = {by_path[path] for path in _orphaned_paths() if path in by_path}
    return [run for run in runs if run in orphaned]


def await_orphans(
    runs: Sequence[RunDir],
    on_wait: Callable[[list[RunDir]], object] = lambda _: None,
    *,
    seconds: float = PATIENCE_S,
) -> list[RunDir]:
    """Wait until no run has an orphan, for at most `seconds`; returns the runs that still have one.

    Arguments:
        on_wait: called once with the runs waited for, if there are any.
    """
    until = time.monotonic() + seconds
    left = orphans(runs)
    if left:
        on_wait(left)
    while left and time.monotonic() < until:
        time.sleep(POLL_EVERY_S)
        left = orphans(left)
    return left


def _orphaned_paths() -> Iterator[Path]:
    """Run directories of the workers in this pid namespace that are not children of a live supervisor."""
    namespace = pid_namespace()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # just ended, or another user's process
            arguments = [os.fsdecode(a) for a in (process / "cmdline").read_bytes().split(b"\0")]
            if "--supervisor" not in arguments or "bncore.train.worker" not in arguments:
                continue
            supervisor = arguments[arguments.index("--supervisor") + 1]
            path = Path(arguments[arguments.index("bncore.train.worker") + 1])
            same_namespace = str((process / "ns/pid").readlink()) == namespace
            alive = supervisor == _parent(process) and process_start(int(supervisor)) is not None
            if same_namespace and not alive:
                yield path.resolve()


def _parent(process: Path) -> str:
    return (process / "stat").read_text(errors="replace").rpartition(")")[2].split()[1]
