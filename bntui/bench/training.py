"""A real worker process that trains on all cores but one, and its speed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from bncore.config.model import VGG, Checkpoints, Evaluation, ImageData, Optim, Spec
from bncore.store.reader import read
from bntui.bench.synthetic_runs import made_run, made_sweep, remember_charts

NEVER = 10**6
POLL_S = 0.05
PATIENCE_S = 120.0


class TrainerProcess:
    """Context manager that trains one run, in its own sweep.

    Arguments:
        folder: parent of the sweep directory.
    """

    def __init__(self, folder: Path) -> None:
        self.sweep = made_sweep(folder / "training", ("batch-s0",))
        remember_charts(folder, "training")
        self._run = made_run(self.sweep.path / "batch-s0", training_spec(), "queued")
        self._reader = read(self._run)

    def __enter__(self) -> TrainerProcess:
        with self._run.log_file.open("ab") as log:
            self._worker = subprocess.Popen(
                [sys.executable, "-m", "bncore.train.worker", str(self._run.path)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._wait_for_step(5)
        return self

    def __exit__(self, *_: object) -> None:
        self._worker.send_signal(signal.SIGKILL)  # its results are not needed
        self._worker.wait()

    def rate(self, seconds: float) -> float:
        """Updates per second over the next `seconds`, from the trainer's own journal."""
        started = time.time()
        time.sleep(seconds)
        while True:
            columns = self._reader.advance(0.0)
            times = columns.series("step", "t").values
            times = times[times >= started]
            if len(times) > 2:
                return float((len(times) - 1) / (times[-1] - times[0]))
            time.sleep(POLL_S)

    def _wait_for_step(self, step: int) -> None:
        until = time.monotonic() + PATIENCE_S
        while (self._reader.advance(0.0).last_step("step") or 0) < step:
            if self._worker.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"the trainer does not train:\n{self._run.log_file.read_text()}")
            time.sleep(POLL_S)


def training_spec() -> Spec:
    """A narrow VGG-11 on synthetic images, on all cores but one."""
    return Spec(
        steps=NEVER,
        device="cpu",
        threads=max(1, (os.cpu_count() or 1) - 1),
        batch_size=32,
        data=ImageData(source="synthetic"),
        net=VGG(kind="vgg11", width=0.25),
        optim=Optim(lr=0.01),
        eval=Evaluation(every=0),
        checkpoint=Checkpoints(every_minutes=0.0),
    )
