"""What is said while the history of runs is still being read."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from live.factories import events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import SweepDir
from explorer.factories import checked_text, drive, explorer, until


def test_the_compare_page_says_that_runs_are_still_being_read(tmp_path: Path) -> None:
    sweep = SweepDir(tmp_path / "made-001")
    queue = []
    for variant, first in (("none", 0), ("batch", 20)):
        for seed in range(2):
            queue.append(f"{variant}-s{seed}")
            known = [event for event in events(40) if first <= event.get("step", first) < first + 20]
            made_run(sweep.path / queue[-1], known, state="finished")
    write_sweep(sweep.path, queue, name="made")
    app = explorer(tmp_path, sweep)

    async def steps(pilot: Pilot[None]) -> None:
        await pilot.press("5")
        await until(pilot, lambda: "no seed in common" in checked_text(app))
        assert "reading …" not in checked_text(app)
        snapshot = app.feed.snapshot
        assert snapshot is not None
        app.screen.show(replace(snapshot, complete=False))  # type: ignore[attr-defined]
        await until(pilot, lambda: "still being read" in checked_text(app))
        assert "no seed in common" not in checked_text(app)

    drive(app, (140, 40), steps)
