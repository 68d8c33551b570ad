"""The view of a run on which `ls`, `watch`, `show`, the explorer and the report rely, and the follower of a run
directory that produces it; includes the state according to Slurm."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from bncore.config.controls import Control
from bncore.config.errors import SpecError, escape_control
from bncore.config.model import Spec
from bncore.config.observed import Observed
from bncore.follow.request_view import RequestView, applied_changes, in_inbox, journaled, with_changes
from bncore.launch.slurm.state import Queue, state_by_slurm
from bncore.plain_files import exists
from bncore.store.columns import Columns
from bncore.store.commands import read_controls
from bncore.store.errors import StoreError
from bncore.store.journal import in_json
from bncore.store.lineage import read_lineage
from bncore.store.loaded import read_settings
from bncore.store.machine_log import MACHINE
from bncore.store.paths import RunDir, layer_names, variant_and_seed
from bncore.store.problems import evaluation_problem, fidelity_problem
from bncore.store.reader import read, speaks_of
from bncore.store.status import LIVE, Observer, Status, read_status

SEARCH_S = 1.0
"""Total seconds for searching the journals of all runs for evaluations that are not in their tails."""
BUDGET_S = 0.02


@dataclass(frozen=True, eq=False)
class RunView:
    """One run at one moment. Polls between which nothing changed return the same object."""

    run: RunDir
    state: str
    """One of the states of `bncore.store.status`, or dead, unknown, gone; what Slurm says takes precedence."""
    status: Status | None
    """The heartbeat, corrected by what Slurm says; None if it is missing or invalid."""
    columns: Columns
    """Snapshot of what was read so far; never changes."""
    problem: str = ""
    """Why the journal could not be read; escaped."""
    settings: Spec | Observed | None = None
    """The spec as submitted, or what is known about an observed loop; None if spec.toml is invalid."""
    settings_problem: str = ""
    """Why spec.toml is invalid; escaped."""
    spec: Spec | None = None
    """The spec in force now, with all applied requests."""
    controls: tuple[Control, ...] | None = None
    """For an observed loop, its controls with their present values; None for other runs."""
    requests: tuple[RequestView, ...] = ()
    """Answered requests in order, then those set aside, then pending ones."""
    name: str = ""
    """Shortest name that distinguishes it from the other followed runs; escaped."""
    style: int = 0
    """Index of its color and second visual cue, by its place in its sweep; never changes."""
    parent: Path | None = None
    """For a fork: the directory of its parent."""
    layer_names: tuple[str, ...] = ()
    """Names of the network's layers, beginning with layer 1; escaped."""

    @property
    def submitted(self) -> Spec | None:
        """The spec as submitted; None if there is none."""
        return self.settings if isinstance(self.settings, Spec) else None

    @property
    def variant(self) -> str:
        """The variant according to the directory's name."""
        return variant_and_seed(self.run)[0]

    @property
    def seed(self) -> int:
        """The seed in the spec, or else in the directory's name."""
        return self.submitted.seed if self.submitted else variant_and_seed(self.run)[1]

    @property
    def step(self) -> int:
        """Updates made."""
        newest = self.columns.last_step("step")
        journaled = 0 if newest is None else newest + 1
        if self.status is None:
            return journaled
        return max(self.status.step, journaled) if self.state in LIVE else self.status.step

    @property
    def steps(self) -> int:
        """Updates to make; 0 if unknown."""
        return self.status.steps if self.status else self.submitted.steps if self.submitted else 0

    @property
    def rate(self) -> float | None:
        """Updates per second."""
        return self.status.rate if self.status else None

    @property
    def eta_s(self) -> float | None:
        """Seconds left at that rate."""
        return self.status.eta_s if self.status else None

    @property
    def message(self) -> str:
        """Reason for the state or for an unreadable journal, if any; escaped."""
        return self.problem or escape_control(self.status.message if self.status else "")

    @property
    def warning(self) -> str:
        """Why its newest evaluation or measurement is not a valid result; empty if it is."""
        return evaluation_problem(self.columns) or fidelity_problem(self.columns)

    @property
    def machine(self) -> dict[str, float]:
        """The newest machine figures; unknown ones are absent."""
        if self.status is not None and self.status.machine:
            return self.status.machine
        newest = {name: self.newest(MACHINE, name) for name in self.columns.fields(MACHINE)}
        return {name: value for name, value in newest.items() if value is not None}

    def newest(self, table: str, field: str) -> float | None:
        """The last value of a series; None if it is empty."""
        series = self.columns.series(table, field)
        return float(series.values[-1]) if len(series) else None

    def times(self) -> tuple[float | None, float | None]:
        """Start and end time in seconds since 1970; None if the journal has none."""
        start, end = self.columns.start.get("t"), (self.columns.last("finished") or {}).get("t")
        return (
            float(start) if isinstance(start, int | float) else None,
            float(end) if isinstance(end, int | float) else None,
        )

    def as_json(self) -> dict[str, Any]:
        """The run's entry in the output of `--json`."""
        finished = self.columns.last("finished") or {}
        return {
            "run": self.run.name,
            "path": str(self.run.path),
            "state": self.state,
            "step": self.step if self.status else None,
            "steps": self.steps if self.status else None,
            "rate": self.rate,
            "eta_s": self.eta_s,
            "loss": in_json(self.newest("step", "loss")),
            "accuracy": in_json(self.newest("step", "accuracy")),
            "test_loss": in_json(self.newest("eval", "test_loss")),
            "test_accuracy": in_json(self.newest("eval", "test_accuracy")),
            "message": self.problem or (self.status.message if self.status else "") or self.warning,
            "params_sha256": finished.get("params_sha256"),
        }


