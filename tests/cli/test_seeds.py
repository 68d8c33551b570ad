"""Seeds as they are typed."""

from __future__ import annotations

import pytest
import typer
from hypothesis import given
from hypothesis import strategies as st

from bntui.cli.resolve import MOST, parse_seeds


@pytest.mark.parametrize(
    ("text", "seeds"),
    [
        ("0", (0,)),
        ("0,1,2", (0, 1, 2)),
        ("0-9", tuple(range(10))),
        ("0,2-4", (0, 2, 3, 4)),
        ("2-4,0", (2, 3, 4, 0)),
        ("7-7", (7,)),
        (" 1 , 3 - 5 ", (1, 3, 4, 5)),
        ("9223372036854775806-9223372036854775807", (2**63 - 2, 2**63 - 1)),
    ],
)
def test_numbers_and_ranges_are_those_seeds_in_that_order(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@given(st.lists(st.integers(0, 2**62), min_size=1, max_size=5, unique=True), st.integers(0, 99))
def test_every_list_is_read_back(seeds: list[int], more: int) -> None:
    assert parse_seeds(",".join(map(str, seeds))) == tuple(seeds)
    assert parse_seeds(f"{seeds[0]}-{seeds[0] + more}") == tuple(range(seeds[0], seeds[0] + more + 1))


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("", "nothing beside a comma"),
        ("1,", "nothing beside a comma"),
        ("1,,2", "nothing beside a comma"),
        ("a,b", "'a' is neither"),
        ("-1", "'-1' is neither"),
        ("3-", "'3-' is neither"),
        ("0-1-2", "'0-1-2' is neither"),
        ("0..9", "'0..9' is neither"),
        ("1.5", "'1.5' is neither"),
        ("1_0", "'1_0' is neither"),
        ("٣", "is neither"),
        ("9" * 5000, "is neither"),
        ("\x1b[2J", r"'\\x1b\[2J' is neither"),
        ("4-2", "4-2 descends"),
        ("1,1", "1 twice"),
        ("0-3,2", "2 twice"),
        ("0-4,3-7", "3 twice"),
        ("0-9999999999", f"more than {MOST:,} seeds"),
    ],
)
def test_anything_else_is_named_with_what_is_accepted(text: str, why: str) -> None:
    with pytest.raises(typer.BadParameter, match=f"{why}") as caught:
        parse_seeds(text)
    assert caught.value.param_hint == "--seeds"
    assert caught.value.message.startswith(repr(text))
    assert "expected integers >= 0 or ascending ranges, each seed once, such as 0,2-4" in caught.value.message
    assert caught.value.message.isprintable()
