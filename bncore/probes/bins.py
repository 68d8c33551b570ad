"""Histogram bins that widen without losing what was counted: their edges lie on a dyadic grid."""

from __future__ import annotations

import math
from dataclasses import dataclass

SMALLEST_SPAN = 2.0**-16
"""Narrowest range of values resolved, relative to the largest of them: float32 then still knows every edge."""


@dataclass(frozen=True, slots=True)
class Bins:
    """`count` bins of width 2^exponent; bin k holds the values of [(first + k) * width, (first + k + 1) * width).

    Two bins of one width are one bin of the next, so any histogram can be counted again in wider bins.
    """

    exponent: int
    first: int
    count: int

    @property
    def width(self) -> float:
        """Width of a bin, a power of two."""
        return math.ldexp(1.0, self.exponent)

    @property
    def low(self) -> float:
        """Left edge of the first bin."""
        return self.first * self.width

    def holds(self, smallest: float, largest: float) -> bool:
        """Whether every value between the two falls into a bin."""
        return self.first <= self.place(smallest) and self.place(largest) < self.first + self.count

    def place(self, value: float) -> int:
        """Number, from 0 at the value 0, of the grid's cell that holds a value."""
        return math.floor(value / self.width)

    @staticmethod
    def around(smallest: float, largest: float, count: int) -> Bins:
        """The narrowest bins that hold a range of values, with equal room left on both sides.

        Raises:
            ValueError: `count` is less than 2.
        """
        if count < 2:
            raise ValueError(f"bins: {count}; expected at least 2")
        largest_size = max(abs(smallest), abs(largest))
        span = max(largest - smallest, SMALLEST_SPAN * largest_size) or 1.0
        return _centered(math.ceil(math.log2(span / count)), smallest, largest, count)

    def widened(self, smallest: float, largest: float) -> Bins:
        """These bins where they hold the range, else the narrowest wider ones that hold both it and them."""
        if self.holds(smallest, largest):
            return self
        low = min(smallest, self.low)
        high = max(largest, self.low + (self.count - 1) * self.width)
        return _centered(self.exponent + 1, low, high, self.count)


def _centered(exponent: int, smallest: float, largest: float, count: int) -> Bins:
    while True:
        grid = Bins(exponent, 0, count)
        first, last = grid.place(smallest), grid.place(largest)
        if last - first < count:
            return Bins(exponent, first - (count - 1 - (last - first)) // 2, count)
        exponent += 1
