"""Which columns of a table have room."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def columns_within(
    width: int, header: Sequence[str], rows: Sequence[Sequence[str]], least_first: Sequence[str], *, gap: int
) -> list[int]:
    """Which columns to show, by their places, so that a row has at most so many cells.

    Arguments:
        least_first: columns that are left out, one after the other.
        gap: cells between two columns.
    """
    widths = [max(map(cell_len, column)) + gap for column in zip(header, *rows, strict=True)]
    left = dict(zip(header, enumerate(widths), strict=True))
    for name in least_first:
        if sum(wide for _, wide in left.values()) - gap <= width:
            break
        left.pop(name, None)
    return [place for place, _ in left.values()]
