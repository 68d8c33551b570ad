"""Layouts: the charts last shown for each experiment, and named layouts."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from bncore.config.base import ConfigModel
from bncore.config.measure import Band
from bntui.live.axes import Axis

MOST = 200
"""Maximum number of experiments remembered; the least recently changed ones are forgotten."""


class Layout(ConfigModel):
    """A named layout."""

    panels: tuple[str, ...]
    """Keys of the charts."""
    axis: Axis = "step"
    band: Band | None = None
    """None: the experiment's choice, as in the two fields below."""
    grouped: bool | None = None
    by: tuple[str, ...] | None = None


def state_file(environment: Mapping[str, str] = os.environ, name: str = "layouts.json") -> Path:
    """File of the layouts: ``$XDG_STATE_HOME/bnrun/layouts.json``, by default under ``~/.local/state``."""
    home = environment.get("XDG_STATE_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return folder / "bnrun" / name


def named_file() -> Path:
    """File of the named layouts."""
    return state_file(name="named-layouts.json")


def read_layout(experiment: str, file: Path | None = None) -> tuple[str, ...] | None:
    """Keys of the charts last shown for an experiment; None if none are remembered."""
    charts = _charts(file or state_file()).get(experiment)
    return None if charts is None else tuple(charts)


def remember_layout(experiment: str, charts: tuple[str, ...], file: Path | None = None) -> None:
    """Remember the charts of an experiment; does nothing if the file cannot be written."""
    file = file or state_file()
    layouts = _charts(file)
    layouts.pop(experiment, None)
    layouts[experiment] = list(charts)
    with suppress(OSError):
        _write(file, dict(list(layouts.items())[-MOST:]))


def named_layouts(file: Path | None = None) -> dict[str, Layout]:
    """Named layouts by name; invalid ones are skipped."""
    layouts = {}
    for name, table in _read(file or named_file()).items():
        with suppress(ValidationError):
            layouts[name] = Layout.model_validate(table)
    return dict(sorted(layouts.items()))


def save_layout(name: str, layout: Layout | None, file: Path | None = None) -> None:
    """Save a layout under a name, replacing any layout with that name; None deletes it.

    Raises:
        OSError: the file cannot be written.
    """
    file = file or named_file()
    layouts = _read(file)
    layouts.pop(name, None)
    if layout is not None:
        layouts[name] = layout.model_dump()
    _write(file, layouts)


def _charts(file: Path) -> dict[str, list[str]]:
    return {
        name: charts
        for name, charts in _read(file).items()
        if isinstance(charts, list) and charts and all(isinstance(chart, str) for chart in charts)
    }


def _read(file: Path) -> dict[str, Any]:
    try:
        table = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    return table if isinstance(table, dict) else {}


def _write(file: Path, table: Mapping[str, Any]) -> None:
    """Write the file atomically: on OSError it is unchanged."""
    file.parent.mkdir(parents=True, exist_ok=True)
    building = file.with_suffix(f".{os.getpid()}")
    try:
        building.write_text(json.dumps(table, indent=1))
        building.replace(file)
    finally:
        building.unlink(missing_ok=True)
