"""Marks in charts for applied requests, labeled with their texts or with their numbers in the list of changes."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Literal

import numpy as np

from bncore.figure import VLine
from bncore.follow.groups import Group, styles_of
from bncore.follow.request_view import CHANGING
from bncore.follow.run_view import RunView
from bntui.live.axes import Axis, at_steps

Marks = Literal["labels", "numbers", "hidden"]
Request = tuple[int, str]
"""Step at which a request was applied, and its summary."""

MARKS: dict[Marks, str] = {
    "labels": "with their texts", "numbers": "numbered as the changes are", "hidden": "hidden",
}  # fmt: skip
"""Ways of marking events, with descriptions."""
MARKED = frozenset({*CHANGING, "note"})
"""Kinds of requests marked in charts; the others change no curve."""
MOST_LABELS = 3
"""With more marks than this, marks are numbered by default."""


def applied(views: Sequence[RunView]) -> dict[Request, list[RunView]]:
    """Applied requests in order, each with its runs; equal requests at the same step are merged."""
    by_request: dict[Request, list[RunView]] = {}
    for view in views:
        for request in view.requests:
            if request.outcome == "applied" and request.kind in MARKED and request.step is not None:
                by_request.setdefault((request.step, request.summary), []).append(view)
    return dict(sorted(by_request.items(), key=lambda item: item[0]))


def numbered(views: Sequence[RunView], chosen: Marks | None) -> dict[Request, int]:
    """Number of each mark; empty if marks show their texts or are hidden."""
    requests = applied(views)
    if chosen == "numbers" or (chosen is None and len(requests) > MOST_LABELS):
        return {key: number for number, key in enumerate(requests, 1)}
    return {}


def marks(
    views: Sequence[RunView], axis: Axis, numbers: Mapping[Request, int], groups: Iterable[Group] = ()
) -> tuple[VLine, ...]:
    """A mark for each applied request that has a position on the axis, in the color of its group, or run without a
    group, if it went to only one."""
    style_of = {view: view.style for view in views} | styles_of(groups)
    return tuple(
        VLine(
            x,
            f"{numbers.get((step, text), '')}" if numbers else f"{text} @{step:,}",
            common({style_of[view] for view in targets}),
        )
        for (step, text), targets in applied(views).items()
        if np.isfinite(x := float(at_steps(axis, targets[0], np.array([float(step)]))[0]))
    )


def common(styles: set[int]) -> int | None:
    """The only style; None unless there is exactly one."""
    return next(iter(styles)) if len(styles) == 1 else None
