"""A sweep on this machine: a number of slots, a worker process for each run."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from types import FrameType

from bncore.store.paths import RunDir

TICK_S = 0.2


class LocalSweep:
    """Runs of a sweep, `jobs` at once, in their order. A failed run stops no other.

    Arguments:
        runs: what is to be run, or resumed.
        jobs: how many worker processes at once.
        force: take runs from their present holders.
    """

    def __init__(self, runs: Sequence[RunDir], *, jobs: int, force: bool = False) -> None:
        self.exit_codes: dict[str, int] = {}
        """Exit code of each ended worker by run name; negative where a signal killed it."""
        self.signal: int | None = None
        """The first SIGINT or SIGTERM that was received."""
        self._queue = deque(runs)
        self._jobs = jobs
        self._force = force
        self._workers: dict[str, subprocess.Popen[bytes]] = {}

    def run(self, on_tick: Callable[[], object] = lambda: None) -> None:
        """Run them all, calling `on_tick` five times a second and once at the end.

        The first SIGINT or SIGTERM is passed to the workers, which checkpoint and end; nothing new is started.
        """
        with self._forwarding_signals():
            while self._workers or (self._queue and self.signal is None):
                self._reap()
                while self._queue and len(self._workers) < self._jobs and self.signal is None:
                    self._start(self._queue.popleft())
                on_tick()
                time.sleep(TICK_S)
        on_tick()

    def _start(self, run: RunDir) -> None:
        command = [
            sys.executable,
            "-m",
            "bncore.train.worker",
            str(run.path),
            "--supervisor",
            str(os.getpid()),
        ]
        command += ["--force"] if self._force else []
        with run.log_file.open("ab") as log:
            self._workers[run.path.name] = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C at the terminal reaches it through us, once
            )

    def _reap(self) -> None:
        for name, worker in list(self._workers.items()):
            code = worker.poll()
            if code is not None:
                self.exit_codes[name] = code
                del self._workers[name]

    @contextmanager
    def _forwarding_signals(self) -> Iterator[None]:
        before = {number: signal.signal(number, self._forward) for number in (signal.SIGINT, signal.SIGTERM)}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)

    def _forward(self, number: int, _frame: FrameType | None) -> None:
        self.signal = self.signal or number
        for worker in self._workers.values():
            worker.send_signal(number)
