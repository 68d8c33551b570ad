"""The first screen: every run under the root, newest sweep first, and the available presets."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import ClassVar

from rich.cells import cell_len
from rich.text import Text
from textual import on, work
from textual.binding import BindingType
from textual.widget import Widget

from bncore.config.errors import escape_control
from bncore.follow.estimate import duration
from bncore.follow.query import Query
from bncore.follow.run_view import RunView
from bncore.store.errors import StoreError
from bncore.store.paths import SweepDir
from bntui.actions import EVERYWHERE, HOME, bindings
from bntui.chart.palette import Palette
from bntui.context import PageContext
from bntui.live.snapshot import Snapshot, SweepView
from bntui.screens.page import Page
from bntui.screens.start import PresetView, Start, presets
from bntui.steering.send import start_preset
from bntui.widgets import formatting as fmt
from bntui.widgets.filter import FilterHint, QueryFilter
from bntui.widgets.line import Segment
from bntui.widgets.listing import Listing, ListRow

FINISHED = frozenset({"finished", "diverged"})
SPARK = 16
"""Width of a run's loss sparkline, in cells."""


class HomePage(Page):
    """Runs above, presets below; Tab switches between them, Enter opens a run or starts a preset."""

    DEFAULT_CSS = """
    HomePage Listing:focus { border: round $primary; }
    HomePage #presets { height: auto; max-height: 45%; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(HOME)
    SCOPES: ClassVar[tuple[str, ...]] = (HOME, EVERYWHERE)

    def __init__(self, context: PageContext) -> None:
        super().__init__(context)
        self._presets: tuple[PresetView, ...] = ()
        self._matching = 0
        """Number of runs that match the query."""

    def body(self) -> Iterable[Widget]:
        yield Listing(id="all-runs", classes="titled")
        yield Listing(id="presets", classes="titled")
        yield QueryFilter()
        yield FilterHint()

    def on_mount(self) -> None:
        self.query_one("#presets").border_title = "Presets"
        if not self.context.settings.read_only:
            self.query_one("#presets").border_subtitle = "Enter starts one in the background"
        self.query_one("#all-runs", Listing).focus()
        self.query_one(QueryFilter).restore(self.context.query)
        self._read_presets()

    @work(thread=True)
    def _read_presets(self) -> None:
        self.app.call_from_thread(self._show_presets, presets())

    def _show_presets(self, views: tuple[PresetView, ...]) -> None:
        self._presets = views
        self.show_again()
        if not self._listing.rows or not self._listing.key:
            self.query_one("#presets", Listing).focus()

    @property
    def _listing(self) -> Listing:
        return self.query_one("#all-runs", Listing)

    def heading(self) -> tuple[list[Segment], list[Segment]]:
        root = escape_control(str(self.context.settings.root))
        left = [Segment(Text("bntui", fmt.STRONG)), Segment(Text(f"runs under {root}", fmt.MUTED), 3)]
        snapshot = self.snapshot
        right = [Segment(Text(label, "bold yellow"), 1) for label in self.context.labels()]
        if self.context.feed.failure:
            right.append(Segment(Text(self.context.feed.failure, "red")))
        if snapshot is None:
            return left, [*right, Segment(Text("reading …", fmt.MUTED))]
        if snapshot.problem:
            right.append(Segment(Text(snapshot.problem, "red")))
        if not snapshot.complete:
            right.append(Segment(Text("reading …", fmt.MUTED), 2))
        live = sum(view.state == "running" for view in snapshot.runs)
        shown = f"{self._matching} of " if self.query_one(QueryFilter).valid.text else ""
        right.append(Segment(Text(f"{shown}{len(snapshot.runs)} runs", fmt.MUTED), 2))
        return left, right + ([Segment(Text(f"● {live} running", "green"), 1)] if live else [])

    def show_again(self) -> None:
        super().show_again()
        if not self.is_mounted:
            return
        filtered, width = self.query_one(QueryFilter), self.app.size.width
        self.context.query = filtered.value
        self.query_one(FilterHint).show(filtered, width)
        if self._presets:
            rows = preset_rows(self._presets, filtered.valid, width - 4)
            self.query_one("#presets", Listing).show(rows)

    def show(self, snapshot: Snapshot) -> None:
        palette = fmt.palette_of(self.app)
        width = self._listing.size.width - 2
        filtered = self.query_one(QueryFilter)
        filtered.views = snapshot.runs
        self.context.feed.require(filtered.valid.enough)
        rows = root_rows(palette, snapshot, self.selection.marked, filtered.valid, width)
        self._matching = len({row.key for row in rows} & {str(view.run.path) for view in snapshot.runs})
        nothing = "no runs yet: choose a preset below and press Enter"
        if snapshot.runs:
            nothing = f"no run matches {escape_control(filtered.valid.text)}"
        query = f": {escape_control(filtered.valid.text)}" if filtered.valid.text else ""
        self._listing.border_title = Text(f"Runs{query}")
        self._listing.show(rows or [ListRow(Text(nothing, fmt.MUTED))])

    def focus_page(self) -> None:
        self._listing.focus()

    def action_mark(self) -> None:
        if self._listing.key:
            self.selection.marked.symmetric_difference_update(self._paths(self._listing.key))
            self.show_again()

    def action_compare_marked(self) -> None:
        marked = self.selection.marked
        runs = [view.run for view in self.runs if view.run.path in marked]
        if len(runs) < 2:
            self.notice(f"mark at least two runs with {self.context.key('home.mark')}", "yellow")
        else:
            self.context.navigator.open_runs(runs, "compare")

    @on(Listing.Chosen, "#all-runs")
    def _opened(self, event: Listing.Chosen) -> None:
        paths = self._paths(event.key)
        sweep = Path(event.key) if Path(event.key) not in paths else Path(event.key).parent
        filtered_out = self._paths(str(sweep)) - {Path(row.key) for row in self._listing.rows}
        self.context.navigator.open_runs([SweepDir(sweep)])
        self.selection.hidden |= filtered_out
        if Path(event.key) in paths:
            self.selection.selected = Path(event.key)

    @on(Listing.Chosen, "#presets")
    def _preset_chosen(self, event: Listing.Chosen) -> None:
        if self.context.settings.read_only:
            self.notice("read-only: no preset can be started", "yellow")
            return
        preset = next(preset for preset in self._presets if preset.name == event.key)
        self.ask(Start(preset), partial(self._start, preset.name))

    @work(thread=True, group="starting")
    def _start(self, name: str, options: Sequence[str]) -> None:
        self.app.call_from_thread(self.notice, f"starting {name} …")
        try:
            sweep = SweepDir(start_preset(name, options, self.context.settings.root))
        except StoreError as error:
            self.app.call_from_thread(self.notice, f"not started: {error}", "red")
            return
        self.app.call_from_thread(self._started, sweep)

    def _started(self, sweep: SweepDir) -> None:
        if self.app.screen is self:  # the user may have left this screen meanwhile
            self.context.navigator.open_runs([sweep])

    def _paths(self, key: str) -> set[Path]:
        """Paths of the runs that a row stands for: its run, or all runs of its sweep."""
        return {view.run.path for view in self.runs if Path(key) in (view.run.path, view.run.path.parent)}


def root_rows(
    palette: Palette, snapshot: Snapshot, marked: set[Path], query: Query, width: int
) -> list[ListRow]:
    """A row for each sweep, newest first, followed by a row for each of its runs that match the query."""
    rows: list[ListRow] = []
    names = max((cell_len(view.name) for view in snapshot.runs), default=0)
    name_width = min(names, max(12, min(32, width - 50)))
    by_sweep: dict[Path, list[RunView]] = {}
    for view in snapshot.runs:
        by_sweep.setdefault(view.run.path.parent, []).append(view)
    for sweep in reversed(snapshot.sweeps):
        views = by_sweep.get(sweep.sweep.path, [])
        head = ListRow(_sweep_row(sweep, views), str(sweep.sweep.path))
        runs = []
        for view in views:
            text = _run_row(palette, view, view.run.path in marked, name_width, width)
            if query.matches(view, f"{head.text.plain} {text.plain}"):
                runs.append(ListRow(text, str(view.run.path)))
        if runs or (not views and query.matches_text(head.text.plain)):
            rows += [head, *runs]
    return rows


def _sweep_row(sweep: SweepView, views: Sequence[RunView]) -> Text:
    text = Text().append(sweep.name, fmt.STRONG)
    if sweep.figure:
        text.append(f"  Fig {sweep.figure}", fmt.MUTED)
    done = sum(view.state in FINISHED for view in views)
    text.append(f"  {done} of {len(views)} finished", fmt.MUTED)
    if sweep.state == "dead":
        text.append("  † its supervisor is gone; `bnrun resume` restarts it", "red")
    return text.append(f"  {sweep.title}", fmt.MUTED)


def _run_row(palette: Palette, view: RunView, marked: bool, name_width: int, width: int) -> Text:
    text = Text(" ◆ " if marked else "   ").append_text(fmt.badge(palette, view.style))
    text.append(" ").append(fmt.fitted(view.name, name_width)).append(" ")
    state = fmt.state_word(view.state)
    text.append_text(state).append(" " * max(1, 12 - state.cell_len))
    text.append(f"{fmt.short_count(view.step):>5}")
    text.append(f"{fmt.percent(fmt.fraction_of(view)):>6}  ", fmt.MUTED)
    losses = view.columns.series("step", "loss").values[-512:]
    line = fmt.sparkline(losses.tolist(), SPARK) if width >= 90 else ""
    text.append(f"{line:<{SPARK}}  " if width >= 90 else "", fmt.color(palette, view.style))
    for label, table, field, scale, form in (
        ("loss", "step", "loss", 1, "{:<8.3g}"),
        ("test acc", "eval", "test_accuracy", 100, "{:>5.1f} %"),
    ):
        value = view.newest(table, field)
        if value is not None and text.cell_len + len(label) + 9 <= width:
            text.append(f"{label} ", fmt.MUTED).append(form.format(scale * value)).append("  ")
    if view.state == "running" and view.eta_s is not None:
        text.append("ETA ", fmt.MUTED).append(duration(view.eta_s))
    return text.append(view.message, "red" if view.state in ("dead", "failed") else fmt.MUTED)


def preset_rows(presets: Sequence[PresetView], query: Query, width: int) -> list[ListRow]:
    """A row for each preset: name, figure, title and, if there is room, its variants. A query with conditions
    beyond words concerns runs only and filters no presets."""
    rows = []
    for preset in presets:
        figure = fmt.fitted(preset.figure and f"Fig {preset.figure}", 11)
        text = Text(fmt.fitted(preset.name, 20)).append(f" {figure}  ", fmt.MUTED).append(preset.title)
        if width > 110:
            text.append(f"   {' '.join(preset.variants)}", fmt.MUTED)
        if query.matches_text(text.plain) or not query.of_words:
            rows.append(ListRow(text, preset.name))
    return rows
