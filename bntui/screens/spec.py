"""The resolved specs of the runs side by side, with differences marked."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, NamedTuple

from rich.cells import cell_len
from rich.text import Text
from textual.containers import Vertical
from textual.widget import Widget
from textual.widgets import Static

from bncore.config.base import ConfigModel
from bncore.config.controls import show_value
from bncore.config.errors import escape_control
from bncore.config.toml import to_table
from bncore.follow.groups import Group
from bncore.follow.run_view import RunView
from bntui.chart.palette import Palette
from bntui.context import PageContext
from bntui.live.snapshot import Snapshot
from bntui.screens.runs import RunsPage
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import Filter
from bntui.widgets.listing import Listing, ListRow

NAME_WIDTH, LEAST, MOST = 26, 6, 14
"""Maximum width of a field's name, and minimum and maximum width of a run's column, in cells. Columns may be
wider where all runs fit."""


class SpecPage(RunsPage):
    """A row for each field, a column for each run: current values, with applied requests included. Runs of a group
    that differ only in the seed share a column."""

    DEFAULT_CSS = """
    SpecPage #names { height: 1; }
    """
    TAB, FOCUS = "spec", "#fields"

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._only_differences = False
        self._first = 0
        """Index of the first column shown."""

    def body(self) -> Iterable[Widget]:
        with Vertical(id="settings", classes="titled"):
            yield Static(id="names", markup=False)
            yield Listing(id="fields")
        yield Filter()

    def show_page(self, snapshot: Snapshot) -> None:
        filtered, listing = self.query_one(Filter), self.query_one("#fields", Listing)
        marked = [view for view in snapshot.runs if view.run.path in self.selection.marked]
        runs = marked if len(marked) > 1 else self.selection.drawn(snapshot)
        table = spec_table(
            fmt.palette_of(self.app),
            self.as_listed(runs, snapshot),
            listing.size.width - 1,
            self._first,
            self._only_differences,
            groups=self.groups,
        )
        self._first = table.shown.start
        what = "Settings that differ" if self._only_differences else "Settings"
        whose = " of the marked runs" if runs is marked else ""
        part = fmt.part_of(table.shown, table.count, "run" if table.count == len(runs) else "column")
        self.query_one("#settings").border_title = f"{what}{whose}{part and f' · {part}'}"
        self.query_one("#names", Static).update(table.head)
        listing.show([row for row in table.rows if not row.key or filtered.passes(row.text.plain)])

    def action_differences(self) -> None:
        self._only_differences = not self._only_differences
        self.show_again()

    def action_shift_runs(self, by: int) -> None:
        self._first += by
        self.show_again()


@dataclass(frozen=True)
class SpecTable:
    """Fields of the columns that fit, with their values."""

    head: Text
    """Header with the names of runs or groups."""
    rows: list[ListRow]
    """A row for each field; ``*`` marks a value that a request has changed."""
    shown: range
    """Indices of the columns shown."""
    count: int
    """Number of columns, of which some may not fit."""


class _Column(NamedTuple):
    name: str
    style: int
    current: dict[str, str]
    initial: dict[str, str]


def spec_table(
    palette: Palette,
    runs: Sequence[RunView],
    width: int,
    first: int = 0,
    only_differences: bool = False,
    *,
    groups: Sequence[Group] = (),
) -> SpecTable:
    """The settings of runs side by side, from column `first` on, or from an earlier one if there is room.

    Arguments:
        groups: runs of one of these that differ only in the seed share a column.
    """
    columns = list(_columns(runs, groups))
    every = dict.fromkeys(name for column in columns for name in column.current)
    differing = {name for name in every if len({column.current.get(name, "-") for column in columns}) > 1}
    fields = [name for name in every if name in differing or not only_differences]
    cells = [
        [f"{one.current.get(f, '-')}{' *' * (one.current.get(f) != one.initial.get(f))}" for f in fields]
        for one in columns
    ]
    name_width = min(NAME_WIDTH, max(map(cell_len, fields), default=0))
    most = max(MOST, (width - name_width) // max(1, len(columns)) - 2)
    widths = [
        min(most, max(LEAST, *map(cell_len, (one.name, *texts))))
        for one, texts in zip(columns, cells, strict=True)
    ]
    shown = _that_fit(widths, width - name_width, first)
    head = Text(" " * name_width)
    for index in shown:
        name = fmt.fitted(columns[index].name, widths[index])
        head.append("  ").append(name, fmt.color(palette, columns[index].style))
    rows = []
    for row, field in enumerate(fields):
        differs = field in differing
        text = Text(fmt.fitted(field, name_width), fmt.STRONG if differs else fmt.MUTED)
        for index in shown:
            value = fmt.fitted(cells[index][row], widths[index])
            text.append("  ").append(value, "bold yellow" if differs else "")
        rows.append(ListRow(text, field))
    return SpecTable(head, rows or [ListRow(Text("nothing differs", fmt.MUTED))], shown, len(columns))


def _columns(runs: Sequence[RunView], groups: Sequence[Group]) -> Iterator[_Column]:
    name_of = {view.run.path: group.name for group in groups for view in group.runs}
    together: dict[tuple[object, ...], list[_Column]] = {}
    for view in runs:
        current = _flat(view.spec or view.settings) | _controls(view)
        initial = _flat(view.settings) | _controls(view) | _declared(view)
        same = [item for item in (*current.items(), *initial.items()) if item[0] != "seed"]
        group = name_of.get(view.run.path) if "seed" in current else None
        key: tuple[object, ...] = (view.run.path,) if group is None else (group, *same)
        together.setdefault(key, []).append(_Column(view.name, view.style, current, initial))
    for key, columns in together.items():
        first = columns[0]
        if len(columns) > 1:
            seed = {"seed": fmt.ranges(int(one.current["seed"]) for one in columns)}
            first = _Column(str(key[0]), first.style, first.current | seed, first.initial | seed)
        yield first


def _that_fit(widths: Sequence[int], room: int, first: int) -> range:
    """Indices of the columns that fit, at least one, from `first` on or from an earlier one if there is room."""
    ends = list(accumulate(width + 2 for width in widths))
    latest = next(
        (i for i in range(len(widths)) if ends[-1] - (ends[i - 1] if i else 0) <= room), len(widths) - 1
    )
    start = max(0, min(first, latest))
    before = ends[start - 1] if start else 0
    count = sum(end - before <= room for end in ends[start:])
    return range(start, min(len(widths), start + max(1, count)))


def _controls(view: RunView) -> dict[str, str]:
    """Current values of an observed loop's controls."""
    return {f"control.{one.name}": show_value(one.value) for one in view.controls or ()}


def _declared(view: RunView) -> dict[str, str]:
    """Declared values of an observed loop's controls, as far as the journal has been read."""
    events = (event.get("control") for event in view.columns.events if event["type"] == "control")
    declared = (one for one in events if isinstance(one, dict))
    return {f"control.{one.get('name')}": show_value(one.get("value")) for one in declared}


def _flat(spec: ConfigModel | None) -> dict[str, str]:
    """Every field by its dotted path, with its value as a person would type it."""
    return {} if spec is None else dict(_leaves(to_table(spec), ""))


def _leaves(table: Mapping[str, Any], prefix: str) -> Iterable[tuple[str, str]]:
    for name, value in table.items():
        if isinstance(value, Mapping):
            yield from _leaves(value, f"{prefix}{name}.")
        elif isinstance(value, bool):
            yield f"{prefix}{name}", "on" if value else "off"
        else:
            yield f"{prefix}{name}", escape_control(f"{value:g}" if isinstance(value, float) else str(value))
