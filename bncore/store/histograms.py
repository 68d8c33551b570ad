"""The distributions of a layer's output that a run counted."""

from __future__ import annotations

import numpy as np

from bncore.figure import Floats
from bncore.store.columns import Columns

TABLE = "probe:activations"


def layer_histograms(columns: Columns, layer: int | None) -> tuple[Floats, Floats, Floats, Floats]:
    """Steps (n,), counts (n, bins), where the first bin begins (n,), and widths of all (n,), of the measurements
    that can be drawn; n = 0 where the layer was not measured.

    Arguments:
        layer: its number, from 1.
    """
    named = columns.series(TABLE, "layers").values
    counts, low, width = (columns.series(TABLE, name).values for name in ("counts", "bin_low", "bin_width"))
    nothing = np.empty(0), np.empty((0, 0)), np.empty(0), np.empty(0)
    if not counts.size or counts.ndim != 3 or not low.shape == width.shape == counts.shape[:2]:
        return nothing
    same = named.ndim == 2 and named.shape[1] == counts.shape[1]
    at = np.flatnonzero((named[-1] if same else np.arange(counts.shape[1]) + 1) == layer)
    if not at.size:
        return nothing
    counts, low, width = (values[:, at[0]] for values in (counts, low, width))
    known = np.isfinite(low) & np.isfinite(width) & (width > 0) & np.isfinite(counts).all(axis=1)
    known &= counts.sum(axis=1) > 0
    steps = columns.series(TABLE, "counts").steps.astype(np.float64)
    return steps[known], counts[known], low[known], width[known]
