"""Ranks of a paper's curve among seeds, by the dumbest code, and the words for them."""

from __future__ import annotations

import math
from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from bncore.report.paper import FILES, all_curves
from bncore.report.rank import (
    FEW,
    LEVEL,
    SHARES,
    Aligned,
    PaperRank,
    RankSample,
    as_far,
    chosen,
    looks,
    rank,
    smoothed,
    spacing,
    where,
)

NUMBERS = st.integers(-5, 5).map(float)  # few values, so that there are ties
SAMPLES = st.lists(NUMBERS | st.just(math.nan), max_size=8)


@st.composite
def pools(draw: st.DrawFn, least: int = 3) -> np.ndarray:
    """Curves (n + 1, m), some values missing of all but the first."""
    n, m = draw(st.integers(least, 9)), draw(st.integers(1, 5))
    values = draw(st.lists(st.floats(-10, 10, width=16), min_size=n * m, max_size=n * m))
    return np.array(values, dtype=np.float64).reshape(n, m)


def aligned(pool: np.ndarray, tolerance: float = 0.0) -> Aligned:
    """The first curve of a pool as the paper's."""
    steps = np.arange(pool.shape[1]) * 100.0
    return Aligned(steps, pool[None, 0], pool[None, 1:], ("",), tolerance)


def ranked(pool: np.ndarray, tolerance: float = 0.0) -> PaperRank:
    one = aligned(pool, tolerance)
    return PaperRank("1", "panel", "none", "Standard", len(pool) - 1, looks=looks(one), as_far=as_far(one))


@given(NUMBERS, SAMPLES, st.sampled_from([0.0, 1.0]))
def test_the_rank_is_the_share_below_and_half_of_the_ties(
    value: float, ours: list[float], near: float
) -> None:
    known = [one for one in ours if not math.isnan(one)]
    points = sum(1.0 if one < value - near else 0.5 if one <= value + near else 0.0 for one in known)
    found = rank(value, np.array(ours, dtype=np.float64), near)
    assert found == pytest.approx(points / len(known)) if known else math.isnan(found)
    assert not known or 0 <= found <= 1


@given(pools(), st.randoms(use_true_random=False), st.sampled_from([0.0, 0.5]))
def test_the_order_of_the_seeds_does_not_matter(pool: np.ndarray, random, near: float) -> None:  # type: ignore[no-untyped-def]
    order = list(range(1, len(pool)))
    random.shuffle(order)
    assert ranked(pool, near) == ranked(pool[[0, *order]], near)


@given(pools())
def test_beside_a_seed_that_equals_it_the_paper_s_is_never_outside(pool: np.ndarray) -> None:
    found = ranked(np.vstack([pool, pool[:1]]))
    assert found.looks
    assert not found.out
    assert not found.outside


@given(pools())
def test_mirrored_values_have_mirrored_ranks(pool: np.ndarray) -> None:
    found, other = ranked(pool), ranked(-pool)
    assert [look.rank for look in found.looks] == pytest.approx([1 - look.rank for look in other.looks])
    assert [look.side for look in found.looks] == [-look.side for look in other.looks]
    assert found.as_far == other.as_far


def distance(pool: list[list[float]], one: int, columns: list[int], near: float) -> float:
    """How far a curve lies outside the others, by the definition."""
    total, count = 0.0, 0
    for at in columns:
        others = [curve[at] for i, curve in enumerate(pool) if i != one and not math.isnan(curve[at])]
        value = pool[one][at]
        if math.isnan(value) or math.isnan(pool[0][at]) or len([*others, value]) < 3:
            continue
        count += 1
        total += max(value - max(others) - near, min(others) - value - near, 0.0) / (
            max(others) - min(others) + near + 1e-12
        )
    return total / count if count else 0.0


@given(pools(), st.sampled_from([0.0, 0.5]), st.data())
def test_as_far_counts_the_seeds_that_lie_no_less_far_outside_the_others(
    pool: np.ndarray, near: float, data: st.DataObject
) -> None:
    missing = data.draw(st.lists(st.tuples(st.integers(1, len(pool) - 1), st.integers(0, pool.shape[1] - 1))))
    for place in missing:
        pool[place] = math.nan
    columns = chosen(np.arange(pool.shape[1]) * 100.0)
    apart = [distance(pool.tolist(), one, columns, near) for one in range(len(pool))]
    known = any(np.isfinite(pool[1:, at]).sum() >= 2 for at in columns)
    least = sum(one > apart[0] * (1 + 1e-9) for one in apart[1:])
    most = sum(one >= apart[0] * (1 - 1e-9) for one in apart[1:])
    assert (least <= as_far(aligned(pool, near)) <= most) if known else as_far(aligned(pool, near)) == 0


@given(pools())
def test_of_curves_that_are_alike_no_more_are_called_outside_than_chance_allows(pool: np.ndarray) -> None:
    """Whichever of n + 1 curves is the paper's: at most one in n + 1, or the share that is allowed, is outside."""
    found = [ranked(np.vstack([pool[one], np.delete(pool, one, axis=0)])) for one in range(len(pool))]
    assert sum(one.outside for one in found) <= max(1, LEVEL * len(pool))


def test_far_out_at_one_step_alone_is_outside() -> None:
    pool = np.array([[50.0, 0.0, 0.0], *([float(i), i - 2.0, 2.0 - i] for i in range(5))])
    found = ranked(pool)
    assert found.outside
    assert found.words == "outside all 5 of ours at step 0 only (above)"


def test_a_little_outside_as_some_of_ours_are_is_typical() -> None:
    pool = np.array([[5.0, 2.0], *([float(i), float(4 - i)] for i in range(5))])
    found = ranked(pool)
    assert len(found.out) == 1
    assert not found.outside
    assert found.words == f"a typical seed (outside all 5 at step 0 only, as {found.as_far} of ours)"


