"""The sidebar with the runs: their states, the settings of the selected one, and the changes made to them."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator, Sequence

from rich.cells import cell_len
from rich.text import Text
from textual.app import ComposeResult
from textual.containers import Vertical
from textual.widgets import Static

from bncore.config.measure import Band
from bncore.follow.estimate import duration
from bncore.follow.groups import Group, short_name, styles_of
from bntui.chart.grid import fitted_title
from bntui.chart.palette import Palette
from bntui.chart.reading import Reading, position_text
from bntui.chart.ticks import exact
from bntui.context import Selection
from bntui.live.grouping import Grouping
from bntui.live.marks import common, numbered
from bntui.live.snapshot import Snapshot
from bntui.widgets import formatting as fmt
from bntui.widgets.line import Line, Segment, length
from bntui.widgets.listing import Listing, ListRow, wrapped

DETAIL_WIDTH = 32
CHANGE_INDENT = 10
"""Indent of a change's continuation rows: the column at which the first row's summary begins."""
SHORT: dict[Band, str] = {
    "interval": "mean, 95 % interval", "range": "mean, min-max", "quartiles": "mean, quartiles",
    "deviation": "mean ± 1 sd", "envelope": "min-max",
}  # fmt: skip
"""What each band shows, as titles name it."""


class Sidebar(Vertical):
    """List of runs, details of the selected one, readings at the crosshair, and changes, from top to bottom."""

    DEFAULT_CSS = """
    Sidebar { width: 38; height: 1fr; }
    Sidebar > #runs { height: auto; min-height: 3; max-height: 45%; }
    Sidebar > #selected { height: auto; max-height: 11; }
    Sidebar > #readings { height: auto; max-height: 60%; display: none; }
    Sidebar > #changes { height: 1fr; min-height: 3; }
    """

    def __init__(self) -> None:
        super().__init__()
        self._shape: tuple[int, str] | None = None
        """Number of lines and message that determine the height of the details."""
        self._shown: tuple[Snapshot, Selection, Sequence[Group], Grouping | None] | None = None

    def compose(self) -> ComposeResult:
        yield Listing(id="runs", focusable=False, classes="titled")
        yield Static(id="selected", markup=False, classes="titled")
        yield Listing(id="readings", focusable=False, classes="titled")
        yield Listing(id="changes", follows=True, focusable=False, classes="titled")

    def on_mount(self) -> None:
        self.query_one("#runs").border_title = "Runs"
        self.query_one("#changes").border_title = "Changes"

    def show(
        self, snapshot: Snapshot, selection: Selection, groups: Sequence[Group], grouping: Grouping | None
    ) -> None:
        """Show the runs of a snapshot, grouped."""
        self._shown = snapshot, selection, groups, grouping
        palette = fmt.palette_of(self.app)
        runs = self.query_one("#runs", Listing)
        full = len(groups) > runs.size.height > 0
        width = self.size.width - 4 - (runs.styles.scrollbar_size_vertical if full else 0)
        runs.show(
            [ListRow(row_of(palette, one, selection, width), str(one.runs[0].run.path)) for one in groups]
        )
        runs.border_title = "Runs" if grouping is None else title_of(grouping)
        group = selection.group(groups)
        runs.key = str(group.runs[0].run.path) if group else ""
        panel = self.query_one("#selected", Static)
        panel.display = group is not None
        if group is not None:
            panel.border_title = Text(fmt.fitted(group.name, min(cell_len(group.name), 30)))
            lines = details(group)
            message = group.runs[0].message if len(group.runs) == 1 else ""
            shape = (len(lines), message)  # only the message may wrap; layout costs as much as two charts
            panel.update(Text("\n").join(lines), layout=shape != self._shape)
            self._shape = shape
        changes = self.query_one("#changes", Listing)
        rows = change_rows(palette, snapshot, selection, groups)
        console, width = self.app.console, changes.text_width
        rows = rows or [ListRow(Text("none", fmt.MUTED))]
        changes.show([line for row in rows for line in wrapped(row, width, console, CHANGE_INDENT)])

    def read(self, title: str, at: float, readings: Sequence[tuple[Reading, Reading | None]]) -> None:
        """Show the readings of a chart's curves at the crosshair, in the order of the runs; hidden if there are
        none."""
        panel = self.query_one("#readings", Listing)
        panel.display = bool(readings)
        if readings and self._shown is not None:
            panel.border_title = Text(fitted_title(title, DETAIL_WIDTH))
            palette, width = fmt.palette_of(self.app), self.size.width - 5
            _, selection, groups, _ = self._shown
            keys = {group.style: str(group.runs[0].run.path) for group in groups}
            order = {style: index for index, style in enumerate(keys)}
            readings = sorted(readings, key=lambda one: order.get(one[0].style, len(order)))
            panel.show(
                [
                    ListRow(text, keys.get(one[0].style, ""))
                    for one in readings
                    for text in reading_rows(palette, at, *one, width)
                ]
            )
            selected = selection.group(groups)
            panel.key = keys[selected.style] if selected else ""

    def scroll_list(self, by: int) -> None:
        """Scroll the readings at the crosshair, or without a crosshair the changes, by `by` pages."""
        readings = self.query_one("#readings", Listing)
        listing = readings if readings.display else self.query_one("#changes", Listing)
        listing.scroll_relative(y=by * max(1, listing.size.height - 1), animate=False)

    def on_resize(self) -> None:
        """Fit the rows to the current width: they may have been laid out while hidden."""
        if self._shown is not None:
            self.show(*self._shown)


class RunLine(Line):
    """The runs in one line, for narrow terminals."""

    def show(self, groups: Sequence[Group], selection: Selection) -> None:
        """Show the runs of a snapshot, grouped. The selected group is always shown; where others are dropped, its
        position, such as 3 of 8, is added."""
        palette = fmt.palette_of(self.app)
        parts, selected = [], selection.group(groups)
        for index, group in enumerate(groups):
            is_selected = group is selected
            text = Text("★" if selection.is_reference(group) else "")
            text.append_text(fmt.badge(palette, group.style)).append(" ")
            hidden = all(view.run.path in selection.hidden for view in group.runs)
            text.append(named(group, selection), "dim strike" if hidden else fmt.color(palette, group.style))
            text.append(f" {fmt.percent(fmt.fraction_of(*group.runs)).replace(' ', '')}", fmt.MUTED)
            state = state_of(group)
            if state != "running":
                text.append(" ").append_text(fmt.state_sign(state))
            if is_selected:
                text.stylize("reverse")
            parts.append(Segment(text, 0 if is_selected else 1 + index))
        which = f"{groups.index(selected) + 1} of {len(groups)}" if selected is not None else ""
        self.say(parts, [Segment(Text(which, fmt.MUTED))] if length(parts) > self.room else [])


class ChangeLine(Line):
    """The newest change in one line, for narrow terminals."""

    def show(self, snapshot: Snapshot, selection: Selection, groups: Sequence[Group]) -> None:
        """Show the newest change of the snapshot or, if charts number their changes, as many of them as fit."""
        rows = change_rows(fmt.palette_of(self.app), snapshot, selection, groups)
        self.set_class(not rows, "empty")
        numbers = numbered(selection.shown(snapshot), selection.marks)
        if numbers:
            texts = [
                Text().append(f"{number} ", fmt.STRONG).append(f"{text} @{step:,}", fmt.MUTED)
                for (step, text), number in numbers.items()
            ]
            self.say([Segment(text, 1) for text in texts])
        elif rows:
            self.say([Segment(rows[-1].text)], [Segment(Text(f"{len(rows)} changes", fmt.MUTED), 1)])


def title_of(grouping: Grouping) -> str:
    """A grouping as a title: ``By variant · mean, 95 % interval``."""
    by = ", ".join(map(short_name, grouping.by)) or "variant"
    return f"By {by} · {SHORT[grouping.band]}"


def named(group: Group, selection: Selection) -> str:
    """The group's name, with the number of runs if there are several: ``×5``, or ``×3/5`` if two are hidden."""
    shown = sum(view.run.path not in selection.hidden for view in group.runs)
    part = f"{shown}/" if 0 < shown < len(group.runs) else ""
    return f"{group.name} ×{part}{len(group.runs)}" if len(group.runs) > 1 else group.name


