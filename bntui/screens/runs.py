"""Base class of the screens about runs: sidebar, heading, crosshair and view."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any, ClassVar, TypeVar

from rich.text import Text
from textual import on
from textual.app import ComposeResult
from textual.binding import BindingType
from textual.containers import Horizontal, Vertical

from bncore.config.errors import escape_control
from bncore.follow.groups import styles_of
from bncore.follow.run_view import RunView
from bncore.report.paper import FOLDER
from bncore.store.problems import fidelity_problem, first_failures
from bntui.actions import EVERYWHERE, RUNS, bindings, page_keys
from bntui.chart.plot import Plot
from bntui.chart.ticks import exact
from bntui.chart.view import span_of
from bntui.chart.widget import Chart
from bntui.live.drawing import BY_TABLE, PanelState, chosen_layer, measured_layers
from bntui.live.grouping import Grouping
from bntui.live.marks import MARKS, numbered
from bntui.live.snapshot import Snapshot
from bntui.screens.dialog import Ask, place_of
from bntui.screens.page import heading
from bntui.screens.steering import SteeringPage
from bntui.widgets import formatting as fmt
from bntui.widgets.charts import RunPlots
from bntui.widgets.line import KeyLine, Line, Segment
from bntui.widgets.listing import Listing
from bntui.widgets.sidebar import ChangeLine, RunLine, Sidebar
from bntui.widgets.steering_bar import SteeringBar

AnyPlot = TypeVar("AnyPlot", bound=Plot)
WIDE, HIGH = 110, 20
"""Minimum terminal size for the sidebar beside the charts."""


class RunsPage(SteeringPage):
    """A screen about the watched runs."""

    DEFAULT_CSS = """
    RunsPage > Horizontal { height: 1fr; }
    RunsPage RunLine, RunsPage ChangeLine { display: none; }
    RunsPage.narrow RunLine, RunsPage.narrow ChangeLine { display: block; }
    RunsPage.narrow Sidebar, RunsPage ChangeLine.empty { display: none; }
    RunsPage #page { width: 1fr; height: 1fr; }
    """
    BINDINGS: ClassVar[list[BindingType]] = bindings(RUNS)
    TAB: ClassVar[str] = ""
    """Name of the page's scope in the table of actions."""
    FOCUS: ClassVar[str] = ""
    """Selector of the widget to focus."""

    def __init_subclass__(cls, **settings: Any) -> None:
        cls.BINDINGS, cls.SCOPES = bindings(cls.TAB), (cls.TAB, RUNS, EVERYWHERE)
        super().__init_subclass__(**settings)

    def compose(self) -> ComposeResult:
        yield Line(id="heading")
        yield RunLine(id="runline")
        with Horizontal():
            yield Sidebar()
            with Vertical(id="page"):
                yield from self.body()
        yield ChangeLine(id="changeline")
        yield SteeringBar()
        yield KeyLine()

    def on_screen_resume(self) -> None:
        for plot in self._plots():
            self._align(plot)

    @on(RunPlots.Resized)
    def _room_changed(self) -> None:
        if not self.is_tiny:
            self.query_one("#heading", Line).say(*self.heading())

    @on(Plot.FirstData)
    def _first_data(self, event: Plot.FirstData) -> None:
        self._align(event.plot)
        self.pointed()

    @on(Plot.CrosshairMoved)
    def _crosshair(self, event: Plot.CrosshairMoved) -> None:
        for plot in self._beside(event.plot):
            plot.crosshair = event.x
        if event.plot.x_name == "step":
            self.selection.step = event.x
        self.pointed()

    @on(Plot.ViewChanged)
    def _view_changed(self, event: Plot.ViewChanged) -> None:
        for plot in self._beside(event.plot):
            plot.set_view(event.x)
        if event.plot.x_name == "step":
            self.selection.span = event.x

    def _beside(self, plot: Plot) -> list[Plot]:
        """The other plots with the same x axis."""
        return [one for one in self._plots() if one is not plot and one.x_name == plot.x_name]

    def _plots(self) -> list[Plot]:
        return [one for one in self.query("Plot") if isinstance(one, Plot)]

    def _align(self, plot: Plot) -> None:
        """Give a plot over steps the crosshair and x range of the other pages."""
        if plot.x_name == "step":
            plot.crosshair = self.selection.step
            plot.set_view(self.selection.span)

    def pointed(self) -> None:
        """Update what depends on the crosshair."""

    def show_again(self) -> None:
        size = self.app.size
        self.set_class(size.width < WIDE or size.height < HIGH, "narrow")
        super().show_again()

    def show(self, snapshot: Snapshot) -> None:
        run = self.selection.run(snapshot)
        self.selection.selected = run.run.path if run is not None else None
        groups = self.groups
        self.query_one(Sidebar).show(snapshot, self.selection, groups, self.grouping)
        self.query_one(RunLine).show(groups, self.selection)
        self.query_one(ChangeLine).show(snapshot, self.selection, groups)
        self.query_one(SteeringBar).update(snapshot, groups)
        self.show_page(snapshot)
        self._warn(snapshot)

    def _warn(self, snapshot: Snapshot) -> None:
        """Warn once about each probe failure and each fidelity problem."""
        views = snapshot.runs
        texts = [f"{view.name}: {failure}" for view in views for failure in first_failures(view.columns)]
        new = [text for text in texts if text not in self.context.warned]
        self.context.warned.update(new)
        for view in views:
            once = f"{view.run.path}: fidelity"
            if once not in self.context.warned and (problem := fidelity_problem(view.columns)):
                self.context.warned.add(once)
                new.append(f"{view.name}: {problem}")
        if new:
            self.notice("; ".join(new), "yellow")

    def show_page(self, snapshot: Snapshot) -> None:
        """Show the page's own widgets."""

    def as_listed(self, views: Iterable[RunView], snapshot: Snapshot) -> list[RunView]:
        """The runs, each with the style of its group in the sidebar."""
        style_of = styles_of(self.groups)
        return [replace(view, style=style_of[view]) for view in views]

    @property
    def grouping(self) -> Grouping | None:
        """How runs are grouped in charts; None draws single runs."""
        return self.context.grouping(self.snapshot) if self.snapshot else None

    def panel_state(self) -> PanelState:
        selection = self.selection
        figure = self.snapshot.sweeps[0].figure if self.snapshot and self.snapshot.sweeps else ""
        reference = FOLDER if selection.paper else None
        return PanelState(
            selection.layer,
            selection.step,
            reference,
            self.grouping,
            selection.axis,
            selection.reference or (selection.selected if self.app.no_color else None),
            numbered(selection.shown(self.snapshot), selection.marks) if self.snapshot else {},
            selection.marks == "hidden",
            figure,
        )

    def heading(self) -> tuple[list[Segment], list[Segment]]:
        failure = self.context.feed.failure
        if failure and self.snapshot is None:
            return [Segment(Text("bntui", fmt.MUTED), 8), Segment(Text(failure, "red"))], []
        playback = self.context.feed.playback is not None
        width, labels = self.app.size.width, self.context.labels()
        keys = page_keys(self.context.actions)
        left, right = heading(self.snapshot, self.TAB, width, labels, keys, playback=playback)
        plots = self.query(RunPlots).first() if self.snapshot and self.query(RunPlots) else None
        if plots is not None and self.snapshot is not None:
            part = plots.part(self.selection.drawn(self.snapshot), self.selection.run(self.snapshot))
            right = [Segment(Text(part), 1), *right] if part else right
        return left, right

    def action_view(self, name: str) -> None:
        self.context.navigator.view_page(name)

    def go_back(self) -> None:
        pointed = [plot for plot in self._plots() if plot.crosshair is not None]
        if pointed:
            pointed[0].action_crosshair()
        elif self.TAB == "sweep":
            self.context.navigator.go_home()
        else:
            self.context.navigator.view_page("sweep")

    @property
    def has_before(self) -> bool:
        """Whether `go_back` does anything: the main page of a recorded sweep has no page before it."""
        pointed = any(plot.crosshair is not None for plot in self._plots())
        return pointed or self.TAB != "sweep" or not self.context.settings.demo

    def action_select(self, by: int) -> None:
        self.selection.move(self.groups, by)
        self.show_again()

    def action_scroll_side(self, by: int) -> None:
        self.query_one(Sidebar).scroll_list(by)

    def action_mark(self) -> None:
        self._toggle(self.selection.marked)

    def action_hide(self) -> None:
        group = self.selection.group(self.groups)
        if group is not None and self.selection.is_reference(group):
            self.notice(f"{group.name} is the reference: r unpins it", "yellow")
        else:
            self._toggle(self.selection.hidden)

    def action_isolate(self) -> None:
        selection, group = self.selection, self.selection.group(self.groups)
        if selection.hidden:
            selection.hidden.clear()
        elif group is not None:
            chosen = selection.marked or {view.run.path for view in group.runs}
            selection.hidden.update({view.run.path for view in self.runs} - chosen)
        self.show_again()

    def action_reference(self) -> None:
        group = self.selection.group(self.groups)
        if group is not None:
            pinned = self.selection.is_reference(group)
            self.selection.reference = None if pinned else self.selection.selected
            self.selection.hidden.difference_update(view.run.path for view in group.runs)
            self.show_again()
            self.notice(f"{group.name}: {'no longer ' if pinned else ''}the reference")

    def action_y_range(self) -> None:
        chart = self._current(self.query(Chart))
        if chart is None:
            return
        log, now = chart.data.log_y, " ".join(map(exact, chart.view.y or ()))
        title, expected = f"y range: {chart.data.title}", "smallest largest; empty: automatic"
        question = Ask(title, now, expected, lambda text: span_of(text, log=log))
        self.ask(question, lambda answer: chart.set_y(*answer))

    def action_go_to(self) -> None:
        plot = self._current(self._plots())
        if plot is not None:
            expected = "5000: the crosshair goes there; 0:5000: what is shown"
            question = Ask(f"go to {plot.x_name}", "", expected, place_of)
            # after the plots have been aligned
            self.ask(question, lambda answer: self.call_after_refresh(plot.go_to, *answer))

    def _current(self, plots: Iterable[AnyPlot]) -> AnyPlot | None:
        """The focused plot, else the first one shown."""
        shown = [plot for plot in plots if plot.display]
        return next((plot for plot in shown if plot is self.focused), next(iter(shown), None))

    def action_marks(self) -> None:
        names, state = list(MARKS), self.panel_state()
        now = self.selection.marks or ("numbers" if state.numbers else "labels")
        self.selection.marks = names[(names.index(now) + 1) % len(names)]
        self.show_again()
        self.notice(f"events in charts: {MARKS[self.selection.marks]}")

    def action_layer(self, by: int) -> None:
        numbers = self._layers()
        middles = [chosen_layer(self.runs, measure, self.panel_state()) for measure in BY_TABLE.values()]
        layer = next((middle for middle in middles if middle is not None), None)
        if numbers and layer is not None:
            self.selection.layer = min(numbers[-1], max(numbers[0], layer + by))
            self.show_again()

    def action_layer_at(self) -> None:
        numbers = self._layers()
        if not numbers:
            return

        def measured_layer(text: str) -> int:
            if text.strip() not in map(str, numbers):
                raise ValueError(f"expected a number from {numbers[0]} to {numbers[-1]} that was measured")
            return int(text)

        def entered(answer: tuple[int]) -> None:
            (self.selection.layer,) = answer
            self.show_again()

        self.ask(Ask("layer", "", f"{numbers[0]} to {numbers[-1]}", measured_layer), entered)

    def _layers(self) -> list[int]:
        """Numbers of the layers measured in any run, ascending."""
        return sorted({number for view in self.runs for layers in measured_layers(view) for number in layers})

    def action_copy(self, what: str) -> None:
        """Copy to the terminal's clipboard (OSC 52); works over SSH, and in tmux if `set-clipboard` is on."""
        text = self._copied(what)
        if text:
            self.app.copy_to_clipboard(text)
        count = text.count("\n")
        several = f"{count + 1} paths" if what == "path" else f"{count} rows"
        copied = several if count else escape_control(text)
        nothing = f"nothing to copy: {self.context.key('charts.crosshair')} shows the crosshair"
        self.notice(f"sent to the terminal's clipboard: {copied}" if text else nothing)

    def _copied(self, what: str) -> str:
        group = self.selection.group(self.groups)
        paths = [str(view.run.path) for view in group.runs] if group is not None else []
        match what:
            case "reading":
                return self.reading()
            case "path":
                return "\n".join(paths)
            case "resume" if paths:
                return f"bnrun resume {shlex.join(paths)}"
            case "table" if self.runs:
                return fmt.table_of(self.runs)
        return ""

    def reading(self) -> str:
        """Readings at the crosshair as tab-separated text, a line for each curve; empty if there are none."""
        return ""

    def focus_page(self) -> None:
        self.set_focus(next(iter(self.query(self.FOCUS)), None), scroll_visible=False)

    @on(Listing.Moved, "#runs, #readings, #figures")
    def _run_clicked(self, event: Listing.Moved) -> None:
        self.selection.selected = Path(event.key)
        self.show_again()

    def _toggle(self, paths: set[Path]) -> None:
        """Add the selected group's runs to `paths`, or remove them if all are in it."""
        group = self.selection.group(self.groups)
        if group is not None:
            own = {view.run.path for view in group.runs}
            paths.symmetric_difference_update(own if own <= paths else own - paths)
            self.show_again()
