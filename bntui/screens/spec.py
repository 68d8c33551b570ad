"""The resolved specs of the runs side by side; where they differ is marked."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, ClassVar

from rich.text import Text
from textual.binding import BindingType
from textual.widget import Widget

from bncore.config.base import ConfigModel
from bncore.config.errors import escape_control
from bncore.config.toml import to_table
from bncore.follow.run_view import RunView
from bntui.actions import EVERYWHERE, RUNS, SPEC, bindings
from bntui.chart.palette import Palette
from bntui.context import PageContext
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import Filter
from bntui.widgets.listing import Listing, ListRow

NAME_WIDTH, LEAST, MOST = 26, 10, 22
"""Cells of a field's name, and of a run's value."""


class SpecPage(RunsPage):
    """A row for each field, a column for each run: what holds now, requests included."""

    DEFAULT_CSS = """
    SpecPage #fields { border: round $foreground 25%; border-title-style: bold; padding: 0 1; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(SPEC)
    SCOPES: ClassVar[tuple[str, ...]] = (SPEC, RUNS, EVERYWHERE)
    TAB: ClassVar[str] = "spec"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._only_differences = False

    def body(self) -> Iterable[Widget]:
        yield Listing(id="fields")
        yield Filter()

    def show_page(self, snapshot: Snapshot) -> None:
        filtered = self.query_one(Filter)
        runs = sorted(self.selection.shown(snapshot), key=lambda view: view.style)
        listing = self.query_one("#fields", Listing)
        listing.border_title = "Settings that differ" if self._only_differences else "Settings"
        palette, width = fmt.palette_of(self.app), listing.size.width - 2
        rows = spec_rows(palette, runs, width, only_differences=self._only_differences)
        listing.show([row for row in rows if not row.key or filtered.passes(row.text.plain)])

    def focus_page(self) -> None:
        self.query_one("#fields", Listing).focus(scroll_visible=False)

    def action_differences(self) -> None:
        self._only_differences = not self._only_differences
        self.show_again()


def spec_rows(
    palette: Palette, runs: Sequence[RunView], width: int, *, only_differences: bool = False
) -> list[ListRow]:
    """A heading with the runs' names, then a row for each field; ``*`` marks what a request has changed."""
    cell = max(LEAST, min(MOST, (width - NAME_WIDTH) // max(1, len(runs)) - 2))
    head = Text(" " * NAME_WIDTH)
    for view in runs:
        head.append("  ").append(fmt.fitted(view.name, cell), fmt.color(palette, view.style))
    rows = [ListRow(head)]
    now = [_flat(view.spec) for view in runs]
    begun = [_flat(view.submitted) for view in runs]
    for field in dict.fromkeys(name for table in now for name in table):
        values = [table.get(field, "-") for table in now]
        differs = len(set(values)) > 1 and field != "seed"
        if only_differences and not differs:
            continue
        text = Text(fmt.fitted(field, NAME_WIDTH), fmt.STRONG if differs else fmt.MUTED)
        for value, table in zip(values, begun, strict=True):
            cell_text = value if value == table.get(field, "-") else f"{value} *"
            text.append("  ").append(fmt.fitted(cell_text, cell), "bold yellow" if differs else "")
        rows.append(ListRow(text, field))
    return rows if len(rows) > 1 else [*rows, ListRow(Text("nothing differs", fmt.MUTED))]


def _flat(spec: ConfigModel | None) -> dict[str, str]:
    """Every field by its full name, as a person would type its value."""
    return {} if spec is None else dict(_leaves(to_table(spec), ""))


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}", "on" if value else "off"
        else:
            yield f"{prefix}{name}", escape_control(f"{value:g}" if isinstance(value, float) else str(value))