class RunFollower:
    """Follows one run; each poll reads only what is new.

    Arguments:
        observer: knows which heartbeats have stalled; shared by all followers.
        queue: the Slurm queue; shared by all followers.
        name: name of the views; default: the run's name.
        style: color index of the views.
    """

    def __init__(
        self, run: RunDir, observer: Observer, queue: Queue, *, name: str = "", style: int = 0
    ) -> None:
        self.run = run
        self.name = name or run.name
        self.style = style
        self._observer = observer
        self._queue = queue
        self._reader = read(run)
        self._spec: Spec | None = None
        self._controls: tuple[object, tuple[Control, ...] | None] = None, None
        self._changes: list[str] = []  # ids of the requests included in `_spec`
        self.polled_journal = False
        """Whether reading of the journal was attempted."""
        self._unreadable = False
        self._seen: object = None
        self._read: Columns | None = None  # the columns of which the view has a snapshot
        self._view: RunView | None = None
        self._layer_names: tuple[str, ...] = ()
        self._read_once()

    def poll(self, budget_s: float | None = 0.0, *, journal: bool = True) -> RunView:
        """Read what is new and return the present view.

        Arguments:
            budget_s: seconds for reading history, after new lines; None: read all of it.
            journal: whether to read the journal besides the heartbeat.
        """
        stamp = self._stamp()
        if self._view and stamp == self._seen and self._rests(budget_s, journal=journal):
            return self._view
        state, status = self._state(read_status(self.run))
        problem = self._advance(budget_s) if journal else ""
        self._unreadable = bool(problem)
        if self._reader.columns is not self._of:  # the directory now contains another run
            self._read_once()
        columns = self._reader.columns
        answered = journaled(columns.events)
        view = RunView(
            run=self.run,
            state=state,
            status=status,
            columns=columns,
            problem=problem,
            settings=self._settings,
            settings_problem=self._settings_problem,
            spec=self._spec_now(columns),
            controls=self._controls_now(),
            requests=(*answered, *in_inbox(self.run, answered)),
            name=self.name,
            style=self.style,
            parent=self._parent,
            layer_names=self._names_of_layers(columns),
        )
        self._seen = stamp
        if self._view is None or self._read is not columns or not _same(self._view, view):
            self._read = columns
            self._view = replace(view, columns=columns.snapshot())
        return self._view

    @property
    def complete(self) -> bool:
        """Whether all history was read, or there is no readable journal."""
        return self._unreadable or self._reader.columns.complete or not exists(self.run.journal_file)

    def _rests(self, budget_s: float | None, *, journal: bool) -> bool:
        """Whether a run with unchanged files needs no poll: it has ended and was read as far as requested."""
        if self._view is None or self._view.name != self.name or self._unreadable:
            return False
        ended = self._view.state not in (*LIVE, "queued", "dead")
        return ended and (not journal or (self.polled_journal and (self.complete or budget_s == 0)))

    def _state(self, status: Status | None) -> tuple[str, Status | None]:
        if not os.path.lexists(self.run.path) or (self._reader.gone and status is None):
            return "gone", status
        state = self._observer.state(self.run, status)
        return state_by_slurm(self._queue, self.run, status, self._observer) or (state, status)

    def _advance(self, budget_s: float | None) -> str:
        self.polled_journal = True
        try:
            self._reader.advance(budget_s)
        except StoreError as error:  # newer schema, or unreadable journal
            return escape_control(str(error))
        return ""

    def _spec_now(self, columns: Columns) -> Spec | None:
        """The settings with all applied requests; recomputed only after new ones."""
        applied = list(applied_changes(columns))
        ids = [str(event.get("id")) for event in applied]
        if self._spec is None or ids != self._changes:
            submitted = self._settings if isinstance(self._settings, Spec) else None
            self._spec, self._changes = with_changes(submitted, applied), ids
        return self._spec

    def _names_of_layers(self, columns: Columns) -> tuple[str, ...]:
        """Layer names from the spec; for an observed loop, those written with its first measurement."""
        if isinstance(self._settings, Spec):
            return self._settings.net.layer_names
        measured = isinstance(self._settings, Observed) and any(
            t.startswith("probe:") for t in columns.tables()
        )
        if measured and not self._layer_names:
            self._layer_names = layer_names(self.run)
        return self._layer_names

    def _controls_now(self) -> tuple[Control, ...] | None:
        """The controls of an observed loop; read again only if their file has changed."""
        stamp = _entry(self.run.controls_file)
        if stamp != self._controls[0]:
            self._controls = stamp, read_controls(self.run)
        return self._controls[1]

    def _read_once(self) -> None:
        """Read everything that never changes during the life of a run."""
        self._of = self._reader.columns  # identifies the run that was read
        self._spec = None
        self._controls = None, None
        self._settings: Spec | Observed | None = None
        self._settings_problem = ""
        self._parent: Path | None = None
        self._layer_names = ()
        try:
            self._settings = read_settings(self.run)
        except (SpecError, StoreError) as error:
            self._settings_problem = escape_control(str(error))
        try:
            lineage = read_lineage(self.run)
        except StoreError:
            return
        if lineage is not None and lineage.kind == "fork":
            self._parent = self.run.path / lineage.run

    def _stamp(self) -> tuple[object, ...]:
        """A value that changes whenever any file of the run does; costs a few stat(2) calls."""
        run = self.run
        ended = self._view is None or self._view.state in ("finished", "diverged", "failed")
        paths = (run.status_file, run.journal_file, run.controls_file, run.inbox, run.inbox / "rejected")
        return (None if ended else self._queue.task(run), *map(_entry, paths))


