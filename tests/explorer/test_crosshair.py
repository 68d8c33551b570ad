"""What stands beside the charts of what the crosshair reads."""

from __future__ import annotations

import math
from dataclasses import replace
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.figure import DASHES, Span
from bncore.store.paths import SweepDir
from bntui.chart.palette import MONOCHROME
from bntui.chart.reading import Reading
from bntui.chart.widget import Chart
from bntui.screens.grid import GridPage
from bntui.widgets.listing import Listing
from bntui.widgets.sidebar import reading_rows
from explorer.factories import drive, every_kind, explorer, text_of, until

READ = Reading("none", 0, 0.6671, 0.5, 0.5, None)


def said(at: float, reading: Reading) -> list[str]:
    return [row.plain.strip() for row in reading_rows(MONOCHROME, at, reading, None, 40)]


@pytest.mark.parametrize(("at", "x"), [(0.6193, 0.6671), (2934.0, 3000.0), (12.4, 13.0)])
def test_a_value_measured_elsewhere_says_where_in_the_unit_of_the_axis(at: float, x: float) -> None:
    assert said(at, replace(READ, x=x))[-1] == f"measured at {x:,}".removesuffix(".0")
    assert len(said(x, replace(READ, x=x))) == 1


def test_beyond_its_end_a_curve_says_where_it_was_last_measured_and_no_strip_is_empty(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "two-001")
    made_run(sweep.path / "none-s0", events(40))
    made_run(sweep.path / "batch-s0", [e for e in events(80) if e["type"] == "step" or e["step"] < 20])
    write_sweep(sweep.path, ["none-s0", "batch-s0"])
    app = explorer(tmp_path, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await pilot.pause()
        shown = text_of(app)
        assert "last measured at 39" in shown
        assert "at 79: batch" in shown
        assert "at 79:─" not in shown

    drive(app, (160, 48), act)


def test_what_is_read_goes_along_to_the_next_chart_at_once(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "one-001")
    made_run(sweep.path / "none-s0", events(40))
    write_sweep(sweep.path, ["none-s0"])
    app = explorer(tmp_path, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        page = app.screen
        assert isinstance(page, GridPage)
        charts, heading = list(page.query(Chart)), page.query_one("#readings", Listing)
        for key, place in (("right", 1), ("right", 2), ("left", 1), ("left", 0)):
            await pilot.press(key)
            assert page.grid.current is charts[place]
            assert charts[place].data.title[:8] in str(heading.border_title)
        for _ in range(2):  # as two keys typed at once
            page.action_chart(1)
        assert page.grid.current is charts[2]

    drive(app, (160, 48), act)


def test_at_which_step_each_curve_reaches_the_selected_one_s_value_is_said(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "two-001")
    made_run(sweep.path / "none-s0", events(40))  # 1 / (1 + step)
    made_run(sweep.path / "batch-s0", events(40, loss=0.02))
    write_sweep(sweep.path, ["none-s0", "batch-s0"])
    app = explorer(tmp_path, sweep, smoothing=0)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("at", *"19", "enter")
        await until(pilot, lambda: "reaches 0.05 at 0" in text_of(app))
        await pilot.press("down")
        await until(pilot, lambda: "never reaches 0.02" in text_of(app))
        await pilot.press("Y")
        assert [row.split("\t")[-1] for row in app.clipboard.splitlines()] == ["reached at", "", "0"]

    drive(app, (160, 48), act)


def test_the_panel_has_the_order_of_the_runs_and_keeps_the_selected_one_in_view(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "many-001")
    names = [f"{name}-s0" for name in ("none", "batch", "l1", "l2", "linf", "own", "more", "last")]
    for name in names:
        made_run(sweep.path / name, events(20))
    write_sweep(sweep.path, names)
    app = explorer(tmp_path, sweep)

    async def act(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await pilot.pause()
        runs, panel = (app.screen.query_one(f"#{name}", Listing) for name in ("runs", "readings"))
        assert list(dict.fromkeys(row.key for row in panel.rows)) == [row.key for row in runs.rows]
        for _ in names:
            own = [place for place, row in enumerate(panel.rows) if row.key == runs.key]
            assert panel.key == runs.key
            assert panel.scroll_offset.y <= own[0]
            assert own[-1] < panel.scroll_offset.y + panel.size.height
            await pilot.press("down")
            await pilot.pause()
        assert panel.scroll_offset.y > 0

    drive(app, (120, 30), act)


@pytest.mark.parametrize(
    ("axes", "typed", "place", "span"),
    [
        (0, "2,0", 20.0, None),
        (1, "0.05", -math.log10(0.05), None),
        (0, "10:25", None, (10.0, 25.0)),
        (1, "0.1:1", None, (0.0, 1.0)),
    ],
)
def test_a_place_or_a_range_is_entered(
    tmp_path: Path, axes: int, typed: str, place: float | None, span: Span | None
) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def act(pilot: Pilot[None]) -> None:
        chart = app.screen.query(Chart).first()
        await pilot.press(*"X" * axes, "at", "x", "enter")
        await until(pilot, lambda: "expected a number, or two" in text_of(app))
        await pilot.press("backspace", *typed, "enter")
        await until(pilot, lambda: (chart.crosshair, chart.view.x) == (place, span))

    drive(app, (120, 30), act)


def test_a_range_off_the_axis_fits_the_data(tmp_path: Path) -> None:
    """No loss is negative: both ends are the axis's last place."""
    app = explorer(tmp_path, every_kind(tmp_path))

    async def act(pilot: Pilot[None]) -> None:
        chart = app.screen.query(Chart).first()
        await pilot.press("X", "at", *"0.1:1", "enter")
        await until(pilot, lambda: chart.view.x == (0.0, 1.0))
        await pilot.press("at", *"-2:-1", "enter")
        await until(pilot, lambda: chart.view.x is None)
        assert all(plot.view.x is None for plot in app.screen.query(Chart))

    drive(app, (120, 30), act)


def test_keys_scroll_what_the_crosshair_reads(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "many-001")
    names = [f"own{n}-s0" for n in range(12)]
    for name in names:
        made_run(sweep.path / name, events(20))
    write_sweep(sweep.path, names)
    app = explorer(tmp_path, sweep)

    async def act(pilot: Pilot[None]) -> None:
        panel = app.screen.query_one("#readings", Listing)
        await pilot.press("c")
        await pilot.pause()
        assert 0 < panel.size.height < len(panel.rows)
        places = [panel.scroll_offset.y]
        for key in ("pagedown", "pageup", "end", "home"):
            await pilot.press(key)
            await pilot.pause()
            places.append(panel.scroll_offset.y)
        assert places == [0, panel.size.height - 1, 0, panel.max_scroll_y, 0]

    drive(app, (120, 30), act)


def test_without_color_every_dash_pattern_is_told_apart() -> None:
    assert len({said(0.6671, replace(READ, style=style))[0] for style in range(len(DASHES))}) == len(DASHES)
