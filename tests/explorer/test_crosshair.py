"""What stands beside the charts of what the crosshair reads."""

from __future__ import annotations

from dataclasses import replace

import pytest

from bntui.chart.palette import MONOCHROME
from bntui.chart.reading import Reading
from bntui.widgets.sidebar import reading_rows

READ = Reading("none", 0, 0.6671, 0.5, 0.5, None)


def said(at: float, reading: Reading) -> list[str]:
    return [row.plain.strip() for row in reading_rows(MONOCHROME, at, reading, None, 40)]


@pytest.mark.parametrize(("at", "x"), [(0.6193, 0.6671), (2934.0, 3000.0), (12.4, 13.0)])
def test_a_value_measured_elsewhere_says_where_in_the_unit_of_the_axis(at: float, x: float) -> None:
    assert said(at, replace(READ, x=x))[-1] == f"measured at {x:,}".removesuffix(".0")
    assert len(said(x, replace(READ, x=x))) == 1
