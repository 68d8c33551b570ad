"""What is said in a given width: never wider, never an error; what is remembered: whatever became of the file."""

from __future__ import annotations

import json
import math
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st
from rich.cells import cell_len
from rich.text import Text

from bncore.follow.estimate import duration
from bntui.layouts import MOST, read_layout, remember_layout, state_file
from bntui.widgets import formatting as fmt
from bntui.widgets.charts import LEAST_HEIGHT, LEAST_WIDTH, arrange
from bntui.widgets.line import Segment, fit

TEXTS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=30)
"""Wide, narrow and combining characters."""
NUMBERS = st.floats(allow_nan=True, allow_infinity=True)
WIDTHS = st.integers(0, 60)
PARTS = st.lists(st.builds(Segment, TEXTS.map(Text), st.integers(0, 9)), max_size=6)


@given(st.integers(1, 30), st.integers(0, 500), st.integers(0, 200))
def test_charts_are_arranged_within_what_there_is(count: int, width: int, height: int) -> None:
    columns, rows = arrange(count, width, height)
    assert columns >= 1
    assert rows >= 1
    assert columns * rows < count + max(columns, rows), "no empty row or column"
    assert columns == 1 or width // columns >= LEAST_WIDTH
    assert rows == 1 or height // rows >= LEAST_HEIGHT
    most = max(1, width // LEAST_WIDTH) * max(1, height // LEAST_HEIGHT)
    assert columns * rows >= min(count, most), "as many as there is room for"


@given(PARTS, PARTS, WIDTHS)
def test_a_line_is_exactly_as_wide_as_it_may_be(
    left: list[Segment], right: list[Segment], width: int
) -> None:
    line = fit(left, right, width)
    assert line.cell_len == width
    assert "\n" not in line.plain


@given(st.lists(st.tuples(st.integers(1, 12), st.integers(0, 9)), min_size=1, max_size=8), WIDTHS)
def test_a_line_leaves_out_what_matters_least(sizes: list[tuple[int, int]], width: int) -> None:
    parts = [Segment(Text(chr(65 + index) * size), rank) for index, (size, rank) in enumerate(sizes)]
    line = fit(parts[::2], parts[1::2], width).plain
    lost = [part.rank for part in parts if part.text.plain not in line]
    kept = [part.rank for part in parts if part.text.plain in line]
    assert kept or "…" in line or not width, "the last one is cut and not left out"
    if lost and kept:
        assert min(lost) >= max(kept)


def test_parts_that_fit_exactly_are_all_shown() -> None:
    parts = [Segment(Text(word), rank) for rank, word in enumerate(("none", "batch", "l1"))]
    assert fit(parts, [], 15).plain == "none  batch  l1"
    assert fit(parts[:2], parts[2:], 15).plain == "none  batch  l1"


@given(TEXTS, st.integers(-3, 40))
def test_fitted_text_has_its_width(text: str, width: int) -> None:
    fitted = fmt.fitted(text, width)
    assert cell_len(fitted) == max(0, width)
    if cell_len(text) <= width:
        assert fitted.rstrip() == text.rstrip()


@given(st.lists(NUMBERS, max_size=80), st.integers(-1, 40))
def test_a_sparkline_is_as_wide_as_asked_or_empty(values: list[float], width: int) -> None:
    line = fmt.sparkline(values, width)
    assert len(line) in (0, max(0, width))
    assert set(line) <= {" ", *fmt.BLOCKS}
    if width > 0 and any(math.isfinite(value) for value in values):
        assert line.strip()


@given(st.none() | NUMBERS | st.integers(-(10**30), 10**30))
def test_durations_and_rates_are_always_said(value: float | None) -> None:
    assert duration(value)
    assert fmt.rate(value)
    if value is not None and 0 <= value < 3e9:
        assert len(duration(value)) <= 12
    if value is not None and 1e-6 < value < 1e9:
        assert len(fmt.rate(value)) <= 14


@pytest.mark.parametrize(
    ("seconds", "said"),
    [(None, "-"), (math.nan, "-"), (math.inf, "-"), (0, "0 s"), (0.4, "0 s"), (99.4, "99 s"), (99.5, "2 min"),
     (3600, "60 min"), (5999, "1 h 40"), (7500, "2 h 05"), (48 * 3600, "2 d 0 h"), (100 * 3600, "4 d 4 h")],
)  # fmt: skip
def test_durations_as_a_person_says_them(seconds: float | None, said: str) -> None:
    assert duration(seconds) == said


@given(st.integers(0, 10**10 - 10**7))
def test_counts_are_short_and_of_the_right_size(number: int) -> None:
    said = fmt.short_count(number)
    assert len(said) <= 5
    size = {"k": 1e3, "M": 1e6}.get(said[-1], 1.0)
    assert float(said.rstrip("kM")) * size == pytest.approx(number, rel=0.06)


@given(st.floats(0, 1))
def test_a_share_is_never_said_to_be_more_than_it_is(fraction: float) -> None:
    said = fmt.percent(fraction)
    assert len(said) <= 5
    assert (said == "100 %") == (fraction > 1 - 1e-10)
    assert int(said.removesuffix(" %")) <= 100 * fraction + 1e-6


@given(st.floats(-1, 2), WIDTHS)
def test_a_bar_is_as_wide_as_asked(fraction: float, width: int) -> None:
    assert fmt.bar(fraction, width).cell_len == width


DAMAGED = (
    b"", b"{", b"null", b"[]", b"3", b'"text"', b"\xff\xfe\x00", b"[" * 100_000, b'{"a": 1, "b": null, "c": {}}',
    b'{"a": []}', b'{"a": [1, 2]}', b'{"a": [null]}', b'{"a": ["loss", 3]}', b'{"\\ud800": ["loss"]}', b"NaN",
)  # fmt: skip


@pytest.mark.parametrize("content", DAMAGED, ids=range(len(DAMAGED)))
def test_a_damaged_memory_is_forgotten_and_written_anew(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "layouts.json"
    file.write_bytes(content)
    assert read_layout("a", file) is None
    remember_layout("a", ("loss", "ics"), file)
    assert read_layout("a", file) == ("loss", "ics")
    assert [path.name for path in tmp_path.iterdir()] == ["layouts.json"]


@given(
    st.dictionaries(st.text(max_size=8), st.lists(st.text(max_size=8), min_size=1, max_size=4), max_size=4)
)
def test_what_is_remembered_is_read_again(
    tmp_path_factory: pytest.TempPathFactory, kept: dict[str, list[str]]
) -> None:
    file = tmp_path_factory.mktemp("memory") / "deep" / "layouts.json"
    for experiment, charts in kept.items():
        remember_layout(experiment, tuple(charts), file)
    assert {name: read_layout(name, file) for name in kept} == {k: tuple(v) for k, v in kept.items()}


def test_what_was_changed_longest_ago_is_forgotten_first(tmp_path: Path) -> None:
    file = tmp_path / "layouts.json"
    file.write_text(json.dumps({str(number): ["loss"] for number in range(MOST)}))
    remember_layout("0", ("ics",), file)
    remember_layout("new", ("ics",), file)
    assert read_layout("1", file) is None
    assert read_layout("0", file) == read_layout("new", file) == ("ics",)


def test_a_home_that_cannot_be_written_is_no_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    remember_layout("a", ("loss",), tmp_path / "file" / "layouts.json")
    (tmp_path / "layouts.json").mkdir()
    remember_layout("a", ("loss",), tmp_path / "layouts.json")
    assert read_layout("a", tmp_path / "layouts.json") is None
    assert sorted(path.name for path in tmp_path.iterdir()) == ["file", "layouts.json"], (
        "nothing half written"
    )


def test_where_it_is_remembered() -> None:
    assert state_file({"XDG_STATE_HOME": "/x"}) == Path("/x/bnrun/layouts.json")
    for elsewhere in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert state_file(elsewhere) == Path.home() / ".local/state/bnrun/layouts.json"
