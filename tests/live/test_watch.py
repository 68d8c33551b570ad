"""The watching thread and what it watches: the first picture at once, then whatever changed."""

from __future__ import annotations

import itertools
import shutil
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from bncore.figure import VARIANT_STYLES
from bncore.store import reader as reader_module
from bncore.store.commands import Pause
from bncore.store.journal import Journal
from bncore.store.paths import RunDir, SweepDir
from bncore.store.requests import send_request
from bncore.store.status import Status, write_status
from bntui.live.snapshot import Snapshot
from bntui.live.sources import LIST_EVERY_S, Root, Runs, Source, names
from bntui.live.watch import RELEASES, Watcher, release_memory
from live.factories import Clock, events, forked_run, made_run, watched, write_sweep

PATIENCE_S = 30.0


class Fake:
    """A source that is given what to show."""

    interval_s = 0.001

    def __init__(self, *snapshots: Snapshot | Exception) -> None:
        self.snapshots = list(snapshots)
        self.looks = 0
        self.exhausted = threading.Event()

    def poll(self, budget_s: float) -> Snapshot:
        at = min(self.looks, len(self.snapshots) - 1)
        self.looks += 1
        if self.looks > len(self.snapshots) + 2:
            self.exhausted.set()
        found = self.snapshots[at]
        if isinstance(found, Exception):
            raise found
        return found


def watching(
    source: Source, on_change: Callable[[Snapshot], None], interval_s: float | None = None
) -> Watcher:
    def fail(reason: str) -> None:
        raise AssertionError(reason)

    return Watcher(lambda: source, on_change, fail, interval_s=interval_s)


def seen_by(source: Fake) -> list[Snapshot]:
    """Everything that a watcher hands on until the source has nothing new any more."""
    seen: list[Snapshot] = []
    watcher = watching(source, seen.append)
    assert source.exhausted.wait(PATIENCE_S)
    watcher.stop()
    return seen


def test_a_source_that_fails_when_nobody_wants_it_any_more_is_not_told() -> None:
    failures: list[str] = []
    left = threading.Event()

    def fail() -> Source:
        assert left.wait(PATIENCE_S)
        raise ValueError("too late")

    watcher = Watcher(fail, lambda _: None, failures.append)
    watcher.stop()
    left.set()
    watcher.thread.join(PATIENCE_S)
    assert failures == []


def a_sweep(path: Path, *runs: str, state: Any = "finished") -> SweepDir:
    for run in runs:
        made_run(path / run, events(5), state=state)
    write_sweep(path, runs, title="made", name="quick", figure="2")
    return SweepDir(path)


def test_only_changes_are_handed_on() -> None:
    one, other = Snapshot(1.0, complete=True), Snapshot(3.0, complete=True, problem="x")
    later = Snapshot(2.0, complete=True)  # the same at another time
    assert seen_by(Fake(one, later, other, other)) == [one, other]


def test_errors_are_a_state_and_watching_goes_on() -> None:
    fine, again = Snapshot(1.0, complete=True), Snapshot(2.0, complete=True, problem="again")
    seen = seen_by(Fake(OSError("\x1b disk"), OSError("\x1b disk"), fine, ZeroDivisionError("how"), again))
    assert [s.problem for s in seen] == ["OSError: \\x1b disk", "", "ZeroDivisionError: how", "again"]
    assert seen[2].complete, "the picture stays"


def test_stop_returns_when_the_thread_has_ended() -> None:
    source = Fake(Snapshot(1.0, complete=True))
    first = threading.Event()
    watcher = watching(source, lambda _: first.set(), interval_s=3600.0)
    assert first.wait(PATIENCE_S)
    watcher.stop()
    assert "watcher" not in [thread.name for thread in threading.enumerate()]
    looks = source.looks
    watcher.stop()
    assert source.looks == looks


def test_a_source_that_is_opened_when_nobody_wants_it_any_more_is_not_polled() -> None:
    source, left = Fake(Snapshot(1.0)), threading.Event()

    def open_late() -> Source:
        assert left.wait(PATIENCE_S)
        return source

    seen: list[Snapshot] = []
    watcher = Watcher(open_late, seen.append, lambda _: None)
    watcher.stop()
    left.set()
    watcher.thread.join(PATIENCE_S)
    assert (source.looks, seen) == (0, [])


