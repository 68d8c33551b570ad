"""Sources to watch: some runs and sweeps with all their values, or a whole root with the newest values of each."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Protocol

from bncore.aggregate import BANDS
from bncore.config.errors import escape_control
from bncore.config.fields import owners_of
from bncore.figure import styles_for
from bncore.follow.run_view import RunFollower, RunView, was_steered
from bncore.launch.slurm.state import Queue
from bncore.store.errors import StoreError
from bncore.store.find import list_places
from bncore.store.paths import RunDir, SweepDir, read_sweep, variant_and_seed
from bncore.store.status import LIVE, Observer, read_status
from bntui.live.snapshot import Snapshot, SweepView

PIECE_S = 0.02
"""Seconds spent at a time on the history of one of many runs."""
FIRST_S = 0.1
"""Seconds spent on the ends of journals before the first picture."""
LIST_EVERY_S = 1.0
"""Seconds between listings of directories to find new runs."""
REMOTE = frozenset(
    {
        *("nfs", "nfs4", "cifs", "smb3", "smbfs", "ncpfs", "afs", "9p", "virtiofs", "davfs"),
        *("lustre", "gpfs", "beegfs", "ceph", "glusterfs", "orangefs", "panfs", "pvfs2", "wekafs"),
        *("fuse.sshfs", "fuse.glusterfs", "fuse.ceph", "fuse.rclone", "fuse.s3fs"),
    }
)
"""Types of network file systems, as named in /proc/mounts."""

Clock = Callable[[], float]


class Source(Protocol):
    """Anything that produces snapshots."""

    @property
    def interval_s(self) -> float:
        """Seconds to wait between polls."""
        ...

    def poll(self, budget_s: float) -> Snapshot:
        """The current snapshot. The first poll returns at once; later ones spend `budget_s` on unread history."""
        ...


class Runs:
    """Some runs and sweeps, with everything they measured. Runs that appear in a sweep are added; runs that are
    removed stay, marked as gone.

    Arguments:
        places: runs and sweeps in the order of their colors; a single run has the color that it has in its sweep.
        clock: monotonic clock in seconds.
    """

    def __init__(self, *places: RunDir | SweepDir, clock: Clock = time.monotonic) -> None:
        self._places = places
        self._clock = clock
        self._observer, self._queue = Observer(clock), Queue(clock, wait=False)
        self._followers: dict[Path, RunFollower] = {}
        self._sweeps = _Sweeps(self._observer)
        self._listed = -LIST_EVERY_S
        self._first = True
        self._waiting: dict[Path, None] = {}  # runs that the last poll had no time for
        self._remote = any(is_remote(place.path) for place in places)

    @property
    def interval_s(self) -> float:
        """Seconds between polls; longer on network file systems."""
        return 1.5 if self._remote else 0.4

    def poll(self, budget_s: float) -> Snapshot:
        """All runs now. The first poll reads no history, and if there are many runs, only the journals that it
        reaches within `FIRST_S`; later polls share their time among the runs in turn."""
        now = self._clock()
        if now - self._listed >= LIST_EVERY_S:
            self._list()
            self._listed = now
        unread = sum(not follower.complete for follower in self._followers.values())
        share = 0.0 if self._first or not unread else budget_s / unread
        until = self._clock() + (FIRST_S if self._first else budget_s)
        self._first = False
        views: dict[Path, RunView] = {}
        waiting = []
        for path in [*self._waiting, *(path for path in self._followers if path not in self._waiting)]:
            follower, has_time = self._followers[path], not views or self._clock() <= until
            views[path] = follower.poll(
                share if has_time else 0.0, journal=has_time or follower.polled_journal
            )
            if not has_time:
                waiting.append(path)
        self._waiting = dict.fromkeys(waiting)
        runs = tuple(views[path] for path in self._followers)
        complete = all(follower.complete for follower in self._followers.values())
        owners = dict.fromkeys(follower.run.sweep for follower in self._followers.values())
        sweeps = self._sweeps.poll([p for p in self._places if isinstance(p, SweepDir)] or list(owners))
        return Snapshot(time.time(), sweeps, runs, complete)

    def _list(self) -> None:
        """Find new runs and rename all runs, since the old names may no longer be unique."""
        listed = [run for place in self._places for run in place.runs() if run.path not in self._followers]
        fresh = list(dict.fromkeys(listed))
        for run, style in zip(fresh, self._styles(fresh), strict=True):
            self._followers[run.path] = RunFollower(run, self._observer, self._queue, style=style)
        followers = list(self._followers.values())
        for follower, name in zip(followers, names([f.run for f in followers]), strict=True):
            follower.name = name

    def _styles(self, fresh: Sequence[RunDir]) -> list[int]:
        if len(self._places) == 1 and isinstance(self._places[0], RunDir):
            siblings = self._places[0].sweep.runs()
            given = dict(zip(siblings, styles(siblings), strict=True))
            return [given.get(run, 0) for run in fresh]
        return styles(fresh, [follower.style for follower in self._followers.values()])


class Root:
    """Every run under a root, with little reading: heartbeats and the newest values only.

    Arguments:
        root: directory that contains the sweeps; need not exist.
        clock: monotonic clock in seconds.
    """

    def __init__(self, root: Path, *, clock: Clock = time.monotonic) -> None:
        self._root = root
        self._clock = clock
        self._observer, self._queue = Observer(clock), Queue(clock, wait=False)
        self._followers: dict[Path, dict[Path, RunFollower]] = {}
        self._sweeps = _Sweeps(self._observer)
        self._changed: dict[Path, object] = {}
        self._first = True
        self.enough: Callable[[RunView], bool] = lambda _: True
        """Whether a view has the data needed; until then, more of its history is read."""

    @property
    def interval_s(self) -> float:
        """Seconds between polls; longer than for a single sweep."""
        return 2.0 if is_remote(self._root) else 1.0

    def poll(self, budget_s: float) -> Snapshot:
        """All runs now. The first poll reads heartbeats only; later ones read the ends of journals, and whole
        journals of runs whose settings were changed."""
        until = self._clock() + (0.0 if self._first else budget_s)
        self._first = False
        problem = ""
        try:
            places = list_places(self._root)
        except StoreError as error:
            places, problem = [], escape_control(str(error))
        sweeps = [place for place in places if isinstance(place, SweepDir)]
        for sweep in sweeps:
            self._list(sweep, _changed(sweep.path), sweep.runs)
        alone = [place for place in places if isinstance(place, RunDir)]
        if alone:
            self._list(alone[0].sweep, tuple(alone), lambda: alone)
            sweeps.append(alone[0].sweep)
        followers = [f for sweep in sweeps for f in self._followers[sweep.path].values()]
        runs = [f.poll(0.0, journal=f.polled_journal or self._clock() < until) for f in followers]
        complete = all(self._fill(i, followers, runs, until) for i in range(len(runs)))
        return Snapshot(time.time(), self._sweeps.poll(sweeps), tuple(runs), complete, problem)

    def _fill(self, index: int, followers: list[RunFollower], runs: list[RunView], until: float) -> bool:
        """Read the needed history of one run while time remains; return whether all of it has been read."""
        follower = followers[index]
        while follower.polled_journal and not follower.complete and self._clock() < until:
            if self.enough(runs[index]) and not was_steered(follower.run):
                return True
            runs[index] = follower.poll(PIECE_S)
        return follower.polled_journal and follower.complete

    def _list(self, sweep: SweepDir, changed: object, list_runs: Callable[[], list[RunDir]]) -> None:
        """List the sweep's runs again if `changed` differs from the last time."""
        if sweep.path in self._followers and self._changed.get(sweep.path) == changed:
            return
        self._changed[sweep.path] = changed
        followers = self._followers.get(sweep.path, {})
        runs = list_runs()
        fresh = [run for run in runs if run.path not in followers]
        styled = dict(zip(fresh, styles(fresh, [one.style for one in followers.values()]), strict=True))
        self._followers[sweep.path] = {
            run.path: followers.get(run.path)
            or RunFollower(run, self._observer, self._queue, name=name, style=styled[run])
            for run, name in zip(runs, names(runs), strict=True)
        }


