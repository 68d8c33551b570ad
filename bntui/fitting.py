"""Fitting the columns of a table to a width."""

from __future__ import annotations

from collections.abc import Sequence

from rich.cells import cell_len


def columns_within(
    width: int, header: Sequence[str], rows: Sequence[Sequence[str]], least_first: Sequence[str], *, gap: int
) -> list[int]:
    """Indices of the columns to show, so that a row fits into `width` cells.

    Arguments:
        least_first: names of columns, in the order in which they are dropped.
        gap: cells between two columns.
    """
    widths = [max(map(cell_len, column)) + gap for column in zip(header, *rows, strict=True)]
    left = dict(zip(header, enumerate(widths), strict=True))
    for name in least_first:
        if sum(wide for _, wide in left.values()) - gap <= width:
            break
        left.pop(name, None)
    return [index for index, _ in left.values()]