def test_values_that_are_known_no_better_are_ties() -> None:
    pool = np.array([[1.0005], [1.0], [1.0], [1.0]])
    assert ranked(pool, 1e-3).looks[0] == RankSample(0.0, "", 0.5, 3, 1.0005, 1.0, 1.0, 0)
    assert ranked(pool).looks[0].side == 1


def test_a_seed_that_ended_counts_where_it_has_values_and_one_alone_does_not() -> None:
    pool = np.array([[1.0, 1.0, 1.0], [0.0, 0.0, math.nan], [2.0, math.nan, math.nan], [3.0, 3.0, 3.0]])
    assert [(look.step, look.seeds) for look in ranked(pool).looks] == [(0.0, 3), (100.0, 2)]


def test_logarithms_are_told_as_the_values_themselves() -> None:
    one = replace(aligned(np.array([[2.0], [1.0], [3.0]])), log=True)
    look = looks(one)[0]
    assert (look.paper, look.low, look.high) == pytest.approx((100, 10, 1000))
    steps, low, high = one.spread
    assert (steps.tolist(), low.tolist(), high.tolist()) == ([0.0], [10.0], [1000.0])


@pytest.mark.parametrize(
    ("out", "said"),
    [
        ({0, 100, 200, 300}, "at all 4 steps"),
        ({200, 300}, "from step 200 on"),
        ({0, 100, 200}, "up to step 200"),
        ({100}, "at step 100 only"),
        ({300}, "at step 300 only"),
        ({0, 200}, "at 2 of 4 steps"),
        ({100, 200}, "at 2 of 4 steps"),
    ],
)
def test_steps_in_words(out: set[float], said: str) -> None:
    assert where([0, 100, 200, 300], out) == said


def test_the_only_step_is_said_to_be_the_only_one() -> None:
    assert where([1500], {1500}) == "at step 1,500, the only one of both"
    inside = ranked(np.array([[1.0], *([float(i)] for i in range(6))]))
    assert inside.words == "a typical seed at step 0, the only one of both"


def in_words(sides: list[int], *, seeds: int = 20, edges: int = 1, **more: int) -> str:
    names = ["lower edge", "upper edge"][:edges] if edges > 1 else [""]
    found = tuple(
        RankSample(100.0 * (i // edges), names[i % edges], 0.5, seeds, 0.0, 0.0, 0.0, side)
        for i, side in enumerate(sides)
    )
    return PaperRank("1", "", "", "", seeds, looks=found, **more).words


def test_words() -> None:
    assert in_words([0, 0]) == "a typical seed"
    assert in_words([0, -1, -1]) == "outside all 20 of ours from step 100 on (below)"
    assert in_words([1, -1]) == "outside all 20 of ours at all 2 steps (on both sides)"
    assert in_words([0, 1, 0, 1], edges=2) == "outside all 20 of ours at all 2 steps (above; upper edge)"
    assert in_words([1, 1, 1, 1], edges=2) == "outside all 20 of ours at all 2 steps (above)"
    assert in_words([0, 1], as_far=3) == "a typical seed (outside all 20 at step 100 only, as 3 of ours)"
    assert in_words([0, 1, 1], as_far=3) == "an unusual seed (outside all 20 from step 100 on, as 3 of ours)"
    assert in_words([0, 1, 1], seeds=5, as_far=3).startswith("an unusual seed")
    assert in_words([0, 1, 1, 0], seeds=5, as_far=3).startswith("a typical seed")
    assert in_words([0, 0], diverged=2) == "a typical seed; 2 of 20 seeds diverged"


def test_of_few_seeds_no_seed_is_called_typical() -> None:
    for seeds in range(2, FEW):
        assert in_words([0, 0], seeds=seeds) == f"within the range of {seeds} seeds (few)"
        assert in_words([1, 0], seeds=seeds) == f"outside all {seeds} seeds (few) at step 0 only (above)"
        assert in_words([1, 0], seeds=seeds, as_far=1).endswith("as 1 of ours (few seeds)")
    assert in_words([0, 0], seeds=FEW) == "a typical seed"


@given(st.lists(st.integers(0, 1000), min_size=1, unique=True).map(sorted))
def test_a_few_steps_are_looked_at_the_first_and_the_last_among_them(steps: list[int]) -> None:
    at = chosen(np.array(steps, dtype=np.float64))
    assert at[0] == 0
    assert at[-1] == len(steps) - 1
    assert len(at) <= len(SHARES)
    assert all(a < b for a, b in pairwise(at))


@given(pools(), st.integers(0, 3))
def test_means_are_over_as_many_to_the_left_as_to_the_right(pool: np.ndarray, half: int) -> None:
    found = smoothed(aligned(pool), half)
    m = pool.shape[1]
    for i in range(m):
        reach = min(half, i, m - 1 - i)
        expected = pool[:, i - reach : i + reach + 1].sum(axis=1) / (2 * reach + 1)
        assert np.concatenate([found.paper[0, [i]], found.ours[0, :, i]]) == pytest.approx(
            expected, abs=1e-12
        )


@pytest.mark.parametrize(("key", "figure"), sorted(k for k in FILES if k[0] != "difference_by_length"))
def test_the_paper_s_samples_lie_at_multiples_of_what_is_found_for_their_distance(
    key: str, figure: str
) -> None:
    usual = {"3b": 50, "5b": 50, "10": 50}.get(figure, 1000 if key == "test_accuracy" else 100)
    for file in FILES[key, figure]:
        for curve in all_curves(key, figure, layer=file.layer):
            assert spacing(curve.x) == usual
