"""A chart's numbers as CSV."""

from __future__ import annotations

import csv
import io

from bntui.chart.data import ChartData


def csv_text(data: ChartData) -> str:
    """A row for each point of each curve: curve, step, low, high, floor; low and high are equal on a line."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["curve", data.x_name, "low", "high", "floor"])
    for curve in data.curves:
        floors = [""] * curve.x.size if curve.floor is None else curve.floor.tolist()
        points = zip(curve.x.tolist(), curve.low.tolist(), curve.high.tolist(), floors, strict=True)
        writer.writerows([curve.name, f"{x:.15g}", low, high, floor] for x, low, high, floor in points)
    return text.getvalue()
