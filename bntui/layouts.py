"""Which charts are shown, per experiment: remembered from one start of the explorer to the next."""

from __future__ import annotations

import json
import os
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

MOST = 200
"""Experiments remembered; the ones longest unchanged are forgotten."""


def state_file(environment: Mapping[str, str] = os.environ) -> Path:
    """Where layouts are stored: ``$XDG_STATE_HOME/bnrun/layouts.json``, by default under ``~/.local/state``."""
    home = environment.get("XDG_STATE_HOME", "")
    folder = Path(home) if Path(home).is_absolute() else Path.home() / ".local" / "state"
    return folder / "bnrun" / "layouts.json"


def read_layout(experiment: str, file: Path | None = None) -> tuple[str, ...] | None:
    """Keys of the charts last shown for an experiment; None where none are remembered."""
    charts = _read(file or state_file()).get(experiment)
    return None if charts is None else tuple(charts)


def remember_layout(experiment: str, charts: tuple[str, ...], file: Path | None = None) -> None:
    """Keep the charts of an experiment; without a home that can be written they are forgotten."""
    file = file or state_file()
    layouts = _read(file)
    layouts.pop(experiment, None)
    layouts[experiment] = list(charts)
    newest = dict(list(layouts.items())[-MOST:])
    with suppress(OSError):
        file.parent.mkdir(parents=True, exist_ok=True)
        building = file.with_suffix(f".{os.getpid()}")
        try:
            building.write_text(json.dumps(newest, indent=1))
            building.replace(file)
        finally:
            building.unlink(missing_ok=True)


def _read(file: Path) -> dict[str, list[str]]:
    try:
        table = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError):
        return {}
    if not isinstance(table, dict):
        return {}
    return {
        name: charts
        for name, charts in table.items()
        if isinstance(charts, list) and charts and all(isinstance(chart, str) for chart in charts)
    }
