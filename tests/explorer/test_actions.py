"""Keys, help and palette say the same: what the table of actions says."""

from __future__ import annotations

from pathlib import Path

import pytest
from textual.keys import format_key
from textual.pilot import Pilot

from bntui.actions import ACTIONS, EVERYWHERE, actions_of
from bntui.app import PAGES, Explorer
from bntui.chart.plot import Plot
from bntui.chart.widget import Chart
from bntui.screens.help import CHART_KEYS, help_rows
from bntui.screens.home import HomePage
from bntui.screens.page import Page
from explorer.factories import checked_text, drive, every_kind, explorer, until

PAGE_TYPES = (HomePage, *PAGES.values())


@pytest.mark.parametrize("page", PAGE_TYPES, ids=lambda page: page.__name__)
def test_every_key_is_in_the_help_of_every_page(page: type[Page]) -> None:
    lines = [row.text.plain.strip() for row in help_rows(page.SCOPES)]
    for action in ACTIONS:
        if action.keys:
            assert any(
                line.endswith(action.help) and line.removesuffix(action.help).split() == [*action.all_keys]
                for line in lines
            ), action.name


def test_every_key_of_a_chart_is_in_the_help() -> None:
    keys = {key for names, _ in CHART_KEYS for key in names.split()}
    for cls in Chart.__mro__:
        for binding in cls.__dict__.get("BINDINGS", ()) if issubclass(cls, Plot) else ():
            assert (binding.key_display or format_key(binding.key.partition(",")[0])) in keys, binding


@pytest.mark.parametrize("page", PAGE_TYPES, ids=lambda page: page.__name__)
def test_every_action_of_the_table_is_a_method(page: type[Page]) -> None:
    for action in actions_of(page.SCOPES):
        owner = Explorer if action.scope == EVERYWHERE else page
        assert callable(getattr(owner, f"action_{action.name.partition('(')[0]}", None)), action.name


def test_help_and_palette_come_from_the_table_of_actions(tmp_path: Path) -> None:
    app = explorer(tmp_path, every_kind(tmp_path))

    async def steps(pilot: Pilot[None]) -> None:
        commands = {command.help: command for command in app.get_system_commands(app.screen)}
        await pilot.press("question_mark")
        await pilot.pause()
        assert "Switch noise on or off" in checked_text(app)
        await pilot.press("escape")
        await pilot.pause()
        here = {action.help for action in ACTIONS if action.scope in ("everywhere", "runs", "sweep")}
        assert set(commands) == here
        theme = app.theme
        commands["Dark, light, or the terminal's own colours"].callback()
        await until(pilot, lambda: app.theme != theme)
        commands["Events and requests"].callback()
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "journal")

    drive(app, (120, 90), steps)
