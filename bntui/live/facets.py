"""Small multiples: the runs of each chart."""

from __future__ import annotations

from collections.abc import Sequence

from bncore.follow.groups import Group, groups_of
from bncore.follow.run_view import RunView


def facets_of(
    views: Sequence[RunView], by: Sequence[str], reference: Group | None = None
) -> dict[str, list[RunView]]:
    """The runs of each facet, by its name, in the order given.

    Arguments:
        by: dotted paths of the settings whose values are facets; none: the variants are.
        reference: whose runs are in all of them.
    """
    always = set(reference.runs) if reference is not None else set()
    groups = groups_of(sorted(views, key=lambda view: view.style), by)
    return {group.name: [view for view in views if view in group.runs or view in always] for group in groups}
