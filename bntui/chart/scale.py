"""From values to places on an axis and back, linear and logarithmic."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from bncore.figure import Floats, Span

FAR = 1e300
"""What lies beyond this is as good as infinite; it keeps sums and interpolation free of overflow."""


def warped(values: Floats, log: bool) -> Floats:
    """Values as an axis spaces them: themselves, or log10, where what is not positive lies at minus infinity."""
    if not log:
        return values
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(values <= 0, -np.inf, np.log10(values))


def unwarped(places: Floats, log: bool) -> Floats:
    """The values that `warped` puts at these places."""
    if not log:
        return places
    with np.errstate(over="ignore"):
        return np.asarray(10.0**places)


@dataclass(frozen=True, slots=True)
class Scale:
    """The part of an axis that is shown: from `low` to `high`, both of them values (positive where `log`)."""

    low: float
    high: float
    log: bool = False
    falling: bool = False
    """Whether what is written at the axis is 10 to the power of minus the value."""

    @property
    def span(self) -> Span:
        """Both ends."""
        return self.low, self.high

    @property
    def ends(self) -> tuple[float, float]:
        """Both ends as the axis spaces them."""
        return (math.log10(self.low), math.log10(self.high)) if self.log else (self.low, self.high)

    def fraction(self, values: Floats) -> Floats:
        """How far along the shown part each value lies: 0 at `low`, 1 at `high`."""
        return self.fraction_of_warped(warped(values, self.log))

    def fraction_of_warped(self, places: Floats) -> Floats:
        """As `fraction`, of what `warped` has already been applied to."""
        low, high = self.ends
        with np.errstate(over="ignore"):
            return (places - low) / (high - low)

    def value(self, fractions: Floats) -> Floats:
        """The values at these fractions of the shown part."""
        low, high = self.ends
        return unwarped(low + fractions * (high - low), self.log)

    def bounds(self, parts: int) -> Floats:
        """The values that part the axis into equal parts, both ends among them; (parts + 1,), read-only."""
        return _bounds(self, parts)

    def parted(self, values: Floats, parts: int) -> NDArray[np.intp]:
        """Where ascending values begin that lie in each of equal parts of the axis, and end; (parts + 1,)."""
        index = np.searchsorted(values, self.bounds(parts))
        index[-1] = np.searchsorted(values, self.high, side="right")
        return index

    def moved(self, by: float) -> Scale:
        """Shifted by a fraction of what is shown."""
        return self._between(by, 1 + by)

    def zoomed(self, factor: float, around: float = 0.5) -> Scale:
        """The part that is `factor` as long and keeps the place at the fraction `around`."""
        return self._between(around - around * factor, around + (1 - around) * factor)

    def _between(self, first: float, last: float) -> Scale:
        """That part, or this one where that would be too small or too large for numbers to tell apart."""
        low, high = (float(value) for value in self.value(np.array([first, last])))
        largest = max(abs(low), abs(high))
        if not 1e-290 < largest < FAR or high - low <= 1e-12 * largest or (self.log and low <= 0):
            return self
        return replace(self, low=low, high=high)

    def written(self, value: float) -> float:
        """What stands at the axis for a value."""
        return float(unwarped(np.array(-value), log=True)) if self.falling else value


@lru_cache(maxsize=64)
def _bounds(scale: Scale, parts: int) -> Floats:
    """Every curve of a chart is cut at the same bounds, in every picture until the axis changes."""
    bounds = unwarped(np.linspace(*scale.ends, parts + 1), scale.log)
    bounds[0], bounds[-1] = scale.low, scale.high
    bounds.flags.writeable = False
    return bounds