def state_of(group: Group) -> str:
    """The state shared by all runs, else that of the run with the most work remaining."""
    states = {view.state for view in group.runs}
    return states.pop() if len(states) == 1 else fmt.state_of_all(states)


def row_of(palette: Palette, group: Group, selection: Selection, width: int) -> Text:
    """A group in one row: marked, pinned and hidden flags, line sample, name, state and progress."""
    paths = {view.run.path for view in group.runs}
    text = (
        Text("◆" if paths <= selection.marked else " ")
        .append("★" if selection.is_reference(group) else " ")
        .append_text(fmt.badge(palette, group.style))
        .append(" ")
    )
    percent = fmt.percent(fmt.fraction_of(*group.runs)).replace(" ", "")
    progress = f"{fmt.short_count(max(view.step for view in group.runs)):>5} {percent:>4}"
    state = state_of(group)
    if state == "queued":
        progress = f"{'queued':>10}"
    name = fmt.fitted(named(group, selection), max(4, width - 6 - 3 - len(progress)))
    text.append(name, "dim strike" if paths <= selection.hidden else "")
    return text.append(" ").append_text(fmt.state_sign(state)).append(f" {progress}", fmt.MUTED)


def reading_rows(
    palette: Palette, at: float, drawn: Reading, raw: Reading | None, width: int
) -> Iterator[Text]:
    """A curve's name and value at the crosshair, followed by any details: band, noise floor, raw value, best
    value, first step at which it is as good as the selected curve here, and the position of the measurement, or of
    the last one, if different."""
    reached = math.isfinite(drawn.x)
    value = drawn.value if reached else "-"
    head = fmt.badge(palette, drawn.style).append(" ")
    head.append(fmt.fitted(drawn.name, max(4, width - 5 - cell_len(value))), fmt.color(palette, drawn.style))
    yield head.append(f" {value}", fmt.STRONG)
    floor = [f"± {exact(drawn.floor)}"] if drawn.floor is not None and math.isfinite(drawn.floor) else []
    rows = [[*_band(drawn), *floor]]
    if raw is not None and raw.is_line and reached:
        rows.append([f"raw {exact(raw.low)}", *_band(raw)])
    if drawn.best is not None:
        rows.append([f"best {exact(drawn.best[1])} at {position_text(drawn.best[0])}"])
    if drawn.reached is not None and drawn.reached[0] != drawn.x:
        step, level = drawn.reached
        reached_text = f"reaches {exact(level)} at {position_text(step)}"
        rows.append([f"never reaches {exact(level)}" if math.isnan(step) else reached_text])
    if drawn.end is not None:
        rows.append([f"last measured at {position_text(drawn.end)}"])
    if reached and position_text(drawn.x) != position_text(at):
        rows.append([f"measured at {position_text(drawn.x)}"])
    for row in filter(None, rows):
        yield Text(fmt.fitted("   " + "  ".join(row), width), fmt.MUTED)