def view_runs(
    runs: Iterable[RunDir], *, settings: bool = False, enough: Callable[[RunView], bool] | None = None
) -> list[RunView]:
    """The present views of all runs. If a journal's tail has no evaluation, its history is searched for a while.
    Arguments:
        settings: whether the settings must include all applied requests, however far back in the journal.
        enough: whether a view has what is needed; until then, more of its history is read, however long that
            takes.
    """
    observer, queue, until = Observer(), Queue(), time.monotonic() + SEARCH_S
    views = []
    for run in runs:
        follower = RunFollower(run, observer, queue)
        inherits = (settings or enough is not None) and exists(run.lineage_file)
        view = follower.poll(None if inherits or (settings and was_steered(run)) else 0.0)
        while not (follower.complete or enough is None or enough(view)):
            view = follower.poll(BUDGET_S)
        while not (follower.complete or "eval" in view.columns.tables()) and time.monotonic() < until:
            view = follower.poll(BUDGET_S)
        views.append(view)
    return views


def was_steered(run: RunDir) -> bool:
    """Whether the run, or the run it was forked from, may ever have received a request."""
    return exists(run.lineage_file) or speaks_of(run.journal_file, b'"request"')


def _same(view: RunView, other: RunView) -> bool:
    """Whether two views show the same; a heartbeat without news does not count as a change."""
    shown = [
        replace(one, columns=other.columns, status=one.status and replace(one.status, counter=0, t=0.0))
        for one in (view, other)
    ]
    read = [(one.columns.version, one.columns.complete) for one in (view, other)]
    return read[0] == read[1] and shown[0].__dict__ == shown[1].__dict__


def _entry(path: Path) -> tuple[int, int] | None:
    try:
        entry = path.stat()
    except OSError:
        return None
    return entry.st_mtime_ns, entry.st_size
