"""The explorer's bench: what it measures with, and that it reports every figure."""

from __future__ import annotations

import sys
from itertools import pairwise
from pathlib import Path

import pytest

from bncore.store.reader import read
from bntui.bench.drawing import CHARTS, drawn
from bntui.bench.synthetic_runs import growing_sweep, long_run, same_runs
from bntui.bench.terminal import Terminal, bursts, memory_mb, processor_s, shows_curves
from bntui.bench.ui import Sizes, bench_ui

TINY = Sizes(
    points=200, events=2000, many_runs=2, many_events=500, drawings=2, refreshes=3, refresh_s=0.3, keys=6, pairs=1,
    window_s=0.5, starts=1, opened=(3, 2), opened_events=200,
)  # fmt: skip


def script(text: str) -> Terminal:
    return Terminal([sys.executable, "-c", text], {})


def test_what_is_sent_is_kept_with_its_time() -> None:
    with script("print('one', flush=True); input(); print('two', flush=True); input()") as terminal:
        first = terminal.first(lambda text: b"one" in text)
        pressed = terminal.type("x\n")
        second = terminal.first(lambda text: b"two" in text, pressed)
        assert terminal.started < first < pressed < second
        assert all(before <= after for (before, _), (after, _) in pairwise(terminal.pieces()))
        assert len(terminal.pieces(second)) < len(terminal.pieces())


def test_a_terminal_is_one_of_its_own_size() -> None:
    with script("import os; print(os.get_terminal_size(), os.isatty(2), flush=True); input()") as terminal:
        terminal.first(lambda text: b"columns=160, lines=48) True" in text)


def test_a_program_that_ends_early_is_an_error_with_what_it_said() -> None:
    with script("print('no such run')") as terminal, pytest.raises(RuntimeError, match="no such run"):
        terminal.first(shows_curves)


def test_a_program_does_not_outlive_its_terminal() -> None:
    with script("import time; time.sleep(600)") as terminal:
        terminal.freeze()
        pid = terminal.pid
    assert not Path(f"/proc/{pid}").exists()


def test_processor_time_and_memory_are_the_programs() -> None:
    work = "x = bytearray(50_000_000); sum(range(3_000_000)); print('done', flush=True); input()"
    with script(work) as terminal:
        terminal.first(lambda text: b"done" in text)
        assert processor_s(terminal.pid) > 0.01
        now, most = memory_mb(terminal.pid)
        assert 50 < now <= most < 500


def test_pieces_close_together_are_one_burst() -> None:
    pieces = [(0.0, b"ab"), (0.01, b"c"), (0.5, b"defg"), (0.52, b"h")]
    assert bursts(pieces, 0.03) == [3, 5]
    assert bursts([], 0.03) == []


def test_made_runs_are_sound_and_as_long_as_asked_for(tmp_path: Path) -> None:
    run = long_run(tmp_path / "one" / "batch-s0", 1234)
    columns = read(run).advance()
    found = sum(len(columns.series(table, "t")) for table in columns.tables()) + len(columns.events)
    assert 1234 <= found < 1300
    assert not columns.skipped
    assert columns.tables() == ["probe:ics", "probe:landscape", "step"]


def test_runs_that_share_a_journal_are_runs_like_others(tmp_path: Path) -> None:
    sweep = same_runs(tmp_path, long_run(tmp_path / "one" / "batch-s0", 100), 3)
    lengths = {len(read(run).advance().series("step", "loss")) for run in sweep.runs()}
    assert len(sweep.runs()) == 3 and len(lengths) == 1


def test_runs_grow_together(tmp_path: Path) -> None:
    sweep, growing = growing_sweep(tmp_path, 2, 50)
    with growing:
        growing.grow(10)
        for run in sweep.runs():
            assert read(run).advance().last_step("step") == 59
            assert run.owner_file.exists()
    assert not any(run.owner_file.exists() for run in sweep.runs())


def test_both_draw_the_same_charts() -> None:
    found = drawn(100, 2)
    assert min(found.ours_ms, found.smoothed_ms, found.plotext_ms) > 0
    assert found.plotext_bytes > CHARTS * 500


@pytest.mark.slow
def test_every_figure_is_reported() -> None:
    rows = list(bench_ui(TINY))
    names = [row.what for row in rows]
    assert len(names) == len(set(names))
    for figure in (
        "4 charts drawn", "a refresh", "sent per refresh", "as under SSH", "key to repaint", "explorer attached",
        "first picture", "start to all of it", "memory", "list of runs",
    ):  # fmt: skip
        assert any(figure in name for name in names), figure
    assert all(row.ours > 0 for row in rows)
