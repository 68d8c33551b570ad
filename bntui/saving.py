"""Pictures and numbers saved into the folder that the explorer was started from; nothing there is replaced."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from textual.app import App

    from bncore.figure import ChartData
    from bntui.chart.style import ChartStyle
    from bntui.chart.view import View

Said = tuple[str, str]
"""What to say of it, and in which style."""


def save_screen(app: App[None]) -> Said:
    """The whole screen as SVG."""
    return _save("screen", "svg", app.export_screenshot(title="bntui"))


def save_chart(data: ChartData, view: View, look: ChartStyle, kind: str, setting: str = "") -> Said:
    """One chart: ``svg``, the part of it that is looked at, or ``csv``, its numbers.

    Arguments:
        setting: said under the picture's title.
    """
    from bntui.chart.export import csv_text, picture_of

    if kind == "csv":
        return _save(data.title, kind, csv_text(data))
    from bncore.report.drawing import picture_svg

    return _save(data.title, kind, picture_svg(picture_of(data, view, look.smoothing, setting)))


def _save(title: str, kind: str, text: str) -> Said:
    stem = "bntui-" + (re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60] or "chart")
    try:
        file = _fresh(stem, kind, text)
    except OSError as error:
        return f"not saved: {error.strerror or error}", "red"
    return f"saved {file}", "green"


def _fresh(stem: str, kind: str, text: str) -> Path:
    """Write `text` under the first name that is free."""
    number = 1
    while True:
        file = Path(f"{stem}.{kind}" if number == 1 else f"{stem}-{number}.{kind}")
        try:
            with file.open("x", encoding="utf-8") as opened:
                opened.write(text)
        except FileExistsError:
            number += 1
        else:
            return file
