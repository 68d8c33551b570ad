"""The explorer on made runs, driven without a terminal."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path

from live.factories import STEPS, events, forked_run, made_run, request, write_sweep
from textual.pilot import Pilot

from bncore.store.paths import RunDir, SweepDir
from bntui.app import Explorer
from bntui.live.sources import Root, Runs, Source
from bntui.preferences import Settings
from bntui.widgets.charts import ChartGrid

Steps = Callable[[Pilot[None]], Awaitable[None]]
NASTY = "\x1b[31mred\x1b]0;title\x07 [bold]not bold[/bold] [@click=app.quit]here[/]"
"""A message that would steer a terminal, and markup that would be obeyed."""


class Made:
    """Opens made runs, read at once."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def home(self) -> Source:
        return Root(self._root)

    def open(self, places: Sequence[RunDir | SweepDir]) -> Source:
        return Runs(*places)


def explorer(root: Path, place: RunDir | SweepDir | None = None, **settings: object) -> Explorer:
    """The explorer on what lies under a root."""
    chosen = Settings(root=root, refresh=1e-9, **settings)  # type: ignore[arg-type]
    return Explorer(chosen, Made(root), place)


def drive(app: Explorer, size: tuple[int, int], steps: Steps) -> None:
    """Run the explorer at a size, with everything read, and do `steps`."""

    async def main() -> None:
        async with app.run_test(size=size) as pilot:
            await until(pilot, lambda: app.feed.snapshot is not None and app.feed.snapshot.complete)
            if app.screen.query(ChartGrid) and size[0] >= 40 and app.feed.snapshot and app.feed.snapshot.runs:
                await until(pilot, lambda: "Training loss" in text_of(app))
            await pilot.pause()
            await steps(pilot)

    asyncio.run(main())


async def until(pilot: Pilot[None], holds: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait until something holds."""
    end = asyncio.get_running_loop().time() + seconds
    while not holds():
        assert asyncio.get_running_loop().time() < end, "it never came"
        await pilot.pause(0.02)


def text_of(app: Explorer) -> str:
    """What a person reads on the screen."""
    strips = app.screen._compositor.render_strips()
    return "\n".join("".join(segment.text for segment in strip) for strip in strips)


def checked_text(app: Explorer) -> str:
    """What is on the screen, which is whole and holds nothing a terminal would obey."""
    text = text_of(app)
    lines = text.splitlines()
    assert len(lines) == app.size.height
    assert not [c for c in text if ord(c) < 32 and c != "\n"]
    assert "\x9b" not in text
    return text


def every_kind(root: Path) -> SweepDir:
    """A sweep with a run of every kind there is to be shown."""
    sweep = SweepDir(root / "made-001")
    runs = {
        "finished-s0": made_run(sweep.path / "finished-s0", events()),
        "running-s0": made_run(sweep.path / "running-s0", events(30), state="running"),
        "paused-s0": made_run(sweep.path / "paused-s0", events(20), state="paused"),
        "queued-s0": made_run(sweep.path / "queued-s0", state="queued"),
        "point-s0": made_run(sweep.path / "point-s0", events(1), state="stopped"),
        "diverged-s0": made_run(sweep.path / "diverged-s0", events(25, loss="inf"), state="diverged"),
        "strange-s0": made_run(sweep.path / "strange-s0", events(25, loss="nan"), state="stopped"),
        "failed-s0": made_run(sweep.path / "failed-s0", events(5), state="failed", message=NASTY),
        "steered-s0": made_run(
            sweep.path / "steered-s0",
            [
                *events(STEPS),
                request(7, {"noise.on": True}),
                request(9, {"norm.kind": "l1"}),
                request(11, {"optim.lr": -1.0}, outcome="rejected", reason=NASTY),
            ],
        ),
    }
    forked_run(sweep.path / "finished-s0-fork-1", runs["finished-s0"], 20)
    write_sweep(sweep.path, list(runs), name="made", title="Every kind [bold]of[/] run", figure="2")
    return sweep


def run_of(sweep: SweepDir, name: str) -> RunDir:
    return RunDir(sweep.path / f"{name}-s0")
