"""Events of the runs and the requests sent to them, in order of time."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from rich.text import Text
from textual.widget import Widget

from bncore.config.errors import escape_control
from bncore.follow.request_view import summary
from bncore.follow.run_view import RunView
from bntui.chart.palette import Palette
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import Filter
from bntui.widgets.listing import Listing, ListRow, wrapped

STYLES = {
    "warning": "yellow",
    "probe_failed": "red",
    "skipped": "yellow",
    "finished": "green",
    "start": "dim",
    "checkpoint": "dim",
}

INDENT = 10
"""Indent of an event's continuation rows."""
HASH = 12
"""Characters shown of a hash: enough to tell two apart."""


class JournalPage(RunsPage):
    """Events of the runs shown, newest last, and messages about their states."""

    TAB, FOCUS = "journal", "#events"

    def body(self) -> Iterable[Widget]:
        yield Listing(id="events", follows=True, classes="titled")
        yield Filter()

    def show_page(self, snapshot: Snapshot) -> None:
        runs = self.as_listed(self.selection.shown(snapshot), snapshot)
        filtered = self.query_one(Filter)
        palette = fmt.palette_of(self.app)
        listing = self.query_one("#events", Listing)
        rows = [
            line
            for row in (*event_rows(palette, runs), *message_rows(palette, runs))
            if filtered.passes(row.text.plain)
            for line in wrapped(row, listing.text_width, self.app.console, INDENT)
        ]
        chosen = f" with {filtered.value!r}" if filtered.words else ""
        listing.border_title = Text(f"Events and requests{chosen}")
        listing.show(rows or [ListRow(Text("nothing yet", fmt.MUTED))])


def event_rows(palette: Palette, runs: Sequence[RunView]) -> list[ListRow]:
    """A row for each journal event that is not a measurement, ordered by the runs' own clocks."""
    events = [
        (float(t) if isinstance(t := event.get("t"), int | float) else 0.0, index, view, event)
        for view in runs
        for index, event in enumerate(view.columns.events)
    ]
    width = max((len(view.name) for view in runs), default=0)
    clocks = [_clock(moment) for moment, *_ in events]
    clock_width = max(map(len, clocks), default=0)
    rows = []
    timed = zip(events, clocks, strict=True)
    for (_, index, view, event), clock in sorted(timed, key=lambda one: one[0][:2]):
        text = Text().append(clock.rjust(clock_width), fmt.MUTED).append(f"{event.get('step', 0):>9,}  ")
        text.append(fmt.fitted(view.name, min(24, width)), fmt.color(palette, view.style)).append("  ")
        rows.append(ListRow(text.append_text(_sentence(event)), f"{view.run.path}#{index}"))
    return rows


def message_rows(palette: Palette, runs: Sequence[RunView]) -> list[ListRow]:
    """A row for each run with a message about its state: a run that failed at startup has no events."""
    rows = []
    for view in runs:
        if view.message:
            text = fmt.state_word(view.state).append("  ")
            text.append(view.name, fmt.color(palette, view.style)).append(f"  {view.message}")
            rows.append(ListRow(text, f"{view.run.path}#message"))
    return rows


def _clock(moment: float) -> str:
    """Local time of day, or date and time if not today; blank if the timestamp cannot be represented."""
    try:
        then = time.localtime(moment)
    except (OverflowError, ValueError, OSError):  # the journal may contain any number
        return " " * 8
    today = time.localtime()
    same = (then.tm_year, then.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M:%S" if same else "%b %d %H:%M", then)


def _sentence(event: dict[str, Any]) -> Text:
    kind = str(event["type"])
    if kind == "request":
        command = event.get("command")
        applied = event.get("outcome") == "applied"
        sign, style = fmt.OUTCOMES["applied" if applied else "rejected"]
        text = Text().append(f"{sign} ", style).append(summary(command if isinstance(command, dict) else {}))
        text.append(f"  by {escape_control(str(event.get('author', '')))}", fmt.MUTED)
        reason = event.get("reason")
        return text.append(f"  rejected: {escape_control(str(reason))}", "red") if not applied else text
    text = Text().append(escape_control(kind), STYLES.get(kind, ""))
    for key, value in event.items():
        if key not in ("seq", "t", "type", "step", "schema") and value != kind:
            value_text = escape_control(str(value))[: HASH if key.endswith("sha256") else 200]
            text.append(f"  {escape_control(key)} ", fmt.MUTED).append(value_text)
    return text
