"""Preferences: one file, read when the explorer starts and never overwritten."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Literal, TypeAlias

import tomli_w
from pydantic import Field

from bncore.config.base import ConfigModel, Flag, Fraction, Positive
from bncore.config.check import ConfigLayer, check
from bncore.config.errors import Problem, SpecError, did_you_mean
from bncore.config.measure import Band
from bncore.config.parse import read_table
from bncore.measures import MEASURES
from bntui.keymap import read_keys

Bell: TypeAlias = Literal["off", "bell", "osc9"]
EXAMPLE = '[keys]\nsweep.band = ["b", "F2"]'


class Preferences(ConfigModel):
    """Display and input settings of the explorer, used unless the command line overrides them."""

    theme: Literal["dark", "light", "ansi"] = "dark"
    """Colors: dark, light, or ansi, the terminal's own 16."""
    mouse: Flag = True
    """Whether the mouse zooms, pans and selects; false leaves it to the terminal, for selecting text."""
    refresh: Positive = 0.1
    """Minimum seconds between two pictures; over SSH 0.5 unless set here."""
    panels: tuple[str, ...] = ()
    """Charts to show first, by the keys of their measures; empty: chosen by the kind of experiment."""
    band: Band = "interval"
    """Band around the mean of several runs: interval, range, quartiles, deviation or envelope."""
    smoothing: Fraction = 0.6
    """Initial smoothing of per-batch measures, from 0 to below 1; the smoothing key changes it."""
    bell: Bell = "off"
    """What happens when a watched run ends: off (nothing), bell, or osc9 (a desktop notification)."""
    keys: dict[str, str] = Field(default_factory=dict)
    """Custom keys by action (see `bntui config --keys`): a key, or a list of keys."""


class Settings(Preferences):
    """Settings that the explorer is opened with: effective preferences and the other command-line options."""

    root: Path
    """The sweep root directory."""
    read_only: Flag = False
    speed: float | None = None
    """Playback speed of finished runs; None: no playback."""
    demo: Flag = False
    """Whether the recorded sweep is shown."""


def preferences_file(environment: Mapping[str, str] = os.environ) -> Path:
    """File of the preferences: ``$XDG_CONFIG_HOME/bnrun/config.toml``, by default under ``~/.config``."""
    home = environment.get("XDG_CONFIG_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".config"
    return folder / "bnrun" / "config.toml"


def read_preferences(file: Path) -> Preferences:
    """Preferences from the file, with defaults for those that are missing or if there is no file.

    Raises:
        SpecError: every problem of the file.
    """
    if not os.path.lexists(file):
        return Preferences()
    table = read_table(file)
    written = table.pop("keys", {})
    layer = ConfigLayer(str(file), "", table)
    preferences, problems = check(Preferences, table, lambda _: layer)
    problems += _panel_problems(table.get("panels"), str(file))
    if isinstance(written, Mapping):
        keys, refused = read_keys(written, str(file))
    else:
        keys, refused = {}, [Problem(str(file), "keys", written, "a table")]
    if preferences is None or problems or refused:
        raise SpecError([*problems, *refused])
    return preferences.model_copy(update={"keys": keys} if keys else {})


def _panel_problems(panels: object, file: str) -> list[Problem]:
    if not isinstance(panels, list):
        return []
    return [
        Problem(
            file,
            f"panels[{index}]",
            key,
            f"a measure's key{did_you_mean(key, list(MEASURES))}",
        )
        for index, key in enumerate(panels)
        if isinstance(key, str) and (key not in MEASURES or key in panels[:index])
    ]


def template() -> str:
    """Initial file for `bntui config --edit`: every preference, with its description and default, as comments."""
    parts = ["# Preferences of bntui. Lines without # are in effect; `bntui config` shows all of them.\n"]
    for name, field in Preferences.model_fields.items():
        default = EXAMPLE if name == "keys" else line_of(name, field.get_default())
        lines = [field.description or "", *default.splitlines()]
        parts.append("".join(f"# {line}\n" for line in lines))
    return "\n".join(parts)


def line_of(name: str, value: Any) -> str:
    """A preference as one line of TOML."""
    value = list(value) if isinstance(value, tuple) else value
    lines = tomli_w.dumps({name: value}).split("\n")
    return " ".join(line.strip() for line in lines).strip()
