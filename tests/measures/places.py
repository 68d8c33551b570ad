"""Prints where the measures of `own_probe`, which must be imported first, are found: a text for each place."""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from live.factories import LAYERS, events, made_run, view_of, write_sweep
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from textual.app import App
from typer.testing import CliRunner

from bncore.measures import markdown
from bncore.report.figures import overviews
from bncore.report.report_run import report_run
from bncore.store.loaded import load_run
from bncore.store.tensorboard import export_tensorboard
from bntui.cli.main import app
from bntui.live.drawing import PanelState
from bntui.live.layers import INSTRUMENTS, heat
from bntui.live.panels import PANELS
from bntui.screens.picker import Picker
from bntui.widgets.listing import Listing

RANK = {
    "type": "probe",
    "name": "rank",
    "layers": list(LAYERS),
    "stable_rank": [1.0, 2.0, 3.0],
    "spread": 2.0,
}


def main(folder: Path) -> None:
    """A sweep of one run that measured the ranks, in every place."""
    sweep = folder / "runs" / "one-001"
    run = made_run(sweep / "a-s0", [*events(), *({**RANK, "step": step} for step in (0, 20))])
    write_sweep(sweep, ["a-s0"])
    view = view_of(run)
    export_tensorboard(load_run(run.path), folder / "board")
    board = EventAccumulator(str(folder / "board")).Reload()
    charts = ["--chart", "stable_rank", "--chart", "rank_spread"]
    bnrun("export", str(sweep), "--svg", *charts, "--out", str(folder / "out"))
    pictures = overviews([], [report_run(view)], set())
    found = {
        "show": bnrun("show", str(run.path)),
        "charts": [PANELS[key].make([view], PanelState()).title for key in ("stable_rank", "rank_spread")],
        "curves": [len(PANELS[key].make([view], PanelState()).curves) for key in ("stable_rank", "rank_spread")],
        "picker": asyncio.run(picked()),
        "layers": [key for key in INSTRUMENTS if "rank" in key],
        "heat": [heat(view, "stable_rank").title, heat(view, "stable_rank").values.tolist()],
        "export": [path.read_text() for path in sorted((folder / "out").iterdir())],
        "board": {tag: board.summary_metadata[tag].summary_description
                  for tag in board.Tags()["scalars"] if tag.startswith("rank/")},
        "overview": [panel.title for picture in pictures for panel in picture.panels],
        "documentation": markdown(),
    }  # fmt: skip
    sys.stdout.write(json.dumps(found))


def bnrun(*arguments: str) -> str:
    """What a command says."""
    done = CliRunner().invoke(app, arguments)
    assert done.exit_code == 0, done.output
    return done.stdout


async def picked() -> str:
    """What the picker offers."""
    host: App[None] = App()
    async with host.run_test(size=(100, 80)) as pilot:
        await host.push_screen(Picker(("loss",)))
        await pilot.pause()
        listing = host.screen.query_one(Listing)
        return "\n".join(listing.render_line(y).text for y in range(listing.size.height))


main(Path(sys.argv[1]))
