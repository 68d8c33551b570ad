"""Seeds as a person types them: ``0,2-4``."""

from __future__ import annotations

import re
from itertools import pairwise

import typer

MOST = 10_000
"""Seeds of one sweep: a range is typed faster than it is meant."""
_PART = re.compile(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?")


def parse_seeds(text: str) -> tuple[int, ...]:
    """``0,2-4`` as ``(0, 2, 3, 4)``: numbers and ranges, both ends included.

    Raises:
        BadParameter: it is something else, a range descends, a seed comes twice, or there are too many.
    """
    parts = [_range(text, part) for part in text.split(",")]
    if sum(last - first + 1 for first, last in parts) > MOST:
        raise _refused(text, f"more than {MOST:,} seeds")
    seeds = tuple(seed for first, last in parts for seed in range(first, last + 1))
    for one, following in pairwise(sorted(seeds)):
        if one == following:
            raise _refused(text, f"{one} twice")
    return seeds


def _range(text: str, part: str) -> tuple[int, int]:
    match = _PART.fullmatch(part)
    if match is None:
        raise _refused(text, f"{part!r} is neither" if part.strip() else "nothing beside a comma")
    first, last = int(match[1]), int(match[2] or match[1])
    if last < first:
        raise _refused(text, f"{part.strip()} descends")
    return first, last


def _refused(text: str, why: str) -> typer.BadParameter:
    expected = "expected integers >= 0 or ascending ranges, each seed once, such as 0,2-4"
    return typer.BadParameter(f"{text!r} ({why}); {expected}", param_hint="--seeds")
