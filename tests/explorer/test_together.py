"""Crosshair, zoom and selection are those of all charts of a page, and go along from page to page."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.pilot import Pilot

from bntui.actions import ACTIONS
from bntui.app import Explorer
from bntui.chart.plot import Plot
from explorer.factories import drive, every_kind, explorer, until

WITH_PLOTS = ("sweep", "layers", "activations", "theory", "compare")


def over_steps(app: Explorer) -> list[Plot]:
    """The plots over the steps that are on the screen and show something."""
    plots = [one for one in app.screen.query("Plot") if isinstance(one, Plot)]
    return [one for one in plots if one.x_name == "step" and one.display and one.last_step() is not None]


@pytest.mark.parametrize("first", WITH_PLOTS)
def test_crosshair_and_zoom_go_along_to_every_page_and_back(tmp_path: Path, first: str) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))
    keys = {page: next(a.key for a in ACTIONS if a.name == f"view('{page}')") for page in WITH_PLOTS}

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(keys[first])
        await until(pilot, lambda: over_steps(app))
        await pilot.pause()
        await pilot.press("c", "less_than_sign", "less_than_sign", "less_than_sign", "plus")
        await pilot.pause()
        step, span = app.context.selection.step, app.context.selection.span
        assert step is not None
        assert span[0] is not None
        for page in (*WITH_PLOTS, first):
            await pilot.press(keys[page])
            await until(pilot, lambda: over_steps(app))
            await until(pilot, lambda: {plot.crosshair for plot in over_steps(app)} == {step})
            assert {plot.view.x for plot in over_steps(app)} == {span}
        await pilot.press("0", "c")
        await pilot.press(keys["compare"], keys["layers"])
        await until(pilot, lambda: over_steps(app))
        await until(pilot, lambda: {plot.crosshair for plot in over_steps(app)} == {None})
        assert {plot.view.x for plot in over_steps(app)} == {None}

    drive(app, (160, 48), steps)


def test_another_axis_begins_without_crosshair_and_zoom_and_the_steps_keep_theirs(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("c", "plus")
        await pilot.pause()
        step, span = app.context.selection.step, app.context.selection.span
        chart = over_steps(app)[0]
        await pilot.press("X")
        await until(pilot, lambda: chart.x_name != "step")
        assert (chart.crosshair, chart.view.x) == (None, None)
        while chart.x_name != "step":
            await pilot.press("X")
            await pilot.pause()
        await until(pilot, lambda: chart.crosshair == step)
        assert chart.view.x == span

    drive(app, (160, 48), steps)


def test_escape_takes_the_crosshair_away_before_it_leaves(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("c")
        await until(pilot, lambda: app.context.selection.step is not None)
        await pilot.press("escape")
        await until(pilot, lambda: app.context.selection.step is None)
        assert getattr(app.screen, "TAB", "") == "sweep"
        await pilot.press("escape")
        await until(pilot, lambda: not hasattr(app.screen, "TAB"))

    drive(app, (160, 48), steps)
