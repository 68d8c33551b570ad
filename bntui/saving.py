"""Saving pictures and numbers into the working directory, without replacing existing files."""

from __future__ import annotations

import re
from pathlib import Path

from textual.app import App

from bncore.figure import ChartData
from bntui.chart.export_chart import csv_text, picture_of
from bntui.chart.frame import ChartStyle
from bntui.chart.view import View

Notice = tuple[str, str]
"""Text and style of a notice."""


def save_screen(app: App[None]) -> Notice:
    """Save the whole screen as SVG."""
    return _save("screen", "svg", app.export_screenshot(title="bntui"))


def save_chart(data: ChartData, view: View, style: ChartStyle, kind: str, setting: str = "") -> Notice:
    """Save a chart as ``svg``, its visible part, or ``csv``, its numbers.

    Arguments:
        setting: subtitle of the picture.
    """
    if kind == "csv":
        return _save(data.title, kind, csv_text(data))
    from bncore.report.render import picture_svg  # noqa: PLC0415 - imports matplotlib, needed only here

    return _save(data.title, kind, picture_svg(picture_of(data, view, style.smoothing, setting)))


def _save(title: str, kind: str, text: str) -> Notice:
    stem = "bntui-" + (re.sub(r"[^a-z0-9]+", "-", title.casefold()).strip("-")[:60] or "chart")
    try:
        file = _fresh(stem, kind, text)
    except OSError as error:
        return f"not saved: {error.strerror or error}", "red"
    return f"saved {file}", "green"


def _fresh(stem: str, kind: str, text: str) -> Path:
    """Write `text` under the first free name."""
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
