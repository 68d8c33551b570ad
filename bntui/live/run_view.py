"""Runs as the explorer shows them: frozen views, and what follows a run directory to make them."""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path

from bncore.config.change import changed
from bncore.config.errors import SpecError, escape_control
from bncore.config.model import Spec
from bncore.config.toml import resolved_spec_from_toml
from bncore.store.columns import Columns
from bncore.store.errors import StoreError
from bncore.store.journal import Event
from bncore.store.lineage import read_lineage
from bncore.store.paths import RunDir, SweepDir, variant_and_seed
from bncore.store.reader import read
from bncore.store.status import LIVE, Observer, Status, read_status
from bntui.live.requests import RequestView, in_inbox, journaled


@dataclass(frozen=True, eq=False)
class RunView:
    """One run at one moment. Of two looks at a run between which nothing changed, the view is the same object."""

    run: RunDir
    name: str
    """As short as tells it from the others that are watched; harmless."""
    variant: str
    seed: int
    state: str
    """One of the states of `bncore.store.status`, or dead, unknown, gone."""
    step: int
    """Updates made."""
    steps: int
    """Updates to make; 0 where nobody knows."""
    rate: float | None
    """Updates a second."""
    eta_s: float | None
    message: str
    """Why, where the state or a file that cannot be read needs a reason; harmless."""
    columns: Columns
    """What was read so far; never changes."""
    settled: Spec | None
    """The run as it was submitted; None where spec.toml makes no sense."""
    spec: Spec | None
    """What holds now: `settled` with the requests that were applied."""
    requests: tuple[RequestView, ...]
    """Answered ones in order, then pending ones."""
    style: int
    """Index of its colour and second cue, by its place in its sweep; never changes."""
    parent: Path | None = None
    """Of a fork: the directory of the run it was made from."""


@dataclass(frozen=True)
class SweepView:
    """A sweep at one moment."""

    sweep: SweepDir
    name: str
    title: str
    """What the experiment is about; empty where sweep.toml does not say."""
    experiment: str
    """The preset's name."""
    figure: str
    """Of the paper; empty where it is none."""
    state: str
    """Of its supervisor: running, stopped, finished or dead; empty where it has none on this machine."""


@dataclass(frozen=True)
class Snapshot:
    """Everything watched, at one moment. Snapshots between which nothing changed have equal sweeps and runs."""

    t: float
    """Seconds since 1970; of a playback, by the clock of the run's own time."""
    sweeps: tuple[SweepView, ...] = ()
    runs: tuple[RunView, ...] = ()
    complete: bool = False
    """Whether the history of every run has been read."""
    problem: str = ""
    """What could not be read of all this; harmless."""


def names_of_data(views: Iterable[RunView]) -> tuple[str, ...]:
    """What the runs were trained on, as their journals say it; harmless."""
    titles = {str(view.columns.start["data"]) for view in views if "data" in view.columns.start}
    return tuple(escape_control(title) for title in sorted(titles))


def on_synthetic_images(views: Iterable[RunView]) -> bool:
    """Whether any of the runs is on images that are no photographs."""
    return any(view.settled is not None and view.settled.data.source == "synthetic" for view in views)


