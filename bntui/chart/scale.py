"""Conversion between values and positions on a linear or logarithmic axis."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats, Span

FAR = 1e300
"""Values beyond this are treated as infinite, which keeps sums and interpolation free of overflow."""


def warped(values: Floats, log: bool) -> Floats:
    """Warped values, in which an axis is evenly spaced: unchanged, or log10, with minus infinity for values that
    are not positive."""
    if not log:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values <= 0, -np.inf, np.log10(values))


def unwarped(values: Floats, log: bool) -> Floats:
    """Inverse of `warped`."""
    if not log:
        return values
    with np.errstate(over="ignore"):
        return np.asarray(10.0**values)


@dataclass(frozen=True, slots=True)
class Scale:
    """Visible range of an axis, from `low` to `high`, both given as values (positive if `log`)."""

    low: float
    high: float
    log: bool = False
    falling: bool = False
    """Whether the axis is labeled with 10 to the power of minus the value."""

    @property
    def span(self) -> Span:
        """Both ends, as values."""
        return self.low, self.high

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends, warped."""
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)

    def fraction(self, values: Floats) -> Floats:
        """Position of each value within the visible range: 0 at `low`, 1 at `high`."""
        return self.fraction_of_warped(warped(values, self.log))

    def fraction_of_warped(self, warped_values: Floats) -> Floats:
        """As `fraction`, for warped values."""
        low, high = self.ends
        with np.errstate(over="ignore"):
            return (warped_values - low) / (high - low)

    def value(self, fractions: Floats) -> Floats:
        """Values at these fractions of the visible range."""
        low, high = self.ends
        return unwarped(low + fractions * (high - low), self.log)

    def bounds(self, parts: int) -> Floats:
        """(parts + 1,) Values that divide the axis into equal parts, including both ends; read-only."""
        return _bounds(self, parts)

    def parted(self, values: Floats, parts: int) -> NDArray[np.intp]:
        """(parts + 1,) Indices that divide ascending values by equal parts of the axis: where each part begins,
        and where the last one ends."""
        index = np.searchsorted(values, self.bounds(parts))
        index[-1] = np.searchsorted(values, self.high, side="right")
        return index

    def moved(self, by: float) -> Scale:
        """The range shifted by a fraction of its length."""
        return self._between(by, 1 + by)

    def zoomed(self, factor: float, around: float = 0.5) -> Scale:
        """The range scaled by `factor` with the position at the fraction `around` fixed."""
        return self._between(around - around * factor, around + (1 - around) * factor)

    def _between(self, first: float, last: float) -> Scale:
        """The range between two fractions; this range if that would exceed floating-point precision or range."""
        low, high = (float(value) for value in self.value(np.array([first, last])))
        largest = max(abs(low), abs(high))
        if not 1e-290 < largest < FAR or high - low <= 1e-12 * largest or (self.log and low <= 0):
            return self
        return replace(self, low=low, high=high)

    def written(self, value: float) -> float:
        """Label of a value on the axis, as a number."""
        return float(unwarped(np.array(-value), log=True)) if self.falling else value


@lru_cache(maxsize=64)
def _bounds(scale: Scale, parts: int) -> Floats:
    """Cached `Scale.bounds`: all curves of a chart are cut at the same bounds until the axis changes."""
    bounds = unwarped(np.linspace(*scale.ends, parts + 1), scale.log)
    bounds[0], bounds[-1] = scale.low, scale.high
    bounds.flags.writeable = False
    return bounds
