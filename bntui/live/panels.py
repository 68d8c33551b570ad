"""Every chart that can be shown, by the key of its measure (`bncore.measures`)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from bncore.config.measure import Measure
from bncore.figure import ChartData
from bncore.follow.run_view import RunView
from bncore.measures import LOG, MEASURES, logged, measure_of
from bncore.store.measured import middle_layer
from bntui.live.axes import AXES, on_axis, unplaced
from bntui.live.curves import curve_of
from bntui.live.drawing import (
    PanelState,
    as_drawn,
    chosen_layer,
    emphasized,
    hlines,
    layer_title,
    not_measured,
    vlines,
    why_empty,
)
from bntui.live.landscape import by_length, lengths
from bntui.live.reference import overlay


@dataclass(frozen=True)
class Panel:
    """The chart of a measure: a line or a band for each run."""

    measure: Measure

    @property
    def title(self) -> str:
        """What a picker calls it."""
        return self.measure.title

    def make(self, views: Sequence[RunView], state: PanelState) -> ChartData:
        """The chart of these runs."""
        if self.measure.per == "length":
            return by_length(self.measure, views, state)
        measure, title = as_drawn(self.measure, views, state)
        layer, note = None, why_empty(views, measure)
        if measure.per_layer:
            layer = chosen_layer(views, measure, state)
            title = f"{title}, {layer_title(views, layer)}"
        elif measure.high:
            title += lengths(views, measure.table)
        if state.grouping is None:
            found = (
                placed
                for view in views
                for curve in curve_of(views, view, measure, layer)
                for placed in on_axis(curve, [view], state.axis)
            )
            curves = emphasized(found, views, state.pinned)
        else:
            of_groups = state.grouping.curves(views, measure, layer, state.axis)
            curves = emphasized(of_groups, state.grouping.groups(views), state.pinned)
        if measure.per_layer and middle_layer((view.columns for view in views), measure) is not None:
            note = not_measured(layer, views, measure)
        note = unplaced(views, state.axis) or note
        return ChartData(
            title,
            (*curves, *(overlay(measure.key, views, state, layer) if state.axis == "step" else ())),
            vlines(views, state),
            hlines(views, measure),
            log_y=measure.log,
            x_name=AXES[state.axis],
            note=note,
            falling=state.axis == "loss",
            better=measure.better,
        )


class _Panels(dict[str, Panel]):
    """Also those of what loops log (`bncore.measures.logged`), which are listed only where they are."""

    def __missing__(self, key: str) -> Panel:
        measure = measure_of(key)
        if measure is None:
            raise KeyError(key)
        return Panel(measure)

    def __contains__(self, key: object) -> bool:
        return isinstance(key, str) and measure_of(key) is not None


PANELS: dict[str, Panel] = _Panels({key: Panel(measure) for key, measure in MEASURES.items()})
"""In the order in which a picker lists them."""


def logged_keys(views: Sequence[RunView]) -> list[str]:
    """Keys of the charts of what these runs log."""
    names = dict.fromkeys(name for view in views for name in view.columns.fields(LOG))
    return [logged(name).key for name in names if name not in ("seq", "t")]


FIRST = ("loss", "test_accuracy", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""Keys of what is shown where nothing else was chosen."""
FIRST_OF_REGRESSION = ("loss", "test_loss", "ics_l2", "loss_band", "gradient_predictiveness", "beta")
"""The same for runs that have no accuracy."""


def first_panels(views: Sequence[RunView]) -> tuple[str, ...]:
    """Keys of what is shown of these runs where nothing else was chosen."""
    specs = [view.spec for view in views if view.spec]
    regression = bool(specs) and all(spec.loss.kind == "squared_error" for spec in specs)
    return FIRST_OF_REGRESSION if regression else FIRST
