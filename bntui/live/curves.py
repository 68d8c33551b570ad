"""A run's curve of a measure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bncore.config.errors import escape_control
from bncore.config.measure import Measure
from bncore.figure import Curve
from bncore.follow.run_view import RunView
from bncore.store.measured import floor_of, held, take, upper


def curve_of(views: Sequence[RunView], view: RunView, measure: Measure, layer: int | None) -> Iterator[Curve]:
    """A run's curve or band, with its noise floor; of a fork before it also its parent's, faintly, unless that run
    is drawn itself.

    Arguments:
        views: everything that is drawn.
        layer: of a measure with a value for each.
    """
    low, high = take(view.columns, measure, layer), upper(view.columns, measure, layer)
    if not len(low.x) or (high is not None and len(high.x) != len(low.x)):
        return
    floor = floor_of(view.columns, measure, layer)
    first = view.columns.parent[1] if view.columns.parent else 0
    cut = int(np.searchsorted(low.x, first))
    if cut and not any(_is_parent(other, view) for other in views):
        y = low.y[:cut]
        parent = escape_control(view.parent.name) if view.parent else f"{view.name}, its parent"
        yield Curve(parent, view.style, low.x[:cut], y, y if high is None else high.y[:cut], weight="faint")
    if cut < len(low.x):
        own = low.y[cut:]
        yield Curve(
            view.name,
            view.style,
            low.x[cut:],
            own,
            own if high is None else high.y[cut:],
            floor=None if floor is None else held(floor, low.x[cut:]),
            diverged=view.state == "diverged",
        )


def _is_parent(other: RunView, view: RunView) -> bool:
    return (
        view.parent is not None
        and other.run.path.name == view.parent.name
        and other.run.path.parent.resolve() == view.parent.parent.resolve()
    )
