"""Preferences: one file, refused whole and in words where it makes no sense, and never written over."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from cli.factories import clean_environment
from textual.pilot import Pilot

from bncore.config.errors import SpecError
from bntui import configure
from bntui.chart.widget import Chart
from bntui.preferences import Preferences, preferences_file, read_preferences, template
from explorer.factories import drive, every_kind, explorer, text_of
from explorer.terminal import bntui, own_folders


def written(text: str) -> Path:
    """The file of preferences, with this text."""
    file = preferences_file()
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return file


def test_the_file_lies_where_xdg_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/x")
    assert preferences_file({"XDG_CONFIG_HOME": "/c"}) == Path("/c/bnrun/config.toml")
    for elsewhere in ({}, {"XDG_CONFIG_HOME": ""}, {"XDG_CONFIG_HOME": "relative"}):
        assert preferences_file(elsewhere) == Path("/home/x/.config/bnrun/config.toml")


def test_without_a_file_everything_is_as_it_comes() -> None:
    assert read_preferences(preferences_file()) == Preferences()


def test_what_is_written_holds_and_the_rest_is_as_it_comes() -> None:
    file = written(
        'theme = "light"\npanels = ["loss", "beta"]\nrefresh = 1\n[keys]\nsweep.band = ["K", "F2"]\n'
    )
    assert read_preferences(file) == Preferences(
        theme="light", panels=("loss", "beta"), refresh=1.0, keys={"sweep.band": "K,f2"}
    )


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("theem = 'dark'", "theem = 'dark': unknown key; expected one of theme, .* (did you mean 'theme'?)"),
        ("theme = 'pink'", "theme = 'pink': expected one of 'dark', 'light', 'ansi'"),
        ("mouse = 1", "mouse = 1: expected true or false"),
        ("refresh = 0", "refresh = 0: expected a number > 0"),
        ("smoothing = 1.0", "smoothing = 1.0: expected a number >= 0 and < 1"),
        ("band = 'all'", "band = 'all': expected one of 'interval', 'range', .*"),
        ("bell = true", "bell = true: expected one of 'off', 'bell', 'osc9'"),
        ("panels = ['los']", "panels[0] = 'los': expected a measure's key (did you mean 'loss'?)"),
        ("panels = ['loss', 'loss']", "panels[1] = 'loss': expected a measure's key .*"),
        ("panels = 'loss'", "panels = 'loss': expected a list, each text"),
        ("keys = 3", "keys = 3: expected a table"),
        ("theme = ", "is not TOML: .*"),
        ('theme = "\\u001b[2J"', "theme = '\\x1b[2J': .*"),
        ("[keys]\nsweep.bnad = 'x'", "keys.sweep.bnad = 'x': no such action; .* (did you mean 'band'?)"),
    ],
)  # fmt: skip
def test_what_makes_no_sense_is_refused_with_what_would(text: str, said: str) -> None:
    file = written(text)
    with pytest.raises(SpecError) as refused:
        read_preferences(file)
    pattern = re.escape(f"{file}: {said}").replace(r"\.\*", ".*")
    assert re.fullmatch(pattern, str(refused.value), re.DOTALL), str(refused.value)


def test_the_template_is_every_default_in_comments() -> None:
    file = written(template())
    assert read_preferences(file) == Preferences()
    lines = [line.removeprefix("# ") for line in template().splitlines()]
    values = tomllib.loads("\n".join(line for line in lines if re.match(r"[a-z]+ = ", line)))
    assert Preferences.model_validate(values) == Preferences()
    assert {*values, "keys"} == {*Preferences.model_fields}


def test_the_example_of_the_documentation_holds() -> None:
    page = Path(__file__).parents[2] / "docs" / "how-to" / "preferences.md"
    (example,) = re.findall(r"```toml\n(.*?)```", page.read_text(), re.DOTALL)
    preferences = read_preferences(written(example))
    assert preferences.keys == {"sweep.band": "K", "sweep.groups": "G,f2", "runs.steer_stop": ""}
    assert preferences.model_fields_set == {*Preferences.model_fields}


def test_config_says_what_holds_and_where_it_comes_from(capsys: pytest.CaptureFixture[str]) -> None:
    file = written('theme = "light"\n[keys]\nsweep.band = "K"\n')
    assert configure.main([]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == f"# {file}"
    said = {line.partition(" =")[0]: line.split()[2:] for line in lines[1:]}
    assert said["theme"] == ['"light"', "#", "file"]
    assert said["keys.sweep.band"][-2:] == ["#", "file"]
    assert said["smoothing"] == ["0.6", "#", "default"]
    table = tomllib.loads("\n".join(lines))
    assert (table["theme"], table["keys"]) == ("light", {"sweep": {"band": ["K"]}})
    assert configure.main(["--keys"]) == 0
    assert re.search(r"^sweep\.band +K +What the band", capsys.readouterr().out, re.MULTILINE)
    assert configure.main(["--path"]) == 0
    assert capsys.readouterr().out == f"{file}\n"


def test_edit_opens_the_file_and_keeps_what_stands_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    editor = tmp_path / "my editor"
    editor.write_text('#!/bin/sh\nprintf \'theme = "%s"\\n\' "$1" >> "$2"\n')
    editor.chmod(0o755)
    monkeypatch.setenv("EDITOR", "false")
    monkeypatch.setenv("VISUAL", f"'{editor}' light")
    assert configure.main(["--edit"]) == 0
    assert preferences_file().read_text() == template() + 'theme = "light"\n'
    before = written("# mine\n").read_text()
    monkeypatch.setenv("VISUAL", f"'{editor}' pink")
    assert configure.main(["--edit"]) == 2
    assert "theme = 'pink': expected one of" in capsys.readouterr().err
    assert preferences_file().read_text() == before + 'theme = "pink"\n', "what is wrong is theirs to mend"
    monkeypatch.delenv("VISUAL")
    assert configure.main(["--edit"]) == 1
    assert "false ended with exit code 1" in capsys.readouterr().err


def test_no_editor_is_said(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("VISUAL", "EDITOR"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PATH", "/nowhere")
    assert configure.main(["--edit"]) == 1
    assert "set $VISUAL or $EDITOR" in capsys.readouterr().err
    assert not preferences_file().exists()


def test_first_charts_smoothing_and_band_are_the_persons(tmp_path: Path) -> None:
    sweep = every_kind(tmp_path)
    app = explorer(tmp_path, sweep, panels=("loss", "beta"), smoothing=0.9, band="quartiles")

    async def steps(pilot: Pilot[None]) -> None:
        charts = {chart.id: chart.smoothing for chart in app.screen.query(Chart)}
        assert charts == {"chart-loss": 0.9, "chart-beta": 0.0}
        await pilot.press("g")
        await pilot.pause()
        assert "quartiles" in text_of(app)
        await pilot.press("b")
        await pilot.pause()
        assert "quartiles" not in text_of(app), "the key goes on from there"

    drive(app, (160, 48), steps)


def test_the_command_line_wins_and_a_broken_file_is_no_picture(tmp_path: Path) -> None:
    written('theme = "pink"\n[keys]\nsweep.bnad = "x"\n')
    with bntui(tmp_path, "--demo") as session:
        assert session.end() == 2
        assert "theme = 'pink': expected one of 'dark', 'light', 'ansi'" in session.sent
        assert "did you mean 'band'?" in session.sent
        assert "\x1b" not in session.sent
    written("mouse = false\n")
    for arguments, mouse in (((), False), (("--mouse",), True), (("--no-config",), True)):
        with bntui(tmp_path, "--demo", *arguments) as session:
            session.shows("Training loss")
            assert ("\x1b[?1000h" in session.sent) is mouse
            session.type("q")
            assert session.end() == 0


def test_config_needs_no_terminal(tmp_path: Path) -> None:
    environment = clean_environment(tmp_path, **own_folders(tmp_path))
    command = [sys.executable, "-m", "bntui.main", "config"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=True)
    assert 'theme = "dark"' in done.stdout
