"""Heat maps and histograms over the steps."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len

from bntui.chart.data import HeatData, HistogramData
from bntui.chart.heat import column_means, heat_colours
from bntui.chart.heat_picture import draw_heat, draw_histogram, row_owners
from bntui.chart.ink import parts
from bntui.chart.look import Look
from bntui.chart.palette import ANSI, DARK, MONOCHROME, Palette
from bntui.chart.scale import Scale

STEPS = np.arange(0.0, 100.0, 10.0)
LAYERS = HeatData("ICS", STEPS, ("conv1", "conv2", "conv3"), np.tile([0.0, 0.5, 1.0], (10, 1)))
EDGES = np.linspace(-2, 2, 9)
NARROW = HistogramData("Activations", STEPS, EDGES, np.tile([0, 0, 0, 1.0, 0.5, 0, 0, 0], (10, 1)))


def test_the_first_row_is_at_the_bottom() -> None:
    assert draw_heat(LAYERS, 30, 8, None, Look(ANSI)).grid.plain() == [
        "╭─ ICS ───────────── 0 … 1 ─╮ "[:-2] + "─╮",
        "│ conv3 ████████████████████│"[:29] + "│",
        "│       ████████████████████│"[:29] + "│",
        "│ conv2 ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│"[:29] + "│",
        "│       ▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒▒│"[:29] + "│",
        "│ conv1                     │"[:29] + "│",
        "│                           │"[:29] + "│",
        "╰────── 0 ──── 30 ───── 60 ─╯",
    ]
