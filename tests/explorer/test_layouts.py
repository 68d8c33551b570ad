"""Layouts that have names are saved, shown in any experiment, replaced and deleted."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot
from textual.widgets import Input

from bncore.aggregate import BANDS
from bntui.app import Explorer
from bntui.chart.widget import Chart
from bntui.layouts import Layout, named_file, named_layouts, save_layout
from bntui.live.axes import AXES
from bntui.screens.picker import PickLayout, SaveLayout
from bntui.screens.sweep import SweepPage
from explorer.factories import drive, every_kind, explorer, text_of, until

LAYOUTS = st.builds(
    Layout,
    panels=st.lists(st.text(max_size=8), min_size=1, max_size=4).map(tuple),
    axis=st.sampled_from([*AXES]),
    band=st.sampled_from([None, *BANDS]),
    grouped=st.none() | st.booleans(),
    by=st.none() | st.just(()) | st.just(("optim.lr",)),
)


@given(st.dictionaries(st.text(max_size=8), LAYOUTS, max_size=4))
def test_what_is_saved_is_read_again_and_what_is_deleted_is_gone(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, Layout]
) -> None:
    file = tmp_path_factory.mktemp("memory") / "deep" / "layouts.json"
    for name, layout in kept.items():
        save_layout(name, layout, file)
    assert named_layouts(file) == kept
    for name in [*kept][:2]:
        save_layout(name, None, file)
        assert name not in named_layouts(file)
    assert len(named_layouts(file)) == max(0, len(kept) - 2)


def test_a_layout_of_another_program_is_passed_over_and_kept(tmp_path: Path) -> None:
    file = tmp_path / "layouts.json"
    other = {"panels": ["loss"], "mood": "good"}
    file.write_text(json.dumps({"later": other, "ours": {"panels": ["loss"]}}))
    assert named_layouts(file) == {"ours": Layout(panels=("loss",))}
    save_layout("new", Layout(panels=("beta",)), file)
    assert json.loads(file.read_text())["later"] == other


def charts(app: Explorer) -> list[str | None]:
    return [chart.id for chart in app.screen.query(Chart)]


def test_a_layout_is_saved_shown_replaced_and_deleted(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path), panels=("loss", "beta"))

    async def steps(pilot: Pilot[None]) -> None:
        selection = app.context.selection
        await pilot.press("g", "b", "X", "W")
        await until(pilot, lambda: isinstance(app.screen, SaveLayout))
        band = selection.band
        await pilot.press(*"my [b]", "enter")
        await until(pilot, lambda: "saved layout my [b]" in text_of(app))
        saved = Layout(panels=("loss", "beta"), axis="loss", band=band, grouped=True)
        assert named_layouts() == {"my [b]": saved}

        save_layout("other", Layout(panels=("ics_l2", "gone"), grouped=False, by=("no.such",)))
        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, PickLayout))
        assert "other  " in text_of(app)
        await pilot.press("down", "enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage) and charts(app) == ["chart-ics_l2"])
        assert (selection.axis, selection.band, selection.grouped, selection.by) == (
            "step",
            None,
            False,
            None,
        )
        assert "layout other; not known here: gone" in text_of(app)

        await pilot.press("L", "enter")
        await until(pilot, lambda: isinstance(app.screen, SweepPage) and len(charts(app)) == 2)
        assert (selection.axis, selection.band, selection.grouped) == ("loss", band, True)
        assert text_of(app).splitlines()[-1].strip() == "layout my [b]"

        await pilot.press("X", "W")
        await until(pilot, lambda: isinstance(app.screen, SaveLayout))
        app.screen.query_one(Input).value = "my [b]"
        await until(pilot, lambda: "replaces the one" in text_of(app))
        await pilot.press("enter")
        await until(pilot, lambda: named_layouts()["my [b]"].axis == "epochs")

        await pilot.press("L")
        await until(pilot, lambda: isinstance(app.screen, PickLayout))
        await pilot.press("delete", "delete")
        await until(pilot, lambda: "no layouts yet: W saves the current layout" in text_of(app))
        assert named_layouts() == {}
        await pilot.press("enter", "down", "x")
        assert isinstance(app.screen, PickLayout)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, SweepPage))

    drive(app, (160, 48), steps)


def test_a_home_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    named_file().parent.parent.mkdir(parents=True)
    named_file().parent.write_text("")
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("W", "a", "enter")
        await until(pilot, lambda: "not saved: " in text_of(app))

    drive(app, (160, 48), steps)
