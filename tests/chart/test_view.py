"""Which values are shown: all, those without outliers, those chosen; and that what is left out is marked."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.figure import ChartData
from bntui.chart.export_chart import picture_of
from bntui.chart.picture import draw
from bntui.chart.reading import readings
from bntui.chart.scale import FAR, Scale
from bntui.chart.view import View, beyond, y_scale
from chart.factories import band, chart, line

CLIPPED = View(clips=True)
SPIKED = chart(line([*[1.0, 2.0] * 50, 1e6, -1e6, *[2.0, 1.0] * 50]))
FALLING = chart(line(np.geomspace(3.0, 0.1, 500)))
VALUES = st.lists(st.floats(-1e12, 1e12) | st.sampled_from([np.nan, np.inf, -np.inf, 1e301]), max_size=60)


def shown(data: ChartData, view: View = CLIPPED) -> Scale:
    found = y_scale(data, data.curves, Scale(0.0, 1e4), view)
    assert found is not None
    return found


def text(data: ChartData, view: View) -> list[str]:
    return draw(data, 60, 12, view).grid.plain()


def test_outliers_are_left_out() -> None:
    assert shown(SPIKED, View()).high > 1e5
    assert shown(SPIKED).low > 0
    assert shown(SPIKED).high < 3


@pytest.mark.parametrize("log", [False, True])
def test_what_has_no_outliers_is_shown_whole(log: bool) -> None:
    data = replace(FALLING, log_y=log)
    assert shown(data) == shown(data, View())


@given(VALUES, st.booleans())
def test_the_middle_nine_tenths_are_never_left_out(values: list[float], log: bool) -> None:
    data = chart(line(values), log_y=log)
    y = y_scale(data, data.curves, Scale(0.0, 1e4), CLIPPED)
    kept = [v for v in values if abs(v) < FAR and (v > 0 or not log)]
    if not kept:
        assert y is None
        return
    assert y is not None
    low, high = np.quantile(np.log10(kept) if log else kept, [0.05, 0.95])
    slack = 1e-9 * max(abs(low), abs(high), 1e-290)
    ends = y.ends
    assert ends[0] <= low + slack
    assert high - slack <= ends[1]


@given(st.lists(VALUES, max_size=3), st.floats(-1e3, 1e3), st.floats(0.1, 1e3))
def test_points_beyond_are_counted(rows: list[list[float]], low: float, span: float) -> None:
    """Those from step 2 to step 20; what is no number is nowhere."""
    curves = [line(values) for values in rows]
    outside = [v for values in rows for v in values[2:21] if v < low or v > low + span]
    assert beyond(curves, Scale(2.0, 20.0), Scale(low, low + span)) == len(outside)


def test_context_is_neither_counted_nor_considered() -> None:
    faint = replace(line([1e9] * 200), weight="faint")
    assert shown(chart(*FALLING.curves, faint)) == shown(FALLING)
    assert beyond([faint], Scale(0.0, 100.0), Scale(0.0, 1.0)) == 0


def test_of_a_band_both_edges_count() -> None:
    assert beyond([band([0.0, 5.0, 2.0], [1.0, 9.0, 3.0])], Scale(0.0, 10.0), Scale(0.5, 4.0)) == 2


@pytest.mark.parametrize("view", [CLIPPED, View(y=(0.5, 2.5))])
def test_what_goes_beyond_is_marked_and_counted(view: View) -> None:
    rows = text(SPIKED, view)
    assert "2 points beyond" in rows[0]
    assert "△" in rows[1] and "▽" in rows[-2]
    assert not any(sign in "".join(text(SPIKED, View())) for sign in "△▽")


def test_infinity_keeps_its_own_mark() -> None:
    rows = text(chart(line([1.0, 2.0] * 20 + [np.inf] + [2.0, 1.0] * 20)), CLIPPED)
    assert "▲" in rows[1]


def test_in_a_narrow_chart_the_count_is_what_is_said() -> None:
    rows = draw(replace(SPIKED, x_name="share of run"), 34, 12, CLIPPED).grid.plain()
    assert "2 points beyond" in rows[0]
    assert "share" not in rows[0]


def test_a_curve_is_read_only_as_far_as_it_reaches() -> None:
    """Over shares of a run, or losses, a half is far."""
    short = line(np.ones(51), x=np.linspace(0.0, 0.5, 51) + 0.001)
    assert readings([short], 0.505)
    (beyond,) = readings([short], 0.55)
    assert (beyond.end, np.isnan(beyond.low)) == (short.x[-1], True)
    assert readings([line([1.0, 2.0])], 1.4), "the nearest step"


def test_a_saved_picture_is_clipped_too_and_says_so() -> None:
    picture = picture_of(SPIKED, CLIPPED)
    assert picture.panels[0].y_span == y_scale(SPIKED, SPIKED.curves, Scale(0.0, 250.0), CLIPPED).span  # type: ignore[union-attr]
    assert picture.title == "Loss, 2 points beyond"
