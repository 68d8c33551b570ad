"""What is read at the crosshair, and where curves are best."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.figure import Curve
from bntui.chart.grid import cells
from bntui.chart.reading import Reading, readings, sentence, shortened, with_best, with_reached

VALUES = st.lists(st.floats(-1e6, 1e6) | st.sampled_from([np.nan, np.inf, -np.inf]), min_size=1, max_size=30)


def line(style: int, values: list[float]) -> Curve:
    y = np.array(values)
    return Curve(f"c{style}", style, np.arange(len(values), dtype=np.float64), y, y)


@given(VALUES, st.sampled_from(["lower", "higher"]))
def test_the_best_is_the_first_of_the_best_finite_values(values: list[float], better: str) -> None:
    curve = line(0, values)
    (found,) = with_best(readings([curve], 0.0), [curve], better)
    finite = [(v, i) for i, v in enumerate(values) if np.isfinite(v)]
    if not finite:
        assert found.best is None
        return
    value = (min if better == "lower" else max)(v for v, _ in finite)
    assert found.best == (next(i for v, i in finite if v == value), value)


def test_a_curve_that_ended_before_the_crosshair_still_says_its_best() -> None:
    curves = [line(0, [3.0, 1.0, 2.0]), line(1, list(np.linspace(9, 5, 20)))]
    reached, ended = with_best(readings(curves, 19.0), curves, "lower")
    assert (reached.name, reached.low, reached.best) == ("c1", 5.0, (19.0, 5.0))
    assert (ended.name, ended.best) == ("c0", (1.0, 1.0))
    assert np.isnan([ended.x, ended.low]).all()


@pytest.mark.parametrize("better", ["", "lower"])
def test_bands_and_measures_without_a_better_way_have_no_best(better: str) -> None:
    x = np.arange(3.0)
    curve = Curve("band", 0, x, x, x + 1) if better else line(0, [1.0, 2.0])
    assert [one.best for one in with_best(readings([curve], 1.0), [curve], better)] == [None]


@given(VALUES, VALUES, st.integers(0, 29), st.sampled_from(["lower", "higher"]))
def test_a_curve_reaches_what_is_read_of_the_selected_one_at_its_first_value_as_good(
    values: list[float], others: list[float], at: int, better: str
) -> None:
    curves = [line(0, values), line(1, others)]
    found = with_reached(readings(curves, float(at)), curves, better, 0)
    last = len(values) - 1
    level = values[min(at, last)] if at <= last + (last > 0) else np.nan  # read up to one step beyond the end
    for reading in found:
        if not np.isfinite(level):
            assert reading.reached is None
            continue
        own = np.array((values, others)[reading.style])
        as_good = np.flatnonzero(own <= level if better == "lower" else own >= level)
        assert reading.reached is not None
        np.testing.assert_equal(reading.reached, (as_good[0] if as_good.size else np.nan, level))


def test_without_a_better_way_or_a_selected_line_nothing_is_reached() -> None:
    x = np.arange(3.0)
    curves = [line(0, [3.0, 2.0, 1.0]), Curve("band", 1, x, x, x + 1)]
    found = readings(curves, 1.0)
    for better, selected in (("", 0), ("lower", 1), ("lower", 7), ("lower", None)):
        assert all(one.reached is None for one in with_reached(found, curves, better, selected))
    line_, band = with_reached(found, curves, "lower", 0)
    assert (line_.reached, band.reached) == ((1.0, 2.0), None)


@given(st.lists(st.floats(-3, 3), min_size=1, max_size=30), st.floats(-4, 4))
def test_at_equal_progress_the_first_point_that_has_come_as_far_is_read(
    places: list[float], x: float
) -> None:
    places = [round(place, 3) for place in sorted(places)]
    values = np.arange(len(places), dtype=np.float64)
    curve = Curve("c", 0, np.array(places), values, values)
    found = readings([curve], round(x, 3), falling=True)
    wanted = next(((place, i) for i, place in enumerate(places) if place >= round(x, 3)), None)
    assert [(one.x, one.low) for one in found if np.isfinite(one.x)] == ([] if wanted is None else [wanted])


@pytest.mark.parametrize(
    ("steps", "said"),
    [
        ([20.0, 20.0], "at 20: a 1  b 1 "),
        ([15.0, 15.0], "at 15: a 1  b 1 "),
        ([15.0, 20.0], "at 20: a 1 @15  b 1 "),
        ([15.0, 12.0], "at 20: a 1 @15  b 1 @12 "),
    ],
)
def test_the_strip_says_where_values_were_measured_that_are_of_another_place(
    steps: list[float], said: str
) -> None:
    found = [Reading(name, i, steps[i], 1.0, 1.0, None) for i, name in enumerate("ab")]
    assert "".join(text for text, _ in sentence(found, 20.0, 80)) == said


@pytest.mark.parametrize("ending", ["", " ×3", "-s0"])
def test_shortened_names_stay_distinct(ending: str) -> None:
    names = ["none", "batch", "batch-noise", "none-noise", "l1", "linf", "dln-none", "dln-batch"]
    for most in (5, 8, 12):
        cut = shortened([name + ending for name in names], most)
        assert len({*cut}) == len(names)
        assert max(map(len, cut)) <= most
    assert cut == names, "what all have in common is left out first"


@given(st.lists(st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=20)), st.integers(5, 20))
def test_shortened_names_take_no_more_cells_than_they_may(names: list[str], most: int) -> None:
    assert all(len(cells(name)) <= most for name in shortened(names, most))


@given(st.integers(1, 90), st.integers(20, 160))
def test_a_value_at_the_crosshair_is_said_whole_or_not_at_all(curves: int, width: int) -> None:
    """Cut at its end, 217.5 would be read as 21."""
    found = readings([line(style, [217.5 + style]) for style in range(curves)], 0.0)
    said = "".join(text for text, _ in sentence(found, 0.0, width))
    assert len(said) <= width
    _, *words = said.split()
    more = int(words.pop()) if words[-1].startswith("+") else 0
    assert [float(word) for word in words[2::2]] == [217.5 + style for style in range(curves - more)]
