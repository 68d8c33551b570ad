"""Keys typed faster than they are handled: each acts on what the keys before it have opened."""

from __future__ import annotations

import subprocess
from pathlib import Path
from random import Random
from subprocess import CompletedProcess

import pytest
from live.factories import events as journal
from live.factories import made_run, write_sweep
from textual import events
from textual.keys import _character_to_key
from textual.pilot import Pilot
from textual.widgets import Input

from bncore.store.paths import SweepDir
from bntui.app import Explorer
from bntui.chart.widget import Chart
from bntui.screens.chart_pages import LayersPage
from bntui.screens.dialog import Help
from bntui.widgets.charts import ChartGrid
from bntui.widgets.filter import Filter
from explorer.factories import drive, every_kind, explorer, until
from explorer.steered_sweep import inbox_requests, steer, steering_bar
from explorer.terminal import bntui

NAMED_KEYS = [
    "escape",
    "enter",
    "tab",
    "shift+tab",
    "up",
    "down",
    "left",
    "right",
    "backspace",
    "home",
    "end",
    "pageup",
    "pagedown",
    "ctrl+p",
    "f1",
]


def type_at_once(app: Explorer, *keys: str) -> None:
    """Press keys without waiting for anything in between."""
    for key in keys:
        typed = len(key) == 1
        app.post_message(events.Key(_character_to_key(key) if typed else key, key if typed else None))


def test_a_chart_is_found_and_shown_by_keys_typed_at_once(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        page, grid = app.screen, app.screen.query_one(ChartGrid)
        type_at_once(app, "/", *"ics cos", "enter", "v")
        await until(pilot, lambda: app.screen is page and grid.current_key == "ics_cosine")
        await until(pilot, lambda: app.context.selection.hidden)  # the key after Enter acts on the page

    drive(app, (120, 30), steps)


@pytest.mark.parametrize("key", ["pageup", "pagedown"])
def test_a_page_turned_in_a_palette_that_is_not_yet_laid_out_ends_nothing(tmp_path: Path, key: str) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        page = app.screen
        type_at_once(app, "ctrl+p", key, *"theme")
        await until(pilot, lambda: [one.value for one in app.screen.query(Input)] == ["theme"])
        type_at_once(app, "escape")
        await until(pilot, lambda: app.screen is page)

    drive(app, (120, 30), steps)


@pytest.mark.slow
@pytest.mark.parametrize("seed", range(12))
def test_random_keys_typed_at_once_are_all_handled(
    tmp_path: Path, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)  # screens may be saved
    monkeypatch.setattr(subprocess, "run", lambda command, **_: CompletedProcess(command, 2, "", "refused"))
    random = Random(seed)
    app = explorer(tmp_path, every_kind(tmp_path))
    keys = [*(chr(code) for code in range(32, 127) if chr(code) != "q"), *NAMED_KEYS, *NAMED_KEYS]

    async def steps(pilot: Pilot[None]) -> None:
        for _ in range(40):
            type_at_once(app, *random.choices(keys, k=random.randrange(1, 25)))
            await pilot.pause(0.02)
        await until(pilot, lambda: not app._typed or not app.is_running)

    drive(app, (120, 36), steps)


def test_a_page_its_filter_and_the_filter_s_text_typed_at_once(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        type_at_once(app, "7", "/", *"optim.lr")
        await until(pilot, lambda: [one.value for one in app.screen.query(Filter)] == ["optim.lr"])
        assert not app.context.selection.hidden
        type_at_once(app, "enter", "1", "R", *"1 2", "enter", "?")
        await until(pilot, lambda: isinstance(app.screen, Help))
        type_at_once(app, "escape", "2")
        await until(pilot, lambda: isinstance(app.screen, LayersPage))
        type_at_once(app, "1")
        await until(pilot, lambda: app.screen.query(ChartGrid))
        current = app.screen.query_one(ChartGrid).current
        assert current is not None
        assert current.view.y == (1, 2)

    drive(app, (120, 30), steps)


@pytest.mark.usefixtures("started")
def test_a_request_typed_at_once_is_one_request(sweep: SweepDir) -> None:
    async def act(pilot: Pilot[None], app: Explorer) -> None:
        type_at_once(app, "S", *"optim.lr=0.2", "x", "n")
        await until(pilot, lambda: app.screen.query_one("#typed", Input).value == "optim.lr=0.2xn")
        type_at_once(app, "backspace", "backspace", "enter", "x", "escape")
        sent = {"first": [{"kind": "set", "changes": {"optim.lr": 0.2}}]}
        await until(pilot, lambda: inbox_requests(sweep) == sent and not steering_bar(app).is_open)
        type_at_once(app, "q", "c", "n")
        await until(pilot, lambda: app.screen.query(".open#steering-bar"))
        assert app.screen.query_one(Chart).crosshair is None, "c answered the question"
        assert inbox_requests(sweep) == sent

    steer(sweep, act)


def test_text_pasted_right_after_a_key_goes_into_what_the_key_opens(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        type_at_once(app, "/")
        app.post_message(events.Paste("sharpness"))
        await until(pilot, lambda: [one.value for one in app.screen.query(Input)] == ["sharpness"])

    drive(app, (120, 30), steps)


def test_a_string_sent_by_a_terminal_at_once_goes_where_it_would_go_key_by_key(tmp_path: Path) -> None:
    run = made_run(tmp_path / "runs" / "made-001" / "batch-s0", journal())
    write_sweep(SweepDir(run.path.parent).path, ["batch-s0"], name="made", title="Made")
    with bntui(tmp_path, str(run.path)) as session:
        session.shows("Training loss")
        session.type("7/optim.lr\r1/gradient norm\r@12\rq")
        session.shows("optim.lr")
        assert session.end() == 0
