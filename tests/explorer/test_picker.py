"""The picker of charts: letters find one, and Enter shows it."""

from __future__ import annotations

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from bntui.live.panels import PANELS
from bntui.screens.picker import Picker, find
from bntui.screens.sweep import SweepPage
from bntui.widgets.charts import ChartGrid
from bntui.widgets.listing import Listing
from explorer.factories import checked_text, drive, every_kind, explorer, until


@pytest.mark.parametrize(
    ("typed", "first"),
    [
        ("", next(iter(PANELS))),
        ("Test acc", "test_accuracy"),
        ("ics_l2", "ics_l2"),
        ("g − g", "ics_l2"),
        ("tacc", "accuracy"),
    ],
)
def test_charts_are_found_by_title_key_and_symbol(typed: str, first: str) -> None:
    assert find(typed)[0] == first


@given(st.sampled_from(list(PANELS)), st.data())
def test_any_letters_of_a_title_in_their_order_find_it(key: str, data: st.DataObject) -> None:
    title = PANELS[key].title
    kept = data.draw(st.lists(st.booleans(), min_size=len(title), max_size=len(title)))
    assert key in find("".join(letter for letter, keep in zip(title, kept, strict=True) if keep))


def test_letters_no_title_has_find_nothing() -> None:
    assert find("qqqq") == []


def test_typing_and_enter_add_a_chart_and_escape_takes_back(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        before = app.screen.query_one(ChartGrid).keys
        await pilot.press("slash", *"sharpness")
        await until(pilot, lambda: "□ Sharpness" in checked_text(app))
        assert "Training loss" not in str(app.screen.query_one(Listing).rows)
        await pilot.press("escape")
        await until(pilot, lambda: "■ Training loss" in checked_text(app))
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SweepPage))
        assert app.screen.query_one(ChartGrid).keys == before
        await pilot.press("slash", *"sharpness", "enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage))
        await until(pilot, lambda: len(app.screen.query_one(ChartGrid).keys) == len(before) + 1)
        await pilot.press("slash", "tab", "enter")
        await until(pilot, lambda: app.screen.query_one(ChartGrid).keys[:1] == before[1:2])

    drive(app, (160, 48), steps)


def test_what_is_shown_is_reordered_and_nothing_found_is_said(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        before = app.screen.query_one(ChartGrid).keys
        await pilot.press("slash", *"qqqq")
        await until(pilot, lambda: "no chart matches" in checked_text(app))
        await pilot.press("tab", "shift+down", "down", "escape", "shift+down", "enter")
        await until(pilot, lambda: not isinstance(app.screen, Picker))
        await until(
            pilot, lambda: app.screen.query_one(ChartGrid).keys == (before[1], before[0], *before[2:])
        )

    drive(app, (80, 24), steps)


def test_enter_makes_a_chart_that_is_shown_already_the_current_one(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        grid = app.screen.query_one(ChartGrid)
        last = grid.keys[-1]
        assert grid.current_key != last
        await pilot.press("slash", *last, "enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage) and grid.current_key == last)
        assert grid.current is not None
        assert grid.current.display

    drive(app, (100, 24), steps)