def read_whole(*places: RunDir | SweepDir) -> Snapshot:
    """Read some runs and sweeps to the end, with everything they measured."""
    source = Runs(*places)
    while not (snapshot := source.poll(60.0)).complete:
        pass
    return snapshot


class _Sweeps:
    """Views of sweeps: sweep.toml is read once, the supervisor's heartbeat at each poll."""

    def __init__(self, observer: Observer) -> None:
        self._observer = observer
        self._said: dict[Path, SweepView] = {}

    def poll(self, sweeps: Sequence[SweepDir]) -> tuple[SweepView, ...]:
        return tuple(self._one(sweep) for sweep in sweeps)

    def _one(self, sweep: SweepDir) -> SweepView:
        if sweep.path not in self._said:
            self._said[sweep.path] = as_submitted(sweep)
        status = read_status(sweep)
        state: str = "" if status is None else status.state
        if status is not None and status.state in LIVE and self._observer.dead(sweep, status):
            state = "dead"
        return replace(self._said[sweep.path], state=state)


def as_submitted(sweep: SweepDir) -> SweepView:
    """The sweep as described in sweep.toml, ignoring invalid entries."""
    table = read_sweep(sweep).get("experiment")
    table = table if isinstance(table, dict) else {}
    title, name, figure = (escape_control(str(table.get(key, ""))) for key in ("title", "name", "figure"))
    by, band = table.get("group_by"), table.get("band")
    by = by if isinstance(by, list) else []
    valid = all(isinstance(path, str) and owners_of(tuple(path.split("."))) for path in by)
    return SweepView(
        sweep,
        sweep.name,
        title,
        name,
        figure,
        state="",
        group_by=tuple(by) if valid else (),
        band=band if band in BANDS else "interval",
    )


