"""Every page, at every size, with every kind of run: nothing raises, nothing is obeyed, all is said."""

from __future__ import annotations

import gc
import shutil
from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bntui.actions import page_keys
from bntui.app import PAGES, Explorer
from bntui.chart.plot import Plot
from bntui.chart.widget import Chart
from bntui.widgets.charts import ChartGrid
from explorer.factories import checked_text, drive, every_kind, explorer, run_of, until

SIZES = ((30, 8), (60, 18), (80, 24), (160, 48), (300, 100))
KEYS = {page: page_keys()[page] for page in PAGES}


@pytest.mark.parametrize("size", SIZES, ids=lambda size: f"{size[0]}x{size[1]}")
def test_every_page_shows_every_kind_of_run_at_every_size(tmp_path: Path, size: tuple[int, int]) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        for page, key in KEYS.items():
            await pilot.press(key)
            tiny = size[0] < 40 or size[1] < 10
            if not tiny:
                await until(pilot, lambda page=page: getattr(app.screen, "TAB", "") == page)
            await pilot.pause()
            for number in range(len(app.feed.snapshot.runs) if app.feed.snapshot and not tiny else 0):
                await pilot.press("down")
                if number % 3 == 0:
                    checked_text(app)
            for other in SIZES:
                await pilot.resize_terminal(*other)
                await pilot.pause()
                checked_text(app)
            await pilot.resize_terminal(*size)
            await pilot.pause()

    drive(app, size, steps)


def test_an_empty_sweep_and_an_empty_root_are_shown_as_such(tmp_path: Path) -> None:
    (tmp_path / "bare-001").mkdir()
    write_sweep(tmp_path / "bare-001", [])
    app = explorer(tmp_path, SweepDir(tmp_path / "bare-001"))

    async def nothing(pilot: Pilot[None]) -> None:
        for key in KEYS.values():
            await pilot.press(key)
            await pilot.pause()
            assert "no runs" in checked_text(app)

    drive(app, (100, 30), nothing)
    empty = explorer(tmp_path / "none")

    async def home(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "activations" in checked_text(empty))
        assert "no runs yet" in checked_text(empty)

    drive(empty, (100, 40), home)


def test_below_forty_by_ten_a_line_says_so_and_only_leaving_works(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        first, *rest = checked_text(app).splitlines()
        assert "too small, min 40×10" in first
        assert "q quit" in first
        assert not "".join(rest).strip()
        for key in ("n", "p", "2", "space", "x", "w"):
            await pilot.press(key)
            assert getattr(app.screen, "TAB", "") == "sweep"
            assert not "".join(checked_text(app).splitlines()[1:]).strip()
        await pilot.press("q")
        await pilot.pause()
        if app.is_running and type(app.screen).__name__ == "Leave":
            await pilot.press("d")

    drive(app, (30, 8), steps)
    assert app.return_code == 0


def test_a_screen_that_was_too_small_has_its_focus_again(tmp_path: Path) -> None:
    every_kind(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "activations" in checked_text(app))
        for size in ((30, 8), (120, 40)):
            await pilot.resize_terminal(*size)
            await pilot.pause()
        await pilot.press("enter")
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "sweep")

    drive(app, (120, 40), steps)


def test_the_sweep_page_says_what_there_is_to_know(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        text = checked_text(app)
        assert "made-001" in text
        assert "Fig 2" in text
        for word in ("Training loss", "Effective β", "ICS", "Loss along the gradient"):
            assert word in text
        while "steered ─" not in checked_text(app):
            await pilot.press("down")
        text = checked_text(app)
        assert "norm l1" in text
        assert "noise on @7" in text
        assert "norm l1 @9" in text
        assert "✗ lr -1" in text  # the rejected one is in the list of changes, not in the charts
        assert "lr -1 @11" not in text
        assert "[bold]not bold[/bold]" in text.replace("\n", "") or "red" in text

    drive(app, (200, 60), steps)


def test_garbage_is_collected_from_the_first_picture_on(tmp_path: Path) -> None:
    """And not sought among what that picture needed."""
    thresholds = gc.get_threshold()

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, gc.isenabled)
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[2] > 10

    gc.set_threshold(700, 10, 10)  # another test's explorer may have changed it
    gc.disable()  # as the program does before it imports
    try:
        drive(explorer(tmp_path, every_kind(tmp_path)), (80, 24), steps)
    finally:
        gc.enable()
        gc.unfreeze()
        gc.set_threshold(*thresholds)


