"""The explorer's charts as pictures for the one writer of SVG: nothing is lost on the way."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET

import numpy as np
from chart.factories import band, chart, line
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from bncore.figure import PALETTE, ChartData, HLine, VLine
from bncore.report.render import picture_svg
from bntui.chart.export_chart import COLUMNS, picture_of
from bntui.chart.view import View

SVG = "{http://www.w3.org/2000/svg}"


def drawn(data: ChartData, **how: object) -> ET.Element:
    return ET.fromstring(picture_svg(picture_of(data, **how)))  # type: ignore[arg-type]


def said(element: ET.Element) -> str:
    return " ".join(element.itertext())


def strokes(element: ET.Element, style: int) -> list[str]:
    """The styles of the paths in a run's colour."""
    wanted = f"stroke: {PALETTE[style]}"
    return [path.get("style", "") for path in element.iter(f"{SVG}path") if wanted in path.get("style", "")]


def test_title_setting_runs_marks_and_rules_are_written() -> None:
    data = chart(
        line([3, 2, 1], label="batch"),
        line([3, 3, 3], style=1, label="none <b>&"),
        title="Training loss",
        vlines=(VLine(1.0, "noise on @1", 0),),
        hlines=(HLine(2.0, "2/lr"),),
    )
    text = said(drawn(data, setting="made-001; synthetic images"))
    for words in ("Training loss", "made-001; synthetic images", "batch", "none <b>&", "noise on @1", "2/lr"):
        assert words in text


def test_each_run_has_a_colour_and_a_second_cue() -> None:
    picture = drawn(chart(line([3, 2, 1]), line([1, 2, 3], style=1)))
    (first, *_), (second, *_) = strokes(picture, 0), strokes(picture, 1)
    assert "stroke-dasharray" not in first
    assert "stroke-dasharray" in second


def test_below_the_noise_floor_a_line_is_faint() -> None:
    values = [5.0, 1.0, 5.0]
    plain = strokes(drawn(chart(line(values))), 0)
    floored = strokes(drawn(chart(line(values, floor=np.array([2.0, 2.0, 2.0])))), 0)
    faint = [style for style in floored if "stroke-opacity: 0.35" in style]
    assert faint
    assert not any("stroke-opacity: 0.35" in style for style in plain)


def test_infinite_values_are_marked_at_the_edge_and_break_nothing() -> None:
    whole = ET.tostring(drawn(chart(line([1.0, 2.0, 3.0])))).decode()
    for value in (np.inf, -np.inf):
        broken = ET.tostring(drawn(chart(line([1.0, value, 3.0])))).decode()
        assert broken.count(":use ") == whole.count(":use ") + 1
    drawn(chart(line([np.nan, np.inf, -np.inf])))
    drawn(chart(line([0.0, -1.0, np.inf]), log_y=True))
    drawn(chart(band([np.nan, 1.0], [np.inf, 2.0]), log_y=True))
    drawn(chart(line([])))
    drawn(chart())


def test_only_the_part_that_is_looked_at_is_shown() -> None:
    data = chart(line(np.arange(1000.0)), vlines=(VLine(5.0, "early"), VLine(450.0, "later")))
    plot = picture_of(data, View(x=(400.0, 500.0))).panels[0]
    assert plot.x_span == (400.0, 500.0)
    assert (plot.curves[0].x[0], plot.curves[0].x[-1]) == (399.0, 501.0)
    text = said(drawn(data, view=View(x=(400.0, 500.0))))
    assert "later" in text
    assert "early" not in text


def test_smoothing_keeps_the_raw_curve_behind() -> None:
    raw, smooth = picture_of(chart(line([0.0, 1.0, 0.0, 1.0])), smoothing=0.9).panels[0].curves
    assert (raw.weight, smooth.weight) == ("faint", "main")
    assert np.ptp(smooth.low) < np.ptp(raw.low)
    assert "smoothed by 0.9" in said(drawn(chart(line([0.0, 1.0])), smoothing=0.9))


@given(
    arrays.arrays(
        float,
        st.integers(2 * COLUMNS + 1, 6000),
        elements=st.floats(-1e6, 1e6) | st.just(np.nan),
        fill=st.just(0.5),
    )
)
def test_thinned_curves_keep_their_ends_and_extremes(values: np.ndarray) -> None:
    curve = picture_of(chart(line(values))).panels[0].curves[0]
    assert len(curve.x) <= 2 * COLUMNS
    assert (np.diff(curve.x) > 0).all()
    if not np.isnan(values).all():
        assert np.nanmin(curve.low) == np.nanmin(values)
        assert np.nanmax(curve.high) == np.nanmax(values)


def test_a_long_run_is_a_small_file() -> None:
    walk = np.cumsum(np.random.default_rng(0).normal(size=200_000))
    text = picture_svg(picture_of(chart(line(walk))))
    assert len(text) < 100_000
    assert not re.search(r"nan|inf", "".join(re.findall(r' d="([^"]*)"', text)))
