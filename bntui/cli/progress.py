"""Progress of a sweep in the foreground: a table with one row per run on a terminal, plain lines elsewhere."""

from __future__ import annotations

import sys
import time
from typing import TextIO

from rich.console import Console
from rich.live import Live
from rich.markup import escape
from rich.progress_bar import ProgressBar
from rich.table import Table

from bncore.config.errors import escape_control
from bncore.follow.estimate import duration
from bncore.follow.run_view import RunFollower, RunView
from bncore.launch.slurm.state import Queue
from bncore.store.paths import RunDir
from bncore.store.problems import first_failures
from bncore.store.status import Observer
from bntui.cli.tables import figure, percent
from bntui.live.usage_table import steps_made

PLAIN_EVERY_S = 5.0
PICTURE_EVERY_S = 0.5


class Progress:
    """Shows the progress of a sweep's runs; a context manager whose `tick` must be called regularly.

    Arguments:
        plain: print lines of text even if `stream` is a terminal.
        stream: output stream, such as standard output for `bnrun watch`; default: standard error.
    """

    def __init__(self, runs: list[RunDir], *, plain: bool = False, stream: TextIO | None = None) -> None:
        self._stream = stream or sys.stderr
        observer, queue = Observer(), Queue()
        self._followers = [RunFollower(run, observer, queue) for run in runs]
        self._plain = plain or not self._stream.isatty()
        self._live = None if self._plain else Live(console=Console(file=self._stream), auto_refresh=False)
        self._next = 0.0
        self._printed: dict[str, tuple[str, int]] = {}
        self._warned: set[tuple[str, str]] = set()

    def __enter__(self) -> Progress:
        if self._live is not None:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._next = 0.0
        self.tick()
        if self._live is not None:
            self._live.stop()

    def tick(self) -> list[RunView]:
        """Show the current state if an update is due, and return the views, else an empty list."""
        now = time.monotonic()
        if now < self._next:
            return []
        self._next = now + (PLAIN_EVERY_S if self._plain else PICTURE_EVERY_S)
        seen = [follower.poll() for follower in self._followers]
        self._warn(seen)
        if self._live is not None:
            self._live.update(_table(seen), refresh=True)
        else:
            self._print_changed(seen)
        return seen

    def _warn(self, seen: list[RunView]) -> None:
        """Warn once about each failing probe."""
        for overview in seen:
            for failure in first_failures(overview.columns):
                if (overview.run.name, failure.probe) not in self._warned:
                    self._warned.add((overview.run.name, failure.probe))
                    text = f"{escape_control(overview.run.path.name)}: {failure}"
                    if self._live is not None:
                        self._live.console.print(text, style="yellow", markup=False, highlight=False)
                    else:
                        sys.stderr.write(f"{text}\n")

    def _print_changed(self, seen: list[RunView]) -> None:
        """Print a key=value line for each run that has changed since its last one."""
        for overview in seen:
            key = (overview.state, overview.step)
            if overview.state != "queued" and self._printed.get(overview.run.name) != key:
                self._printed[overview.run.name] = key
                self._stream.write(plain_line(overview) + "\n")
        self._stream.flush()


def plain_line(overview: RunView) -> str:
    """One line of the form ``run=… state=… step=… loss=…``."""
    parts = {
        "run": escape_control(overview.run.path.name),
        "state": overview.state,
        "step": str(overview.step),
        "steps": str(overview.steps or "-"),
        "rate": figure(overview.rate, ".3g"),
        "loss": figure(overview.newest("step", "loss")),
        "accuracy": figure(overview.newest("step", "accuracy"), ".3f"),
        "test_accuracy": figure(overview.newest("eval", "test_accuracy"), ".3f"),
        "eta_s": figure(overview.eta_s, ".0f"),
    }
    return " ".join(f"{key}={value}" for key, value in parts.items() if value != "-")


def _table(seen: list[RunView]) -> Table:
    table = Table.grid(padding=(0, 1, 0, 0))
    for is_bar in (False, False, True, *[False] * 5):  # the bar gives way on a narrow terminal
        table.add_column(no_wrap=not is_bar)
    for overview in seen:
        share = overview.step / overview.steps if overview.steps else 0.0
        table.add_row(
            escape(escape_control(overview.run.path.name)),
            overview.state,
            ProgressBar(total=1.0, completed=min(1.0, share), width=20),
            steps_made(overview),
            f"{figure(overview.rate, '.3g')}/s",
            f"loss {figure(overview.newest('step', 'loss'))}",
            f"test {percent(overview.newest('eval', 'test_accuracy'))}",
            f"ETA {duration(overview.eta_s)}",
        )
    return table