def test_wake_looks_at_once() -> None:
    source = Fake(Snapshot(1.0, complete=True), Snapshot(2.0, complete=True, problem="new"))
    seen: list[Snapshot] = []
    first, second = threading.Event(), threading.Event()

    def on_change(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        (second if snapshot.problem else first).set()

    watcher = watching(source, on_change, interval_s=3600.0)
    assert first.wait(PATIENCE_S)
    watcher.wake()
    assert second.wait(PATIENCE_S)
    watcher.stop()
    assert len(seen) == 2


def test_the_first_picture_of_a_long_run_comes_before_its_history(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With small blocks, as a million events are with real ones."""
    monkeypatch.setattr(reader_module, "TAIL_BYTES", 1000)
    monkeypatch.setattr(reader_module, "BLOCK_BYTES", 2000)
    monkeypatch.setattr("bntui.live.watch.BUDGET_S", 1e-9)
    run = made_run(tmp_path / "a-s0", events(2000))
    seen: list[Snapshot] = []
    done = threading.Event()

    def on_change(snapshot: Snapshot) -> None:
        seen.append(snapshot)
        if snapshot.complete:
            done.set()

    watcher = watching(Runs(run), on_change)
    assert done.wait(PATIENCE_S)
    watcher.stop()
    lengths = [len(s.runs[0].columns.series("step", "loss")) for s in seen]
    assert not seen[0].complete
    assert 0 < lengths[0] < 20
    assert seen[0].runs[0].columns.series("step", "loss").steps[-1] == 1999, "the newest comes first"
    assert lengths == sorted(lengths)
    assert len(set(lengths)) > 5, "history comes piece by piece"
    assert lengths[-1] == 2000
    assert [len(s.runs[0].columns.series("step", "loss")) for s in seen] == lengths, (
        "a snapshot never changes"
    )


def test_memory_is_given_back_while_history_is_read_and_a_while_after(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    at: list[int] = []
    source = Fake(*[Snapshot(1.0)] * 3, *[Snapshot(1.0, complete=True)] * (RELEASES + 5))
    monkeypatch.setattr("bntui.live.watch.release_memory", lambda: at.append(source.looks))
    seen_by(source)
    assert at == list(range(1, 3 + RELEASES)), "after the first look, and then no more"


def test_memory_can_be_given_back() -> None:
    release_memory()


def test_history_is_shared_out_among_runs(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, "a-s0", "b-s0")
    source = Runs(sweep)
    assert source.poll(1.0).runs[1].columns.series("step", "loss").steps[-1] == 4
    assert source.poll(1.0).complete


def test_what_is_watched_changes_when_the_runs_do(tmp_path: Path) -> None:
    run = made_run(tmp_path / "a-s0", events(5), state="queued")
    write_sweep(tmp_path, ["a-s0"], title="made")
    source = Runs(SweepDir(tmp_path))
    first = source.poll(1.0)
    assert source.poll(1.0).shows_the_same_as(first)
    send_request(run, Pause())
    polled = source.poll(1.0)
    assert not polled.shows_the_same_as(first)
    assert [r.outcome for r in polled.runs[0].requests] == ["pending"]
    journal = Journal(run.journal_file)
    journal.append("step", 5, loss=7.0)
    journal.close()
    stepped = source.poll(1.0)
    assert not stepped.shows_the_same_as(polled)
    write_status(SweepDir(tmp_path), Status("finished"))
    ended = source.poll(1.0)
    assert not ended.shows_the_same_as(stepped)
    assert ended.sweeps[0].state == "finished"
    shutil.rmtree(tmp_path / "a-s0")
    gone = source.poll(1.0)
    assert not gone.shows_the_same_as(ended)
    assert gone.runs[0].state == "gone"
    assert source.poll(1.0).shows_the_same_as(gone)


def test_a_sweep_says_what_it_is(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "quick-001", "a-s0")
    (found,) = Runs(sweep).poll(0.0).sweeps
    assert (found.name, found.title, found.experiment, found.figure, found.state) == (
        "quick-001", "made", "quick", "2", "",
    )  # fmt: skip
    sweep.sweep_file.write_text("not toml")
    (found,) = Runs(sweep).poll(0.0).sweeps
    assert (found.title, found.figure) == ("", "")


def test_a_supervisor_that_is_no_more_is_dead(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, "a-s0")
    write_status(sweep, Status("running"))
    assert Runs(sweep).poll(0.0).sweeps[0].state == "dead"


def test_runs_that_appear_join_and_colours_stay(tmp_path: Path) -> None:
    sweep, clock = a_sweep(tmp_path, "b-s0", "a-s0"), Clock()
    source = Runs(sweep, clock=clock)
    assert [(v.name, v.style) for v in source.poll(0.0).runs] == [("b", 0), ("a", 1)]
    forked_run(tmp_path / "a-s0-fork-1", RunDir(tmp_path / "a-s0"), 2)
    assert len(source.poll(0.0).runs) == 2, "directories are not listed at every look"
    clock.now = LIST_EVERY_S
    assert [(v.name, v.style) for v in source.poll(0.0).runs] == [("b", 0), ("a", 1), ("a fork 1", 2)]
    shutil.rmtree(tmp_path / "b-s0")
    clock.now = 2 * LIST_EVERY_S
    assert next((v.state, v.style) for v in source.poll(0.0).runs) == ("gone", 0)


def test_a_run_that_appears_and_makes_a_name_ambiguous_renames_the_other(tmp_path: Path) -> None:
    sweep, clock = a_sweep(tmp_path, "a-s0"), Clock()
    source = Runs(sweep, clock=clock)
    assert [v.name for v in source.poll(1.0).runs] == ["a"]
    made_run(tmp_path / "a-s1", events(5))
    clock.now = LIST_EVERY_S
    assert [v.name for v in source.poll(1.0).runs] == ["a-s0", "a-s1"]


def test_a_run_alone_has_the_colour_of_its_place_in_its_sweep(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path, "a-s0", "b-s0", "c-s0")
    snapshot = Runs(sweep.runs()[1]).poll(0.0)
    assert [v.style for v in snapshot.runs] == [1]
    assert [s.name for s in snapshot.sweeps] == [sweep.name]


def test_runs_of_several_sweeps_have_colours_and_names_of_their_own(tmp_path: Path) -> None:
    one, other = a_sweep(tmp_path / "x", "a-s0", "b-s0"), a_sweep(tmp_path / "y", "a-s0", "c-s0")
    snapshot = watched(one, other.runs()[0], other.runs()[1]).poll(0.0)
    assert [(v.name, v.style) for v in snapshot.runs] == [("x/a-s0", 0), ("b", 1), ("y/a-s0", 2), ("c", 3)]
    assert snapshot.complete


def test_variants_have_the_colours_of_the_report_s_figures(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "x", "batch-s0", "none-s0", "none-s1", "batch-noise-s0")
    snapshot = watched(sweep).poll(0.0)
    assert [v.style for v in snapshot.runs] == [
        VARIANT_STYLES["batch"], VARIANT_STYLES["none"], 3, VARIANT_STYLES["batch + noise"],
    ]  # fmt: skip
    assert [v.style for v in watched(sweep.runs()[0]).poll(0.0).runs] == [VARIANT_STYLES["batch"]]
    assert [v.style for v in Root(tmp_path).poll(1.0).runs] == [v.style for v in snapshot.runs]


def test_names_are_as_short_as_tells_runs_apart() -> None:
    runs = [RunDir(Path("/r") / p) for p in ("x/a-s0", "x/a-s1", "x/b-s0")]
    assert names(runs) == ["a-s0", "a-s1", "b"]
    assert names([]) == []


def test_a_root_shows_heartbeats_first_and_newest_numbers_next(tmp_path: Path) -> None:
    a_sweep(tmp_path / "x", "a-s0", "b-s0")
    a_sweep(tmp_path / "y", "a-s0")
    source = Root(tmp_path)
    first = source.poll(1.0)
    assert [(v.run.name, v.state, v.step) for v in first.runs] == [
        ("x/a-s0", "finished", 5), ("x/b-s0", "finished", 5), ("y/a-s0", "finished", 5),
    ]  # fmt: skip
    assert not first.complete
    assert all(not v.columns.tables() for v in first.runs)
    second = source.poll(1.0)
    assert second.complete
    assert [v.columns.series("step", "loss").steps[-1] for v in second.runs] == [4, 4, 4]
    third = source.poll(1.0)
    assert all(one is other for one, other in zip(second.runs, third.runs, strict=True))


def test_a_root_follows_sweeps_that_come_and_go(tmp_path: Path) -> None:
    root = tmp_path / "runs"
    source = Root(root)
    assert source.poll(1.0).runs == ()
    a_sweep(root / "x", "a-s0")
    assert [s.name for s in source.poll(1.0).sweeps] == ["x"]
    shutil.rmtree(root / "x")
    assert source.poll(1.0).sweeps == ()


def test_a_root_that_cannot_be_read_is_a_problem(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(self: Path) -> None:
        raise PermissionError(13, "Permission denied")

    source = Root(tmp_path)
    monkeypatch.setattr(Path, "iterdir", refuse)
    assert source.poll(1.0).problem.endswith("cannot be read: Permission denied")


def test_watching_writes_nothing(tmp_path: Path) -> None:
    sweep = a_sweep(tmp_path / "x", "a-s0", state="running")
    before = sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*"))
    watched(sweep)
    Root(tmp_path).poll(1.0)
    assert sorted((p, p.stat().st_mtime_ns) for p in tmp_path.rglob("*")) == before


def test_of_many_runs_each_poll_reads_those_it_has_time_for_in_turn(tmp_path: Path) -> None:
    """By a clock of which every look takes 0.04 s."""
    for seed in range(5):
        made_run(tmp_path / f"a-s{seed}", events(5))
    ticks = itertools.count()
    source = Runs(SweepDir(tmp_path), clock=lambda: 0.04 * next(ticks))

    def read() -> list[int]:
        return [len(view.columns.series("step", "loss")) for view in source.poll(0.1).runs]

    assert [read(), read(), read()] == [[5, 5, 5, 0, 0], [5] * 5, [5] * 5]
