"""Events in charts: a few with their texts, many by numbers that the list of changes explains, or none."""

from __future__ import annotations

from pathlib import Path

import pytest
from live.factories import events, made_run, request, view_of, watched, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from bntui.chart.palette import DARK
from bntui.context import Selection
from bntui.live.drawing import PanelState, vlines
from bntui.live.grouping import Grouping
from bntui.live.marks import numbered
from bntui.widgets.formatting import color
from bntui.widgets.sidebar import change_rows
from explorer.factories import checked_text, drive, explorer, until


def steered(path: Path, count: int) -> SweepDir:
    """Two runs that were asked for other learning rates, the second also for noise at one of these steps."""
    sweep = SweepDir(path / "made-001")
    asked = [request(step, {"optim.lr": step / 100}) for step in range(1, count + 1)]
    made_run(sweep.path / "a-s0", [*events(), *asked])
    made_run(sweep.path / "b-s0", [*events(), *asked[:1], request(2, {"noise.on": True})])
    write_sweep(sweep.path, ["a-s0", "b-s0"])
    return sweep


def test_numbers_follow_the_steps_and_the_same_request_has_one(tmp_path: Path) -> None:
    views = [view_of(run, style) for style, run in enumerate(steered(tmp_path, 3).runs())]
    numbers = numbered(views, "numbers")
    assert numbers == {(1, "lr 0.01"): 1, (2, "lr 0.02"): 2, (2, "noise on"): 3, (3, "lr 0.03"): 4}
    drawn = vlines(views, PanelState(numbers=numbers))
    assert [(line.x, line.text, line.style is None) for line in drawn] == [
        (1.0, "1", True), (2.0, "2", False), (2.0, "3", False), (3.0, "4", False),
    ]  # fmt: skip
    assert [line.text for line in vlines(views[1:], PanelState(numbers=numbers))] == ["1", "3"], (
        "as of all runs"
    )
    assert vlines(views, PanelState(hide_marks=True)) == ()


@pytest.mark.parametrize("asked", [(0, 1), (1,)], ids=["the group", "one of it"])
def test_marks_and_changes_have_the_color_of_the_group(tmp_path: Path, asked: tuple[int, ...]) -> None:
    sweep = SweepDir(tmp_path / "made-001")
    for seed in range(2):
        made_run(sweep.path / f"batch-s{seed}", events())
        steering = [request(7, {"optim.lr": 0.5})] if seed in asked else []
        made_run(sweep.path / f"none-s{seed}", [*events(), *steering])
    write_sweep(sweep.path, [])
    snapshot = watched(sweep).poll(60.0)
    grouping = Grouping()
    grouping.choose(snapshot, None, None)
    groups = grouping.groups(snapshot.runs)
    none = next(group for group in groups if group.name == "none")
    assert none.style not in {view.style for view in none.runs if view.seed in asked[-1:]}, (
        "or nothing is shown"
    )
    (mark, *_) = vlines(snapshot.runs, PanelState(grouping=grouping))
    assert (mark.text, mark.style) == ("lr 0.5 @7", none.style)
    (row,) = change_rows(DARK, snapshot, Selection(), groups)
    assert row.text.spans[-1].style == color(DARK, none.style)
    assert row.text.plain.split("  ")[-1] == ("none-s1" if len(asked) == 1 else "none ×2")


@pytest.mark.parametrize(("count", "many"), [(1, False), (2, False), (3, True)])
def test_many_are_numbered_unless_the_person_chose(tmp_path: Path, count: int, many: bool) -> None:
    views = [view_of(run) for run in steered(tmp_path, count).runs()]
    assert bool(numbered(views, None)) == many
    assert not numbered(views, "labels")
    assert not numbered(views, "hidden")


@pytest.mark.parametrize("size", [(160, 48), (80, 24)], ids=["wide", "narrow"])
def test_a_key_goes_through_numbers_and_nothing_back_to_texts(tmp_path: Path, size: tuple[int, int]) -> None:
    app = explorer(tmp_path, steered(tmp_path, 2))

    async def steps(pilot: Pilot[None]) -> None:
        drawn = "lr 0.02 @2"
        await until(pilot, lambda: drawn in checked_text(app))
        await pilot.press("e")
        if size[0] == 160:
            await until(pilot, lambda: drawn not in checked_text(app))
            assert " 2       2 ✓ lr 0.02" in checked_text(app), "the list of changes says what 2 is"
        else:
            await until(pilot, lambda: "1 lr 0.01 @1  2 lr 0.02 @2  3 noise on @2" in checked_text(app))
        await pilot.press("e")
        await until(pilot, lambda: "┊" not in checked_text(app))
        await pilot.press("e")
        await until(pilot, lambda: drawn in checked_text(app))

    drive(app, size, steps)
