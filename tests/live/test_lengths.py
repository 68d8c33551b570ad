"""Measures of each step length, of groups: as charts and as tables."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from bncore.config.measure import Band
from bncore.follow.groups import group_tables, groups_of
from bncore.follow.run_view import RunView
from bntui.live.drawing import PanelState
from bntui.live.grouping import Grouping
from bntui.live.panels import PANELS
from live.factories import events, made_run, view_of

MULTIPLES = (0.5, 1.0, 2.0, 4.0)


def seeds(folder: Path, factors: Sequence[float]) -> list[RunView]:
    """A run for each factor, whose gradient differs by that times the step length and the step."""
    found = []
    for seed, factor in enumerate(factors):
        journal = events()
        for event in journal:
            if event.get("name") == "landscape":
                event["relative"] = [factor * m * (event["step"] + 1) for m in MULTIPLES]
        found.append(view_of(made_run(folder / f"none-s{seed}", journal), seed))
    return found


@pytest.mark.parametrize(("step", "measured"), [(None, 30), (19.0, 10)])
def test_the_chart_is_of_the_mean_at_each_length(tmp_path: Path, step: float | None, measured: int) -> None:
    views = seeds(tmp_path, [1.0, 2.0, 4.0])
    data = PANELS["relative_by_length"].make(views, PanelState(grouping=Grouping("range"), step=step))
    spread, mean = data.curves
    np.testing.assert_allclose(mean.x, [0.05, 0.1, 0.2, 0.4])
    for values, factor in ((spread.low, 1.0), (spread.high, 4.0), (mean.low, 2.0)):
        np.testing.assert_allclose(values, [factor * m * (measured + 1) for m in MULTIPLES])
    assert (mean.label, mean.style) == ("none ×3", 0)


def test_a_run_that_did_not_measure_them_does_not_count(tmp_path: Path) -> None:
    journal = [event for event in events() if event.get("name") != "landscape"]
    other = view_of(made_run(tmp_path / "none-s9", journal), 9)
    views = seeds(tmp_path, [1.0, 4.0])
    alone, mixed = (
        group_tables(groups_of(group), "range")["probe:landscape"] for group in (views, [*views, other])
    )
    for name, column in alone.items():
        np.testing.assert_array_equal(mixed[name], column)


@pytest.mark.parametrize("band", ["range", "interval"])
def test_the_table_has_a_row_for_each_length_and_step(tmp_path: Path, band: Band) -> None:
    table = group_tables(groups_of(seeds(tmp_path, [1.0, 4.0])), band)["probe:landscape"]
    chosen = table["measure"] == "relative_by_length"
    rows = list(
        zip(*(table[name][chosen] for name in ("multiple", "step", "mean", "low", "high")), strict=True)
    )
    assert [(m, s) for m, s, *_ in rows] == [(m, s) for m in MULTIPLES for s in (0, 10, 20, 30)]
    for multiple, step, *values in rows:
        scale = multiple * (step + 1)
        np.testing.assert_allclose(values, [2.0 * scale, scale, 4.0 * scale], rtol=1e-12)
    assert {*table["multiple"][table["measure"] == "beta"]} == {None}
