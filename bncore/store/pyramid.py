"""Minima and maxima of a long series at falling resolution, so that drawing it costs what the screen holds."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

FACTOR = 8


class Pyramid:
    """Level k holds the minimum and maximum of every 8^k neighbouring values; NaN is passed over.

    Arguments:
        steps: (n,) ascending.
        values: (n,).

    Raises:
        ValueError: the series is not one-dimensional.
    """

    def __init__(self, steps: NDArray[np.int64], values: NDArray[np.float64]) -> None:
        if values.ndim != 1:
            raise ValueError(f"values: {values.ndim} dimensions; expected 1: choose a layer first")
        self.steps = steps
        self._levels = [(values, values)]
        while len(self._levels[-1][0]) > 4 * FACTOR:
            low, high = self._levels[-1]
            starts = np.arange(0, len(low), FACTOR)
            self._levels.append((np.fmin.reduceat(low, starts), np.fmax.reduceat(high, starts)))

    def minmax(
        self, first: float, last: float, columns: int
    ) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Minimum and maximum of the values in each of `columns` equal parts of the steps [first, last).

        Returns:
            two arrays (columns,); NaN where a part holds no value. Parts much wider than 8^k values are read
            off level k, so an edge may take in up to 8^k - 1 neighbours of a part of 4 * 8^k or more.
        """
        edges = np.searchsorted(self.steps, np.linspace(first, last, columns + 1))
        level = self._level(max(1, int(edges[-1] - edges[0])) / columns)
        low, high = self._levels[level]
        scale = FACTOR**level
        starts, ends = edges[:-1] // scale, -(-edges[1:] // scale)
        lows, highs = np.full(columns, np.nan), np.full(columns, np.nan)
        for i in np.flatnonzero(edges[1:] > edges[:-1]):
            lows[i] = np.fmin.reduce(low[starts[i] : ends[i]])
            highs[i] = np.fmax.reduce(high[starts[i] : ends[i]])
        return lows, highs

    def _level(self, values_per_column: float) -> int:
        level = 0
        while level + 1 < len(self._levels) and values_per_column >= 4 * FACTOR ** (level + 1):
            level += 1
        return level
