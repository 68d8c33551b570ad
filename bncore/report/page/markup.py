"""HTML as text, with everything that comes from outside made harmless."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from html import escape

from bncore.config.errors import escape_control


def text(content: object) -> str:
    """Content as HTML shows it: markup escaped, control characters made visible."""
    return escape("\n".join(escape_control(line) for line in str(content).split("\n")))


def tag(name: str, inner: str, **attributes: str) -> str:
    """An element around `inner`, which is HTML already. ``class_`` stands for class, ``aria_label`` for
    aria-label."""
    given = "".join(
        f' {key.rstrip("_").replace("_", "-")}="{text(value)}"' for key, value in attributes.items()
    )
    return f"<{name}{given}>{inner}</{name}>"


def table(header: Sequence[str], rows: Iterable[Sequence[str]], *, numbers: Iterable[int] = ()) -> str:
    """A table that scrolls sideways where it is too wide; cells are HTML already.

    Arguments:
        numbers: columns that are aligned as numbers.
    """
    right = set(numbers)
    head = "".join(tag("th", text(name), scope="col") for name in header)
    body = "".join(
        tag("tr", "".join(_cell(cell, right=i in right) for i, cell in enumerate(row))) for row in rows
    )
    return tag("div", tag("table", f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody>"), class_="scroll")


def details(title: str, inner: str) -> str:
    """Something to be unfolded; `title` is text."""
    return tag("details", tag("summary", text(title)) + inner)


def unordered_list(items: Iterable[str]) -> str:
    """A list of texts; nothing where there are none."""
    points = "".join(tag("li", text(item)) for item in items)
    return tag("ul", points) if points else ""


def number(value: float | None) -> str:
    """A number for a table, ``-`` where there is none."""
    return "-" if value is None else f"{value:.4g}"


def _cell(inner: str, *, right: bool) -> str:
    return tag("td", inner, class_="n") if right else tag("td", inner)
