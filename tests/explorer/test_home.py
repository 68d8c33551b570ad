"""The list of all runs: what it lists, finds and opens."""

from __future__ import annotations

from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bntui.screens.home import HomePage
from explorer.factories import checked_text, drive, every_kind, explorer, until


def test_a_row_that_is_too_long_ends_in_an_ellipsis_beside_the_scrollbar(tmp_path: Path) -> None:
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "control_init" in checked_text(app))
        (row,) = [line for line in checked_text(app).splitlines() if "control_init" in line]
        assert row.rstrip("│ ▁▂▃▄▅▆▇█▎").endswith("…")

    drive(app, (72, 24), steps)


def test_home_lists_finds_and_opens_runs(tmp_path: Path) -> None:
    every_kind(tmp_path)
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        assert isinstance(app.screen, HomePage)
        await until(pilot, lambda: "activations" in checked_text(app))
        text = checked_text(app)
        assert "made-001" in text
        assert "Every kind [bold]of[/] run" in text
        assert "\\x1b[31mred" in text or "red" in text
        await pilot.press("slash", *"diverged")
        await pilot.pause()
        assert "steered" not in checked_text(app)
        await pilot.press("enter")
        await pilot.press("down", "enter")
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "sweep")
        await until(pilot, lambda: app.feed.snapshot is not None and app.feed.snapshot.complete)
        assert "diverged ─" in checked_text(app)
        await pilot.press("escape")
        await until(pilot, lambda: isinstance(app.screen, HomePage) and app.feed.snapshot is not None)

    drive(app, (140, 40), steps)


@pytest.mark.parametrize("width", [60, 80, 160])
def test_columns_of_presets_are_told_apart(tmp_path: Path, width: int) -> None:
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "activations" in checked_text(app))
        await pilot.press("slash", *"on the deep")
        await until(pilot, lambda: "activations" not in checked_text(app))
        (row,) = [line for line in checked_text(app).splitlines() if "dln_paper" in line]
        assert "dln_paper            Fig 3b, 5b…  Every figure" in row

    drive(app, (width, 40), steps)


def test_marked_runs_of_any_sweeps_are_compared(tmp_path: Path) -> None:
    for sweep in ("one-001", "two-001"):
        made_run(tmp_path / sweep / "a-s0", events())
        write_sweep(tmp_path / sweep, ["a-s0"])
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "two-001" in checked_text(app))
        await pilot.press("down", "m", "down", "down", "m", "5")
        await until(
            pilot, lambda: getattr(app.screen, "TAB", "") == "compare" and app.feed.snapshot is not None
        )
        await until(pilot, lambda: "minus" in checked_text(app))
        assert "one-001/a-s0" in checked_text(app)
        assert "two-001/a-s0" in checked_text(app)

    drive(app, (140, 40), steps)


def test_a_run_without_a_sweep_is_listed_and_opened(tmp_path: Path) -> None:
    made_run(tmp_path / "one-001" / "a-s0", events())
    write_sweep(tmp_path / "one-001", ["a-s0"])
    app = explorer(tmp_path)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: "one-001" in checked_text(app))
        made_run(tmp_path / "mine", events())
        await until(pilot, lambda: " mine " in checked_text(app))
        assert tmp_path.name in checked_text(app)
        await pilot.press("home", "down", "enter")
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "sweep")
        await until(pilot, lambda: app.feed.snapshot is not None and app.feed.snapshot.complete)
        assert [view.name for view in app.feed.snapshot.runs] == ["mine"]

    drive(app, (140, 40), steps)
