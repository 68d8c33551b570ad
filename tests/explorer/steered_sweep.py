"""A sweep at work that can be steered, and the requests in its inboxes."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from live.factories import STEPS, events, made_run, write_sweep
from textual.pilot import Pilot

from bncore.store.owner import acquire
from bncore.store.paths import OwnedDir, RunDir, SweepDir
from bncore.store.requests import waiting
from bncore.store.status import Status, write_status
from bntui.app import Explorer
from bntui.layouts import remember_layout
from bntui.widgets.steering_bar import SteeringBar
from explorer.factories import drive, explorer, text_of, until

STATES = {
    "first": "running", "second": "running", "halted": "paused", "waits": "queued", "over": "finished",
    "ended": "stopped",
}  # fmt: skip
SIZE = (120, 32)
STOP = [{"kind": "stop"}]
Act = Callable[[Pilot[None], Explorer], Awaitable[None]]


@contextmanager
def sweep_at_work(tmp_path: Path) -> Iterator[SweepDir]:
    """A sweep at work, held by this process, with a run in every state that matters to steering."""
    sweep = SweepDir(tmp_path / "root" / "made-001")
    with ExitStack() as held:
        for name, state in STATES.items():
            journal = [] if state == "queued" else events(STEPS if state == "finished" else 12)
            run = made_run(sweep.path / f"{name}-s0", journal, state=state)  # type: ignore[arg-type]
            if state in ("running", "paused"):
                held.callback(acquire(run).release)
        write_sweep(sweep.path, [f"{name}-s0" for name in STATES], name="made")
        sweep.inbox.mkdir()
        write_status(sweep, Status("running", steps=len(STATES)))
        held.callback(acquire(sweep).release)
        remember_layout("made", ("loss",))
        yield sweep


def run_named(sweep: SweepDir, name: str) -> RunDir:
    return RunDir(sweep.path / f"{name}-s0")


def inbox_requests(sweep: SweepDir) -> dict[str, list[dict[str, Any]]]:
    """What lies in every inbox that holds anything; the sweep's own under its name."""
    inboxes: dict[str, OwnedDir] = {run.path.name.removesuffix("-s0"): run for run in sweep.runs()}
    inboxes["sweep"] = sweep
    commands = {
        name: [one.command.model_dump(exclude_none=True) for one in waiting(held)]
        for name, held in inboxes.items()
    }
    return {name: said for name, said in commands.items() if said}


def steer(sweep: SweepDir, act: Act, **settings: object) -> None:
    """Open the explorer on the sweep and do something."""
    app = explorer(sweep.path.parent, sweep, **settings)

    async def steps(pilot: Pilot[None]) -> None:
        await until(pilot, lambda: len(app.feed.snapshot.runs) >= len(STATES) if app.feed.snapshot else False)
        await act(pilot, app)

    drive(app, SIZE, steps)


async def select(pilot: Pilot[None], app: Explorer, name: str) -> None:
    """Select the run of this name."""
    names = list(STATES)
    at = (
        app.context.selection.selected.name.removesuffix("-s0")
        if app.context.selection.selected
        else names[0]
    )
    by = names.index(name) - names.index(at)
    await pilot.press(*(["down" if by > 0 else "up"] * abs(by)))
    assert app.context.selection.selected is not None
    assert app.context.selection.selected.name == f"{name}-s0"


def steering_bar(app: Explorer) -> SteeringBar:
    return app.screen.query_one(SteeringBar)


def sentence(app: Explorer) -> str:
    """What the steering bar says would be sent, or why nothing can be."""
    return next(line for line in text_of(app).splitlines() if "→ " in line or "✗ " in line).strip("│ ")
