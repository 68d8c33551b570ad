"""The pages that have a plot for each run."""

from __future__ import annotations

from pathlib import Path

import pytest
from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from explorer.factories import checked_text, drive, explorer, until


@pytest.mark.parametrize("page", ["2", "3"])
def test_it_is_said_which_runs_fit(tmp_path: Path, page: str) -> None:
    sweep = SweepDir(tmp_path / "made-001")
    names = [f"v{number}-s0" for number in range(10)]
    for name in names:
        made_run(sweep.path / name, events(3))
    write_sweep(sweep.path, names)
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press(page)
        await until(pilot, lambda: "runs 1-6 of 10" in checked_text(app))
        await until(pilot, lambda: "v5, " in checked_text(app) and "v6, " not in checked_text(app))
        await pilot.press(*["down"] * 9)
        await until(pilot, lambda: "runs 7-10 of 10" in checked_text(app))
        await until(pilot, lambda: "v9, " in checked_text(app) and "v0, " not in checked_text(app))
        await pilot.press(*["v", "up"] * 9)
        await until(pilot, lambda: "runs " not in checked_text(app).splitlines()[0])

    drive(app, (160, 48), steps)