def _band(reading: Reading) -> list[str]:
    low, high = reading.band or (0.0, 0.0)
    return [f"[{exact(low)}, {exact(high)}]"] if low < high else []


def details(group: Group) -> list[Text]:
    """Details of the selected group: state or number of runs in each state, progress, rate, and settings."""
    view, several = group.runs[0], len(group.runs) > 1
    fraction = fmt.fraction_of(*group.runs)
    states = Counter(one.state for one in group.runs)
    seeds = fmt.ranges(one.seed for one in group.runs)
    head = fmt.state_word(state_of(group))
    if len(states) > 1:
        head = Text(", ".join(f"{count} {state}" for state, count in states.most_common()))
    step = sum(one.step for one in group.runs) // len(group.runs)
    of = f" / {view.steps:,}" if view.steps else ""
    lines = [
        head.append(f"  seed{'s' if several else ''} {seeds}", fmt.MUTED),
        Text(f"{step:,}{of}{' on average' if several else ''}").append(
            f"  {fmt.percent(fraction)}", fmt.MUTED
        ),
        fmt.bar(fraction, DETAIL_WIDTH, "green" if "running" in states else ""),
    ]
    if states.keys() & {"running", "paused"}:
        going = [one for one in group.runs if one.state == ("running" if "running" in states else "paused")]
        rates = [one.rate for one in going if one.rate is not None]
        etas = [one.eta_s for one in going if one.eta_s is not None]
        rate = fmt.rate(sum(rates) if rates else None)
        lines.append(fmt.pairs_of((("rate", rate), ("ETA", duration(max(etas, default=None))))))
    lines += fmt.held(group.runs, DETAIL_WIDTH)
    if view.message and not several:
        lines.append(Text(view.message, "yellow" if view.state in ("running", "stopped") else "red"))
    return lines


def change_rows(
    palette: Palette, snapshot: Snapshot, selection: Selection, groups: Sequence[Group]
) -> list[ListRow]:
    """A row for each change, with its number if charts mark it by number."""
    numbers, rows = numbered(selection.shown(snapshot), selection.marks), []
    style_of = styles_of(groups)
    for request, views in fmt.changes(snapshot):
        style_index = common({style_of[view] for view in views})
        style = "" if style_index is None else fmt.color(palette, style_index)
        text = fmt.request_line(request, fmt.targets_text(views, groups), style)
        number = numbers.get((request.step or 0, request.summary)) if request.outcome == "applied" else None
        head = Text().append(f"{number or '':>2} " if numbers else "", fmt.STRONG)
        rows.append(ListRow(head.append_text(text)))
    return rows
