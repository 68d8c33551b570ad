"""A sweep on this machine: a number of slots, a worker process for each run. Workers whose supervisor died
(orphans) checkpoint and end by themselves, and hold their runs until then."""

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
    """Runs of a sweep, `jobs` at once, in their order. A failed run stops no other.

    Runs on ``cuda`` are spread over the GPUs this process may use; ``cuda:1`` stays where it says.

    Arguments:
        runs: what is to be run, or resumed.
        jobs: how many worker processes at once.
        force: take runs from their present holders.
    """

    def __init__(self, runs: Sequence[RunDir], *, jobs: int, force: bool = False) -> None:
        self.exit_codes: dict[str, int] = {}
        """Exit code of each ended worker by run name; negative where a signal killed it."""
        self.signal: int | None = None
        """The first SIGINT, SIGTERM or SIGHUP that was received."""
        self.stopping = False
        """Whether nothing more is to be started."""
        self.unstarted: dict[str, str] = {}
        """Why a worker could not be started, by run name; its exit code is 1."""
        self._queue = deque(runs)
        self._jobs = jobs
        self._force = force
        self._gpus = visible_gpus()
        self._workers: dict[str, subprocess.Popen[bytes]] = {}
        self._placed: dict[str, str] = {}  # GPU by run name
        self._signaled: set[str] = set()  # runs whose workers were sent a signal
        self.stale = {run.path.name: halting(run) for run in runs}
        """Requests by run name that were not meant for the worker that is to come."""

    def run(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Run them all, calling `on_tick` five times a second and once at the end.

        The first SIGINT or SIGTERM is passed to the workers, which checkpoint and end; nothing new is started. So
        it is where the terminal goes, unless that is ignored.
        """
        with self._forwarding_signals():
            while self._workers or (self._queue and not self.stopping):
                self._reap()
                on_tick()  # who ended may have been stopped together with what is queued
                while self._queue and len(self._workers) < self._jobs and not self.stopping:
                    self._start(self._queue.popleft())
                time.sleep(TICK_S)
        on_tick()

    def at_work(self) -> frozenset[str]:
        """Names of the runs whose workers are running."""
        return frozenset(self._workers)

    def queued(self) -> list[RunDir]:
        """What has not been started."""
        return list(self._queue)

    def cancel_queued(self, name: str) -> bool:
        """Cancel a queued run; False where it is not queued."""
        found = next((run for run in self._queue if run.path.name == name), None)
        if found is not None:
            self._queue.remove(found)
        return found is not None

    def end(self, number: int = signal.SIGTERM) -> None:
        """Start nothing more, and send that signal to the workers, which checkpoint and end."""
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
                    start_new_session=True,  # Ctrl-C at the terminal reaches it through us, once
                    env=self._environment(run),
                )
        except OSError as error:
            self.exit_codes[name], self.unstarted[name] = 1, f"cannot be started: {error}"
            return
        if self.signal is not None and name not in self._signaled:  # it came while the worker was being made
            self._workers[name].send_signal(_passed_on(self.signal))

    def _environment(self, run: RunDir) -> dict[str, str] | None:
        """The worker's environment, with one GPU visible where the run leaves open which; None: as ours."""
        with suppress(SpecError):  # the worker will say what is wrong with it
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
    """What a worker's exit code means, such as ``killed by SIGKILL``."""
    if code >= 0:
        return f"exit code {code}"
    try:
        return f"killed by {signal.Signals(-code).name}"
    except ValueError:
        return f"killed by signal {-code}"


def _passed_on(number: int) -> int:
    """What the workers are sent for a signal: they outlive a terminal that hangs up."""
    return signal.SIGTERM if number == signal.SIGHUP else number


PATIENCE_S = 120.0
"""Seconds an orphan may take: it ends after the step, probe or evaluation that it is in."""
POLL_EVERY_S = 0.1


def orphans(runs: Sequence[RunDir]) -> list[RunDir]:
    """Those of `runs` that have a worker on this host whose supervisor is no more.

    Processes are looked for, not holders: one that is just starting does not hold its run yet.
    """
    by_path = {run.path.resolve(): run for run in runs}
    found = {by_path[path] for path in _orphaned_paths() if path in by_path}
    return [run for run in runs if run in found]


def await_orphans(
    runs: Sequence[RunDir],
    tell: Callable[[list[RunDir]], object] = lambda _: None,
    *,
    seconds: float = PATIENCE_S,
) -> list[RunDir]:
    """Wait until no run has an orphan; those that still have one after so many seconds.

    Arguments:
        tell: called once with what is waited for.
    """
    until = time.monotonic() + seconds
    left = orphans(runs)
    if left:
        tell(left)
    while left and time.monotonic() < until:
        time.sleep(POLL_EVERY_S)
        left = orphans(left)
    return left


def _orphaned_paths() -> Iterator[Path]:
    """Run directories of the workers of this pid namespace that are not children of a living supervisor."""
    namespace = pid_namespace()
    for process in Path("/proc").glob("[0-9]*"):
        with suppress(OSError, ValueError, IndexError):  # gone meanwhile, or somebody else's
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
