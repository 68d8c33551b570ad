"""The page of what runs take of their machines, and their charts."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from live.factories import events, made_run, record_machine, view_of, write_sweep
from textual.pilot import Pilot

from bncore.follow.groups import Group
from bncore.measures import MACHINE
from bncore.store.paths import RunDir, SweepDir
from bncore.store.status import Status, write_status
from bntui.chart.palette import DARK
from bntui.chart.widget import Chart
from bntui.live.drawing import PanelState
from bntui.live.grouping import Grouping
from bntui.live.panels import PANELS
from bntui.screens.machine import ON_GPU, MachinePage, charts_of, figure_rows
from bntui.widgets.formatting import color
from explorer.factories import checked_text, drive, every_kind, explorer, until

KEY = "8"
SIZES = ((160, 48), (120, 30), (80, 24), (60, 18))
EVERY = {"batch-s0": 7, "batch-s1": 5, "none-s0": 7}


def recorded(path: Path, *, gpu: bool = False, every: int = 7) -> RunDir:
    """A run with records, the newest of them in its heartbeat."""
    run = record_machine(made_run(path, events()), gpu=gpu, every=every)
    machine = {m.key: 0.36 for m in MACHINE if gpu or m.key not in ON_GPU}
    write_status(run, Status("finished", 36, 40, 12.5, 60.0, machine=machine))
    return run


@pytest.fixture
def sweep(tmp_path: Path) -> SweepDir:
    path = tmp_path / "made-001"
    for name, every in EVERY.items():
        recorded(path / name, every=every)
    write_sweep(path, list(EVERY), name="made")
    return SweepDir(path)


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_the_page_shows_newest_figures_and_charts(sweep: SweepDir, size: tuple[int, int]) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEY)
        await pilot.pause(0.1)
        text = checked_text(app)
        assert isinstance(app.screen, MachinePage)
        for said in ("8 machine", "Newest figures", "batch-s0", "12.5", "36 %", "Steps per second"):
            assert said in text
        assert "not recorded" not in text
        assert any("⠀" < letter <= "⣿" for letter in text), "curves are drawn"
        await pilot.press("right")
        await pilot.press("z")
        await pilot.pause(0.1)
        assert "CPU use" in checked_text(app)

    drive(app, size, steps)


def test_a_row_that_is_clicked_is_the_selected_run(sweep: SweepDir) -> None:
    app = explorer(sweep.path.parent, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEY)
        await pilot.pause(0.1)
        await pilot.click("#figures", offset=(4, 4))
        await pilot.pause(0.1)
        assert app.context.selection.selected == sweep.path / "none-s0"
        await pilot.press("c", "X")
        await pilot.pause(0.1)
        assert "over training loss" in checked_text(app)

    drive(app, (120, 30), steps)


def test_old_runs_say_in_one_sentence_that_nothing_was_recorded(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEY)
        await until(pilot, lambda: "no resource use was recorded" in checked_text(app))
        assert not app.screen.query(Chart)
        await pilot.press("z", "c", "right", "X", "1")
        await until(pilot, lambda: "Training loss" in checked_text(app))

    drive(app, (120, 30), steps)


def test_runs_that_live_are_listed_first_and_have_the_colour_of_their_group(sweep: SweepDir) -> None:
    views = [view_of(run, style=number) for number, run in enumerate(sweep.runs())]
    views[2] = replace(views[2], state="running")
    groups = [Group("batch", 0, tuple(views[:2])), Group("none", 1, (views[2],))]
    heading, *rows = figure_rows(DARK, groups, 60)
    assert not heading.key
    assert [row.text.plain.split()[0] for row in rows] == ["none-s0", "batch-s0", "batch-s1"]
    assert [row.text.spans[0].style for row in rows] == [color(DARK, style) for style in (1, 0, 0)]
    assert {row.text.cell_len for row in rows} == {heading.text.cell_len}
    assert heading.text.cell_len <= 60


def test_charts_of_gpus_are_there_where_one_was_recorded(tmp_path: Path) -> None:
    without, with_one = (view_of(recorded(tmp_path / f"{gpu}-s0", gpu=gpu)) for gpu in (False, True))
    assert not set(ON_GPU) & set(charts_of([without]))
    assert {*ON_GPU} <= {*charts_of([without, with_one])} == {m.key for m in MACHINE}


def test_runs_of_a_group_are_drawn_one_by_one(sweep: SweepDir) -> None:
    """Heartbeats come at other steps in each run: no step is common to them."""
    views = [view_of(run, style=number // 2) for number, run in enumerate(sweep.runs())]
    grouped = PANELS["cpu"].make(views, PanelState(grouping=Grouping()))
    assert [curve.label for curve in grouped.curves] == ["batch-s0", "batch-s1", "none"]
    batch, same, none = (curve.style for curve in grouped.curves)
    assert batch == same != none
    for view, curve in zip(views, grouped.curves, strict=True):
        series = view.columns.series("machine", "cpu")
        assert curve.x.tolist() == series.steps.tolist()
        assert curve.low.tolist() == series.values.tolist()


def test_a_chart_of_one_run_has_its_records_and_nothing_else(sweep: SweepDir) -> None:
    view = view_of(sweep.runs()[0])
    for measure in MACHINE:
        data = PANELS[measure.key].make([view], PanelState())
        if measure.key in ON_GPU:
            assert (data.curves, data.note) == ((), "not recorded")
        else:
            (curve,) = data.curves
            assert curve.x.tolist() == list(range(1, 40, 7))
