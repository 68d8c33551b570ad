"""Marks in charts: the requests that were applied, with their texts or with the numbers of the list of changes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np

from bncore.figure import VLine
from bncore.follow.request_view import CHANGING
from bncore.follow.run_view import RunView
from bntui.live.axes import Axis, at_steps

Marks = Literal["labels", "numbers", "hidden"]
Request = tuple[int, str]
"""Where it was applied, and what it says."""

MARKS: dict[Marks, str] = {
    "labels": "with their texts", "numbers": "numbered as the changes are", "hidden": "hidden",
}  # fmt: skip
"""How events are marked."""
MARKED = frozenset({*CHANGING, "note"})
"""Kinds of requests that are marked in charts: the others change no curve."""
MOST_LABELS = 3
"""More than so many marks are numbered, where the person has not chosen."""


def applied(views: Sequence[RunView]) -> dict[Request, tuple[RunView, int | None]]:
    """The requests that were applied, in order, one for those that are the same of several runs at one step: the
    first of these runs, and whose colour the mark has."""
    found: dict[Request, tuple[RunView, int | None]] = {}
    for view in views:
        for request in view.requests:
            if request.outcome == "applied" and request.kind in MARKED and request.step is not None:
                key = (request.step, request.summary)
                found[key] = (found[key][0], None) if key in found else (view, view.style)
    return dict(sorted(found.items(), key=lambda item: item[0]))


def numbered(views: Sequence[RunView], chosen: Marks | None) -> dict[Request, int]:
    """The number of each mark; none where they have their texts, or are hidden."""
    found = applied(views)
    if chosen == "numbers" or (chosen is None and len(found) > MOST_LABELS):
        return {key: number for number, key in enumerate(found, 1)}
    return {}


def marks(views: Sequence[RunView], axis: Axis, numbers: Mapping[Request, int]) -> tuple[VLine, ...]:
    """A mark for each request that was applied, where it is on the axis."""
    return tuple(
        VLine(place, f"{numbers.get((step, text), '')}" if numbers else f"{text} @{step:,}", style)
        for (step, text), (view, style) in applied(views).items()
        if np.isfinite(place := float(at_steps(axis, view, np.array([float(step)]))[0]))
    )