class Follower:
    """Follows one run; a look costs what is new.

    Arguments:
        observer: knows which heartbeats stand still; shared by all followers.
        name: what the views are called.
        style: their index of colour.
    """

    def __init__(self, run: RunDir, observer: Observer, *, name: str = "", style: int = 0) -> None:
        self.run = run
        self.name = name or run.name
        self.style = style
        self._reader = read(run)
        self._of = self._reader.columns  # what `_settled` belongs to
        self._observer = observer
        self._spec: Spec | None = None
        self._settled: Spec | None = None
        self._changes: list[str] = []  # ids of the requests that `_spec` holds
        self._parent: Path | None = None
        self._begun = False
        self._unreadable = False
        self._seen: object = None
        self._read: Columns | None = None  # what the view's columns are a snapshot of
        self._view: RunView | None = None
        self._read_once()

    def look(self, budget_s: float | None = 0.0, *, journal: bool = True) -> RunView:
        """The run now.

        Arguments:
            budget_s: seconds for history, after what is new; None: all of it.
            journal: False reads the heartbeat alone.
        """
        stamp = self._stamp()
        if self._view and stamp == self._seen and self._rests(budget_s, journal=journal):
            return self._view
        status = read_status(self.run)
        problem = self._advance(budget_s) if journal else ""
        self._unreadable = bool(problem)
        if self._reader.columns is not self._of:  # another run lies here now
            self._of, self._spec, self._settled, self._parent = self._reader.columns, None, None, None
            self._read_once()
        answered = journaled(self._reader.columns.events)
        view = self._made(status, self._state(status), problem, answered)
        self._seen = stamp
        if self._view is None or self._read is not self._reader.columns or not _same(self._view, view):
            self._read = self._reader.columns
            self._view = replace(view, columns=self._read.snapshot())
        return self._view

    @property
    def complete(self) -> bool:
        """Whether the history was read, or there is none that can be."""
        return self._unreadable or self._reader.columns.complete or not self.run.journal_file.exists()

    @property
    def begun(self) -> bool:
        """Whether the journal was looked into."""
        return self._begun

    def _rests(self, budget_s: float | None, *, journal: bool) -> bool:
        """Whether a run whose files are as they were needs no look: it has ended, and is read as far as asked."""
        if self._view is None or self._view.name != self.name or self._unreadable:
            return False
        ended = self._view.state not in (*LIVE, "queued", "dead")
        return ended and (not journal or (self._begun and (self.complete or budget_s == 0)))

    def _made(
        self, status: Status | None, state: str, problem: str, answered: tuple[RequestView, ...]
    ) -> RunView:
        columns = self._reader.columns
        said = status or Status("queued", steps=self._settled.steps if self._settled else 0)
        variant, seed = variant_and_seed(self.run)
        newest = columns.last_step("step")
        return RunView(
            run=self.run,
            name=self.name,
            variant=variant,
            seed=self._settled.seed if self._settled else seed,
            state=state,
            step=max(said.step, newest + 1) if newest is not None and state in LIVE else said.step,
            steps=said.steps,
            rate=said.rate,
            eta_s=said.eta_s,
            message=problem or escape_control(said.message),
            columns=columns,
            settled=self._settled,
            spec=self._holding(columns),
            requests=(*answered, *in_inbox(self.run, answered)),
            style=self.style,
            parent=self._parent,
        )

    def _state(self, status: Status | None) -> str:
        if not os.path.lexists(self.run.path) or (self._reader.gone and status is None):
            return "gone"
        return self._observer.state(self.run, status)

    def _advance(self, budget_s: float | None) -> str:
        self._begun = True
        try:
            self._reader.advance(budget_s)
        except StoreError as error:  # a newer program's journal
            return escape_control(str(error))
        except OSError as error:
            return escape_control(f"{self.run.journal_file.name}: cannot be read: {error.strerror or error}")
        return ""

    def _holding(self, columns: Columns) -> Spec | None:
        """`_settled` with what was applied; made anew only where something was."""
        applied = list(_applied(columns))
        ids = [str(event.get("id")) for event in applied]
        if self._spec is None or ids != self._changes:
            self._spec, self._changes = holding(self._settled, applied), ids
        return self._spec

    def _read_once(self) -> None:
        with suppress(SpecError):
            self._settled = resolved_spec_from_toml(self.run.spec_file)
        with suppress(StoreError):
            lineage = read_lineage(self.run)
            if lineage is not None and lineage.kind == "fork":
                self._parent = self.run.path / lineage.run

    def _stamp(self) -> tuple[object, ...]:
        """Changes where anything of the run does, at the cost of a few looks at directory entries."""
        return tuple(
            _entry(path)
            for path in (
                self.run.status_file,
                self.run.journal_file,
                self.run.inbox,
                self.run.inbox / "rejected",
            )
        )


def holding(settled: Spec | None, applied: list[Event]) -> Spec | None:
    """The spec that holds after the requests `applied`, in order; what does not fit it is passed over."""
    spec = settled
    for event in applied:
        with suppress(SpecError, AttributeError, TypeError, KeyError):  # whatever the journal says
            spec = spec and changed(spec, event["command"]["changes"])
    return spec


def spec_at(view: RunView, columns: Columns) -> Spec | None:
    """The spec that holds where `columns`, some of the view's own, end."""
    return holding(view.settled, list(_applied(columns)))


def _applied(columns: Columns, before: int | None = None) -> Iterator[Event]:
    """Requests that changed settings, those that a fork inherited first."""
    if columns.parent is not None:
        yield from _applied(*columns.parent)
    for event in columns.events:
        command = event.get("command")
        if (
            event["type"] == "request"
            and event.get("outcome") == "applied"
            and (before is None or event["step"] < before)
            and isinstance(command, dict)
            and command.get("kind") == "set"
        ):
            yield event


def _same(view: RunView, other: RunView) -> bool:
    return (
        view.columns.version == other.columns.version
        and view.columns.complete == other.columns.complete
        and replace(view, columns=other.columns).__dict__ == other.__dict__
    )


def _entry(path: Path) -> tuple[int, int] | None:
    try:
        found = path.stat()
    except OSError:
        return None
    return found.st_mtime_ns, found.st_size
