"""Keys of one's own: they do what they are bound to, are shown wherever keys are, and lock nobody out."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from textual.pilot import Pilot

from bntui.actions import ACTIONS, SCREENS, rebound
from bntui.keymap import PROTECTED, SCOPES, key_of, read_keys
from bntui.screens.dialog import Help, Leave, help_rows
from bntui.screens.sweep import SweepPage
from explorer.factories import drive, every_kind, explorer, text_of, until

IDS = [action.id for action in ACTIONS if action.scope in SCOPES]
SHOWN = {
    name: key
    for action in ACTIONS
    for name, key in zip(action.all_keys, action.keys.split(","), strict=False)
}


@pytest.mark.parametrize("shown", SHOWN)
def test_a_key_may_be_written_as_the_help_shows_it_and_as_textual_names_it(shown: str) -> None:
    assert key_of(shown) == key_of(SHOWN[shown]) == SHOWN[shown]


@pytest.mark.parametrize(
    ("scope", "name", "value", "said"),
    [
        ("sweep", "band", "n", "keys.sweep.band = 'n': n is the key of runs.steer_noise; expected"),
        ("sweep", "band", "g", "keys.sweep.band = 'g': g is the key of sweep.groups; expected"),
        ("charts", "fit", "q", "keys.charts.fit = 'q': q is the key of everywhere.leave; expected"),
        ("sweep", "band", "^c", "keys.sweep.band = '^c': ^c is the key of everywhere.leave; expected"),
        ("sweep", "band", "ctrl+q", "keys.sweep.band = 'ctrl+q': ^q cannot be changed; expected"),
        ("home", "mark", "Entre", "keys.home.mark = 'Entre': expected .* (did you mean 'Enter'?)"),
        ("home", "mark", 7, "keys.home.mark = 7: expected a key, or a list of keys"),
        ("home", "mark", ["x", 7], "keys.home.mark = ['x', 7]: expected a key, or a list of keys"),
        ("hom", "mark", "x", "keys.hom.mark = 'x': no such group of keys; .* (did you mean 'home'?)"),
        ("quit", "leave", "x", "keys.quit.leave = 'x': these keys cannot be changed; expected one of"),
        ("home", "mrak", "x", "keys.home.mrak = 'x': no such action; expected one of .* (did you mean 'mark'?)"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_refused_with_what_can(scope: str, name: str, value: object, said: str) -> None:
    _, (problem, *more) = read_keys({scope: {name: value}}, "file")
    assert not more
    begin, _, end = said.partition(".*")
    assert str(problem).startswith(f"file: {begin}")
    assert end.strip() in str(problem)


def test_actions_may_exchange_their_keys_and_quoted_names_are_taken() -> None:
    keys, problems = read_keys({"sweep": {"band": "g"}, "sweep.groups": "b"}, "file")
    assert not problems
    assert keys == {"sweep.band": "g", "sweep.groups": "b"}


@given(
    st.dictionaries(
        st.sampled_from(IDS), st.lists(st.sampled_from([*"abnqxZ?,", "ctrl+c", "ctrl+q", "F5"]), max_size=2)
    )
)
def test_whatever_is_accepted_locks_nobody_out_and_is_told_apart(written: dict[str, list[str]]) -> None:
    keys, problems = read_keys(written, "file")
    if problems:
        return
    table = {action.id: action for action in rebound(keys)}
    assert "ctrl+c" in table["everywhere.leave"].keys.split(",")
    for screen in SCREENS:
        for one, other in combinations([a for a in table.values() if a.scope in screen], 2):
            both = {*one.keys.split(",")} & {*other.keys.split(",")} - {""}
            assert not any(one.id in keys and key not in original(one.id) for key in both), (one, other)
            assert not any(other.id in keys and key not in original(other.id) for key in both), (one, other)
    assert not any({*PROTECTED} & {*keys[name].split(",")} - original(name) for name in keys)
    words = {word for row in help_rows(("sweep",), tuple(table.values())) for word in row.text.plain.split()}
    assert all({*table[name].all_keys} <= words for name in keys)


def test_keys_that_windows_name_stay() -> None:
    keys, problems = read_keys({"lists": {"choose": "O", "first": "", "move_next": ["J", "down"]}}, "file")
    assert not problems
    assert keys == {"lists.choose": "O,enter", "lists.first": "home", "lists.move_next": "J,down"}


def original(name: str) -> set[str]:
    return {key for action in ACTIONS if action.id == name for key in action.keys.split(",")}


def test_new_keys_act_and_are_shown_everywhere_and_old_ones_do_nothing(tmp_path: Path) -> None:
    written = {
        "sweep": {"groups": "K"},
        "runs": {"view_layers": "F2", "steer_noise": "", "layer_next": ")", "playback_forward": "F9"},
        "charts": {"crosshair": "!"},
        "everywhere": {"help": "h", "leave": "Q"},
    }
    keys, problems = read_keys(written, "file")
    assert not problems
    app = explorer(tmp_path, every_kind(tmp_path), keys=keys)

    async def steps(pilot: Pilot[None]) -> None:
        text = text_of(app)
        assert "K groups" in text
        assert "F2 layers" in text
        assert "[ ) layer" in text
        assert "noise" not in text.splitlines()[-1]
        await pilot.press("n", "g", "question_mark", "q", "c")
        await pilot.pause()
        assert isinstance(app.screen, SweepPage)
        assert app.context.selection.grouped is None
        assert " at 39:" not in text_of(app)
        await pilot.press("exclamation_mark")
        await until(pilot, lambda: "at 39:" in text_of(app))
        await pilot.press("K")
        await until(pilot, lambda: app.context.selection.grouped)
        titles = {command.title for command in app.get_system_commands(app.screen)}
        assert {"single runs (K)", "groups (K)"} & titles
        assert "noise" in titles
        await pilot.press("h")
        await until(pilot, lambda: isinstance(app.screen, Help))
        assert "K              Means over" in text_of(app)
        await pilot.press("escape", "f2")
        await until(pilot, lambda: getattr(app.screen, "TAB", "") == "layers")
        await pilot.press("Q")
        await until(pilot, lambda: isinstance(app.screen, Leave))
        await pilot.press("c", "ctrl+c")
        await until(pilot, lambda: isinstance(app.screen, Leave))

    drive(app, (200, 48), steps)
