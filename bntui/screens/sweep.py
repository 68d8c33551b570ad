"""The main screen: the runs of a sweep, and a grid of charts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from textual.widget import Widget

from bncore.aggregate import BANDS
from bncore.config.errors import escape_control
from bncore.follow.groups import groups_of, varying
from bncore.follow.run_view import RunView
from bntui.layouts import Layout, named_layouts, read_layout, remember_layout, save_layout
from bntui.live.grouping import facets_of
from bntui.live.panels import PANELS, first_panels, logged_keys, overlay
from bntui.live.snapshot import Snapshot, names_of_data
from bntui.saving import save_chart
from bntui.screens.grid import GridPage
from bntui.screens.picker import By, Picker, PickLayout, PickSetting, SaveLayout, setting_name
from bntui.widgets.charts import ChartGrid, facet_key
from bntui.widgets.sidebar import title_of


class SweepPage(GridPage):
    """A grid of charts, each with all runs, or the facets of one chart."""

    TAB = "sweep"
    _layout: tuple[str, ...] = ()
    """Keys of the charts to return to when the facets of one chart are closed."""

    def body(self) -> Iterable[Widget]:
        yield ChartGrid(self.context.settings.smoothing, id="grid")

    def show_page(self, snapshot: Snapshot) -> None:
        if not self.grid.keys:
            remembered = tuple(key for key in read_layout(self._experiment()) or () if key in PANELS)
            self.lay_out(remembered or self.context.settings.panels or first_panels(snapshot.runs))
        if self.selection.faceted:
            self._facet(snapshot)
        self.grid.show(self.selection.shown(snapshot), self.panel_state())
        self.pointed()

    def _facet(self, snapshot: Snapshot) -> None:
        """Show a chart for each group of the runs shown, with the reference in every chart."""
        shown = self.selection.shown(snapshot)
        pinned = next((g for g in self.groups if self.selection.is_reference(g)), None)
        facets = {
            facet_key(self.selection.faceted, name): runs
            for name, runs in facets_of(shown, self.selection.facets, pinned).items()
        }
        self.grid.facet(facets)
        if tuple(facets) != self.grid.keys:
            self.lay_out(tuple(facets))

    def action_facets(self) -> None:
        if self.snapshot is None:
            return
        if self.selection.faceted:
            self._leave_facets(self._layout)
            self.show_again()
            return
        runs = self.selection.shown(self.snapshot)
        choices = [by for by in _choices(runs) if len(groups_of(runs, by)) > 1]
        if choices:
            self.ask(PickSetting("A chart for each", choices, None), self._show_facets)
        else:
            self.notice("no facets: the runs shown are of one variant", "yellow")

    def _show_facets(self, by: By) -> None:
        if self.snapshot is None:
            return
        selection = self.selection
        self._layout = self._panels
        selection.faceted, selection.facets = self.grid.current_key, by
        self.show_again()
        count = len(groups_of(selection.shown(self.snapshot), by))
        self.notice(f"{PANELS[selection.faceted].title} by {setting_name(by)}: {count} charts")

    @property
    def _panels(self) -> tuple[str, ...]:
        """Keys of the charts shown, or while facets are shown, of the charts to return to."""
        return self._layout if self.selection.faceted else self.grid.keys

    def _leave_facets(self, keys: tuple[str, ...], current: str = "") -> None:
        """Close the facets, show these charts, and make the one with key `current` the current one."""
        self.selection.faceted = ""
        self.grid.facet({})
        self.lay_out(keys, current)

    def labels(self) -> dict[str, str]:
        return {
            **super().labels(),
            "groups": "single runs" if self.grouping else "groups",
            "facets": "all charts" if self.selection.faceted else "facets",
        }

    def action_groups(self) -> None:
        if self.snapshot is not None:
            self.selection.grouped = self.grouping is None
            self._say_grouping()

    def action_band(self) -> None:
        if self.snapshot is not None:
            self.selection.grouped = True
            grouping, bands = self.grouping, list(BANDS)
            if grouping is not None:
                self.selection.band = band = bands[(bands.index(grouping.band) + 1) % len(bands)]
                self.show_again()
                self.notice(f"band: {BANDS[band]}")

    def action_group_by(self) -> None:
        if self.snapshot is None:
            return
        now = self.grouping.by if self.grouping else None
        choices = dict.fromkeys([*_choices(self.snapshot.runs), now or ()])
        self.ask(PickSetting("Group by", choices, now), self._group_by)

    def _group_by(self, by: By) -> None:
        self.selection.grouped, self.selection.by = True, by
        self._say_grouping()

    def _say_grouping(self) -> None:
        self.show_again()
        self.notice(title_of(self.grouping) if self.grouping else "single runs")

    def action_pick(self) -> None:
        def picked(keys: tuple[str, ...]) -> None:
            self._leave_facets(keys, picker.matched_key)
            remember_layout(self._experiment(), keys)

        picker = Picker(self._panels, logged_keys(self.runs))
        self.ask(picker, picked)

    def action_save_layout(self) -> None:
        selection = self.selection
        chosen = {name: getattr(selection, name) for name in ("axis", "band", "grouped", "by")}
        layout = Layout(panels=self._panels, **chosen)

        def named(name: str) -> None:
            try:
                save_layout(name, layout)
            except OSError as error:
                self.notice(f"not saved: {error.strerror or error}", "red")
            else:
                self.notice(f"saved layout {escape_control(name)}", "green")

        self.ask(SaveLayout(), named)

    def action_layouts(self) -> None:
        self.ask(PickLayout(self.context.key("sweep.save_layout")), self._show_layout)

    def _show_layout(self, name: str) -> None:
        layout = named_layouts().get(name)
        if layout is None or self.snapshot is None:
            return
        selection, settings = self.selection, varying(self.snapshot.runs)
        selection.axis, selection.band, selection.grouped = layout.axis, layout.band, layout.grouped
        selection.by = layout.by if layout.by is not None and {*layout.by} <= {*settings} else None
        keys = tuple(key for key in layout.panels if key in PANELS)
        if keys:
            self._leave_facets(keys)
            remember_layout(self._experiment(), keys)
        self.show_again()
        left = ", ".join(key for key in layout.panels if key not in PANELS)
        unknown = f"; not known here: {left}" if left else ""
        self.notice(escape_control(f"layout {name}{unknown}"), "yellow" if left else "green")

    def action_paper(self) -> None:
        selection = self.selection
        selection.paper = not selection.paper
        self.show_again()
        if selection.paper and self.snapshot is not None:
            state, runs = self.panel_state(), selection.shown(self.snapshot)
            keys = [selection.faceted] if selection.faceted else self.grid.keys
            if not any(overlay(key, runs, state, selection.layer) for key in keys):
                self.notice("the paper has no curves for these charts", "yellow")

    def action_save_chart(self, kind: str) -> None:
        chart = self.grid.current
        if chart is not None and self.snapshot is not None:
            sweeps = [sweep.name for sweep in self.snapshot.sweeps]
            setting = "; ".join([*sweeps, *names_of_data(self.snapshot.runs)])
            self.notice(*save_chart(chart.data, chart.view, chart.chart_style(), kind, setting))

    def _experiment(self) -> str:
        sweeps = self.snapshot.sweeps if self.snapshot else ()
        return sweeps[0].experiment if sweeps else ""


def _choices(runs: Sequence[RunView]) -> list[By]:
    """Choices to group by: the variant, and every setting that varies."""
    return [(), *((path,) for path in varying(runs))]
