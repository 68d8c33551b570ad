"""Round tick values along an axis, and compact formatting of numbers."""

from __future__ import annotations

import math
from dataclasses import dataclass

from bntui.chart.scale import Scale

ROUND = (1.0, 2.0, 2.5, 5.0, 10.0)
"""Mantissas of tick spacings."""
WHOLE = (1.0, 2.0, 5.0, 10.0)
"""Tick spacings for small whole numbers."""
ENDS = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0, 10.0)
"""Mantissas at which an axis may end: close enough to waste little room, far enough apart to change rarely."""


@dataclass(frozen=True, slots=True)
class Tick:
    value: float
    label: str


def ticks(scale: Scale, most: int, *, whole: bool = False) -> tuple[Tick, ...]:
    """At most about `most` round values within the scale, ascending, with distinct labels.

    Arguments:
        whole: whether values are whole numbers, as steps and layers are.
    """
    if most < 1 or not (math.isfinite(scale.low) and math.isfinite(scale.high)) or scale.high <= scale.low:
        return ()
    if scale.falling:
        written = Scale(scale.written(scale.high), scale.written(scale.low), log=True)
        marks = (tick for tick in reversed(ticks(written, most)) if tick.value > 0)
        return tuple(Tick(-math.log10(tick.value), tick.label) for tick in marks)
    if scale.log and scale.low > 0 and math.log10(scale.high / scale.low) >= 1:
        return _log_ticks(scale, most)
    return _linear_ticks(scale, most, whole)


def round_up(value: float, mantissas: tuple[float, ...] = ROUND) -> float:
    """The smallest number with a round mantissa that is not below a positive value."""
    power = 10.0 ** math.floor(math.log10(value))
    for mantissa in mantissas:
        if mantissa * power >= value * (1 - 1e-12):
            return float(mantissa * power)
    return 10.0 * power


def _linear_ticks(scale: Scale, most: int, whole: bool) -> tuple[Tick, ...]:
    span = scale.high - scale.low
    if span < 1e-9 * max(abs(scale.low), abs(scale.high)) or span < 1e-290:
        return ()
    step = round_up(span / most)
    if whole and step < WHOLE[-1]:
        step = round_up(max(1.0, span / most), WHOLE)
    first, last = math.ceil(scale.low / step - 1e-9), math.floor(scale.high / step + 1e-9)
    values = [i * step for i in range(first, last + 1)][: 2 * most + 2]
    return tuple(Tick(value, label) for value, label in zip(values, _labels(values, step), strict=True))


def _log_ticks(scale: Scale, most: int) -> tuple[Tick, ...]:
    """Powers of ten: every k-th if there are many, with 2 and 5 or 3 between them if there are few."""
    first = math.ceil(math.log10(scale.low) - 1e-9)
    last = math.floor(math.log10(scale.high) + 1e-9)
    stride = max(1, -(-(last - first + 1) // most))
    powers = [p for p in range(first, last + 1) if p % stride == 0]
    values = [10.0**p for p in powers]
    for mantissas in ((1.0, 2.0, 5.0), (1.0, 3.0)):
        finer = [m * 10.0**p for p in range(first - 1, last + 1) for m in mantissas]
        finer = [v for v in finer if scale.low * (1 - 1e-9) <= v <= scale.high * (1 + 1e-9)]
        if stride == 1 and len(values) < len(finer) <= most:
            values = finer
            break
    return tuple(Tick(value, short(value)) for value in values)


def _labels(values: list[float], step: float) -> list[str]:
    """Labels in one unit (plain, k or powers of ten), with as many decimals as the spacing needs."""
    largest = max((abs(v) for v in values), default=0.0)
    if largest >= 1e6 or (0 < largest < 0.01):
        power = math.floor(math.log10(largest))
        digits = max(0, power - math.floor(math.log10(step) + 1e-9) + _extra_digit(step))
        return [_scientific(v, digits) for v in values]
    unit, suffix = (1000.0, "k") if largest >= 1000 else (1.0, "")
    decimals = max(0, -math.floor(math.log10(step / unit) + 1e-9) + _extra_digit(step))
    return ["0" if v == 0 else f"{v / unit:.{decimals}f}{suffix}" for v in values]


def _extra_digit(step: float) -> int:
    """1 if the spacing has the mantissa 2.5, which needs a second digit, else 0."""
    mantissa = step / 10.0 ** math.floor(math.log10(step) + 1e-9)
    return int(abs(mantissa - 2.5) < 1e-6)


def _scientific(value: float, digits: int) -> str:
    if value == 0:
        return "0"
    mantissa, power = f"{value:.{digits}e}".split("e")
    if "." in mantissa:
        mantissa = mantissa.rstrip("0").rstrip(".")
    return f"{mantissa}e{int(power)}"


def short(value: float) -> str:
    """A number in as few characters as possible: 0.25, 12.5, 2k, 1e-3, 2.5e6, nan, inf."""
    if not math.isfinite(value) or value == 0:
        return f"{value:g}"
    if 0.01 <= abs(value) < 1000:
        return f"{value:.3g}"
    if 1000 <= abs(value) < 1e6:
        return f"{value / 1000:.3g}k"
    return _scientific(value, 2)


def exact(value: float) -> str:
    """A number with four digits; whole numbers from 1000 in full, with thousands separators."""
    if math.isfinite(value) and abs(value) < 1e15 and float(value).is_integer() and abs(value) >= 1000:
        return f"{int(value):,}"
    if not math.isfinite(value) or value == 0 or 1e-3 <= abs(value) < 1e5:
        return f"{value:.4g}"
    return _scientific(value, 3)


def extended(low: float, high: float) -> tuple[float, float]:
    """A range around the steps from `low` to `high` that rarely changes while points arrive: it starts at 0 if
    that is near, and grows in jumps."""
    if high - low <= 1e-9 * max(abs(low), abs(high)):
        return low, low + max(1.0, 1e-6 * abs(low))
    if low < 0 or low > 0.3 * high:
        step = round_up((high - low) / 10)
        low = min(low, math.floor(low / step) * step)  # the product may round to a value above low
    else:
        low = 0.0
    return low, low + round_up(high - low, ENDS)


def snapped(low: float, high: float) -> tuple[float, float]:
    """A range around `low` to `high`, extended to round bounds so that it rarely changes."""
    span = high - low
    if span <= max(1e-9 * max(abs(low), abs(high)), 1e-290):
        span = abs(low) * 0.2 if abs(low) > 1e-280 else 1.0
        low, high = low - span / 2, high + span / 2
    step = round_up(span / 25)
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return float(first * step), float(last * step)
