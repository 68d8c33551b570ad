"""Keys, help and palette say the same: what the table of actions says."""

from __future__ import annotations

import importlib
import pkgutil
from collections import Counter
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from textual.app import App
from textual.binding import Binding, BindingsMap
from textual.dom import DOMNode
from textual.pilot import Pilot
from textual.screen import Screen

import bntui
from bntui.actions import ACTIONS, EVERYWHERE, RUNS, actions_of
from bntui.app import PAGES, Explorer
from bntui.live.watch import Disk
from bntui.preferences import Settings
from bntui.screens.dialog import help_rows
from bntui.screens.home import HomePage
from bntui.screens.page import Page
from bntui.screens.sweep import SweepPage
from explorer.factories import checked_text, drive, every_kind, explorer, until

PAGE_TYPES = (HomePage, *PAGES.values())


@pytest.mark.parametrize("page", PAGE_TYPES, ids=lambda page: page.__name__)
def test_every_key_is_in_the_help_of_every_page(page: type[Page]) -> None:
    lines = [row.text.plain.strip() for row in help_rows(page.SCOPES, ACTIONS)]
    for action in ACTIONS:
        if action.keys:
            assert any(
                line.endswith(action.help) and {*line.removesuffix(action.help).split()} >= {*action.all_keys}
                for line in lines
            ), action.name


def bound() -> Iterator[tuple[str, Binding]]:
    """Every binding of the explorer's screens and widgets, and of Textual's app and screen."""
    for module in pkgutil.walk_packages(bntui.__path__, "bntui."):
        if not module.name.startswith(("bntui.cli", "bntui.bench")):
            importlib.import_module(module.name)
    own = [cls for cls in subclasses(DOMNode) if cls.__module__.startswith("bntui.")]
    for cls in dict.fromkeys((*own, App, Screen)):
        for _, binding in BindingsMap(cls.__dict__.get("BINDINGS", [])):
            yield cls.__name__, binding


def subclasses(cls: type) -> Iterator[type]:
    for one in cls.__subclasses__():
        yield one
        yield from subclasses(one)


def test_no_binding_of_any_screen_or_widget_is_missing_from_the_help() -> None:
    shown = {word for row in help_rows((EVERYWHERE,), ACTIONS) for word in row.text.plain.split()}
    table = {(action.name, key) for action in ACTIONS for key in action.keys.split(",")}
    found = list(bound())
    assert {"Plot", "Chart", "Listing", "SweepPage", "Picker", "SteeringBar", "Explorer", "Screen"} <= {
        owner for owner, _ in found
    }
    for owner, binding in found:
        if owner in ("App", "Screen"):  # ^c copies there, and tells how to quit: here it quits
            assert binding.action.removeprefix("app.") in {name for name, _ in table} | TEXTUALS, binding
        else:
            assert (binding.action, binding.key) in table, (owner, binding)
            assert format_action_key(binding.key) in shown, (owner, binding)


TEXTUALS = {"help_quit", "screen.copy_text"}


def format_action_key(key: str) -> str:
    (name,) = replace(ACTIONS[0], keys=key).all_keys
    return name


def test_ids_of_actions_are_unique() -> None:
    assert max(Counter(action.id for action in ACTIONS).values()) == 1


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
        assert isinstance(app.screen, Page)
        here = {action.help for action in actions_of(("everywhere", "runs", "sweep"), app.screen.offered())}
        assert set(commands) == here
        theme = app.theme
        commands["Dark, light, or the terminal's own colors"].callback()
        await until(pilot, lambda: app.theme != theme)
        commands["Events and requests"].callback()
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "journal")

    drive(app, (120, 90), steps)


STEERING = ("n noise", "l lr", "f fork", "w whole sweep")


@pytest.mark.parametrize(
    ("settings", "offered", "refused"),
    [
        ({}, STEERING, ("{ } speed",)),
        ({"read_only": True}, ("/ charts",), ("Space", "{ } speed", *STEERING)),
        ({"speed": 1e-6}, ("Space pause", "{ } speed", "( ) seek", "Esc back"), STEERING),
        ({"speed": 1e-6, "demo": True}, ("Space pause", "{ } speed", "( ) seek"), ("Esc back", *STEERING)),
    ],
    ids=["live", "read-only", "playback", "demo"],
)
def test_no_key_is_offered_that_would_be_refused(
    tmp_path: Path, settings: dict[str, Any], offered: tuple[str, ...], refused: tuple[str, ...]
) -> None:
    sweep = every_kind(tmp_path)
    chosen = Settings(root=tmp_path, refresh=1e-9, **settings)
    app = Explorer(chosen, Disk(chosen.root, chosen.speed), sweep)

    async def steps(pilot: Pilot[None]) -> None:
        assert ("PLAYBACK, not live" in checked_text(app)) == ("speed" in settings)
        line = checked_text(app).splitlines()[-1]
        assert all(key in line for key in offered), line
        assert not any(key in line for key in refused), line
        helped = {row.text.plain for row in help_rows((EVERYWHERE,), app.context.offered())}
        assert any("Change the learning rate" in row for row in helped) == (not settings)
        assert any("in the playback" in row for row in helped) == ("speed" in settings)

    drive(app, (180, 48), steps)


def test_no_two_actions_of_a_scope_have_one_key() -> None:
    pressed = Counter((action.scope, key) for action in ACTIONS for key in action.keys.split(",") if key)
    assert [both for both, count in pressed.items() if count > 1] == []


def test_no_key_of_a_page_takes_one_from_all_pages() -> None:
    """Those of charts and lists do, where they are zoomed or have a place for it."""
    common = {key for action in actions_of((RUNS, EVERYWHERE)) for key in action.keys.split(",") if key}
    for page in PAGES.values():
        own = {key for action in actions_of(page.SCOPES[:-2]) for key in action.keys.split(",") if key}
        assert own & common == set(), page


def test_the_help_begins_with_what_is_on_the_screen() -> None:
    titles = [
        row.text.plain for row in help_rows(SweepPage.SCOPES, ACTIONS) if row.text.plain and not row.key
    ]
    assert titles[:5] == ["Sweep page", "All pages about runs", "Everywhere", "Charts", "Charts of curves"]
    assert len(titles) == len({*titles}) == len({action.scope for action in ACTIONS})