def names(runs: Sequence[RunDir]) -> list[str]:
    """The shortest unique names of the runs: the variant, else with the seed, else with the sweep."""
    variants = Counter(variant_and_seed(run)[0] for run in runs)
    directories = Counter(escape_control(run.path.name) for run in runs)
    several = len({run.path.parent for run in runs}) > 1
    shortest = []
    for run in runs:
        variant, directory = variant_and_seed(run)[0], escape_control(run.path.name)
        short = variant if variants[variant] == 1 else directory
        shortest.append(run.name if several and directories[directory] > 1 else short)
    return shortest


def styles(runs: Sequence[RunDir], taken: Iterable[int] = ()) -> list[int]:
    """A style for each run by its variant, as in `styles_for`.

    Arguments:
        taken: styles of other runs shown with these.
    """
    return styles_for([variant_and_seed(run)[0] for run in runs], taken)


def _changed(path: Path) -> int | None:
    try:
        return path.stat().st_mtime_ns
    except OSError:
        return None


def is_remote(path: Path, mounts: Path = Path("/proc/mounts")) -> bool:
    """Whether `path` is on a network file system; False if this is unknown."""
    try:
        rows = [line.split() for line in mounts.read_text(errors="replace").splitlines()]
        place = path.resolve()
    except OSError:
        return False
    holding = [
        (len(point.parts), number, row[2])
        for number, row in enumerate(rows)
        if len(row) > 2 and place.is_relative_to(point := Path(_plain(row[1])))
    ]
    return bool(holding) and max(holding)[2] in REMOTE  # the deepest mount point; the last of several on it


def _plain(text: str) -> str:
    """A mount point with its octal escapes, such as those of spaces, decoded."""
    return re.sub(r"\\([0-7]{3})", lambda match: chr(int(match[1], 8)), text)