def test_one_chart_where_there_is_room_for_one_and_arrows_change_it(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        grid = app.screen.query_one(ChartGrid)
        shown = []
        for _ in grid.keys:
            visible = [chart for chart in grid.children if chart.display]
            assert len(visible) == 1
            shown.append(visible[0].id)
            await pilot.press("right")
            await pilot.pause()
        assert shown == [f"chart-{key}" for key in grid.keys]

    drive(app, (60, 18), steps)


def test_a_crosshair_reads_every_curve_in_every_chart_at_one_step(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "two-001")
    for name in ("a", "b"):
        made_run(sweep.path / f"{name}-s0", events())
    write_sweep(sweep.path, ["a-s0", "b-s0"])
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        charts = [chart for chart in app.screen.query_one(ChartGrid).children if chart.display]
        await pilot.press("c")
        await pilot.pause()
        assert {chart.crosshair for chart in charts} == {39}
        assert checked_text(app).count("at 39: a") == 1
        assert checked_text(app).count("at 30: a") >= 3, (
            "the last measurements of what is measured every 10 steps"
        )
        await pilot.press("less_than_sign", "less_than_sign")
        await pilot.pause()
        moved = checked_text(app)
        assert "at 39: a" not in moved
        assert moved.count(" a ") >= 4
        assert len({chart.crosshair for chart in charts}) == 1

    drive(app, (160, 48), steps)


def test_zooming_one_chart_zooms_those_beside_it(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("plus", "plus", "plus")
        await pilot.pause()
        views = {chart.view.x for chart in app.screen.query("Chart").results()}  # type: ignore[attr-defined]
        assert len(views) == 1
        assert None not in views
        await pilot.press("0")
        await pilot.pause()
        assert {chart.view.x for chart in app.screen.query("Chart").results()} == {None}  # type: ignore[attr-defined]

    drive(app, (160, 48), steps)


@pytest.mark.parametrize("page", ["activations", "compare"])
def test_crosshair_and_zoom_are_those_of_all_charts_of_a_page(tmp_path: Path, page: str) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(KEYS[page])
        await until(pilot, lambda: len(app.screen.query(Chart)) == 2)
        first, second = app.screen.query(Chart)
        first.post_message(Plot.CrosshairMoved(first, 7.0))
        await until(pilot, lambda: second.crosshair == 7.0)
        assert app.context.selection.step == 7.0
        if page == "compare":
            first.post_message(Plot.ViewChanged(first, (3.0, 9.0)))
            await until(pilot, lambda: second.view.x == (3.0, 9.0))

    drive(app, (160, 48), steps)


def test_a_run_that_is_deleted_while_it_is_shown_stays_as_gone(tmp_path: Path) -> None:
    sweep = every_kind(tmp_path)
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        shutil.rmtree(run_of(sweep, "finished").path)
        app.feed.wake()
        await until(
            pilot, lambda: app.feed.snapshot and any(view.state == "gone" for view in app.feed.snapshot.runs)
        )
        for key in KEYS.values():
            await pilot.press(key)
            await pilot.pause()
            checked_text(app)

    drive(app, (120, 40), steps)


@pytest.mark.parametrize("size", [(60, 18), (160, 48)], ids=["narrow", "wide"])
def test_the_journal_of_a_run_that_failed_at_its_start_says_why(
    tmp_path: Path, size: tuple[int, int]
) -> None:
    why = "the images [bold]of[/] this sweep " + "are not where they were " * 4 + "and so it ended"
    sweep = SweepDir(tmp_path / "made-001")
    made_run(sweep.path / "a-s0", state="failed", message=why)
    made_run(sweep.path / "b-s0", events(3))
    write_sweep(sweep.path, ["a-s0", "b-s0"])
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("6")
        await until(pilot, lambda: "! failed  a  the images [bold]of[/]" in checked_text(app))
        assert "so it ended" in checked_text(app), "to its end, on as many lines as it takes"
        assert "nothing yet" not in checked_text(app)
        await pilot.press("slash", *"nothing of this")
        await until(pilot, lambda: "nothing yet" in checked_text(app))
        await pilot.press(*["backspace"] * 15, *"images")
        await until(pilot, lambda: "! failed  a  the images" in checked_text(app))
        assert "so it ended" in checked_text(app)
        assert "eval" not in checked_text(app)

    drive(app, size, steps)


@pytest.mark.parametrize("removed", ["run", "sweep"])
def test_the_heading_says_what_is_gone(tmp_path: Path, removed: str) -> None:
    sweep = SweepDir(tmp_path / "made-001")
    runs = [made_run(sweep.path / f"{name}-s0", events()) for name in ("a", "b")]
    write_sweep(sweep.path, ["a-s0", "b-s0"])
    app = explorer(tmp_path, runs[0] if removed == "run" else sweep)

    async def steps(pilot: Pilot[None]) -> None:
        assert "✓ finished" in checked_text(app).splitlines()[0]
        if removed == "sweep":
            shutil.rmtree(runs[1].path)
            app.feed.wake()
            await until(pilot, lambda: "1 gone" in checked_text(app).splitlines()[0])
            assert "✓ finished  40 / 40  100 %" in checked_text(app).splitlines()[0]
        shutil.rmtree(sweep.path if removed == "sweep" else runs[0].path)
        app.feed.wake()
        await until(pilot, lambda: "∅ gone" in checked_text(app).splitlines()[0])
        for word in ("finished", "40", "%"):
            assert word not in checked_text(app).splitlines()[0]

    drive(app, (160, 40), steps)


@pytest.mark.parametrize("theme", ["dark", "light", "ansi"])
def test_every_theme_shows_the_same_text(tmp_path: Path, theme: str) -> None:
    app = explorer(tmp_path, every_kind(tmp_path), theme=theme)

    async def steps(pilot: Pilot[None]) -> None:
        for _ in range(4):
            assert "Training loss" in checked_text(app)
            await pilot.press("T")
            await pilot.pause()

    drive(app, (120, 40), steps)


@pytest.mark.parametrize("begun", [(80, 24), (60, 18), (300, 100)], ids=lambda size: f"{size[0]}x{size[1]}")
def test_a_resized_screen_is_that_of_an_explorer_begun_at_that_size(
    tmp_path: Path, begun: tuple[int, int]
) -> None:
    sweep = every_kind(tmp_path)
    seen: list[dict[str, str]] = []
    for first in ((160, 48), begun):
        app, texts = explorer(tmp_path, sweep), {}

        async def steps(pilot: Pilot[None], app: Explorer = app, texts: dict[str, str] = texts) -> None:
            for page, key in KEYS.items():
                await pilot.press(key)
                await pilot.resize_terminal(160, 48)
                await pilot.pause(0.3)
                texts[page] = checked_text(app)
                await pilot.resize_terminal(*begun)
                await pilot.pause()

        drive(app, first, steps)
        seen.append(texts)
    for page in KEYS:
        assert seen[1][page] == seen[0][page], page
