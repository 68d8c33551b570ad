"""Numbers as the tables of the command line show them."""

from __future__ import annotations

from bncore.follow.run_view import RunView


def figure(value: float | str | None, form: str = ".4g") -> str:
    """A number for a table, `-` where there is none."""
    return "-" if value is None else format(float(value), form)


def steps_made(view: RunView) -> str:
    """``120/400``; ``120`` alone where nobody knows how many there will be."""
    return f"{view.step:,}/{view.steps:,}" if view.steps else f"{view.step:,}"


def percent(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.1f} %"
