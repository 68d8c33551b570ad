"""Gradients are compared as exactly as their entries allow."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from oracles import measures

from bncore.probes.compare import pairwise, vectors, whole

from .step import drawn


@given(st.integers(0, 2**16), st.floats(1e-12, 1e12), st.floats(1e-12, 1e12))
def test_every_number_is_the_definitions(seed: int, scale: float, other_scale: float) -> None:
    a, b = scale * drawn(3, 4, seed=seed), other_scale * drawn(3, 4, seed=seed + 1)
    found = pairwise([a], [b])
    assert found.l2.item() == pytest.approx(measures.distance([a], [b]), rel=1e-12)
    assert found.cosine.item() == pytest.approx(measures.cosine([a], [b]), abs=1e-14)
    assert found.relative.item() == pytest.approx(
        measures.distance([a], [b]) / measures.length([a]), rel=1e-12
    )


@pytest.mark.parametrize("angle", [1e-3, 1e-6, 1e-9, 1e-12])
def test_small_angles_are_not_rounded_away(angle: float) -> None:
    a = torch.tensor([3.0, 0.0], dtype=torch.float64)
    b = 5 * torch.tensor([math.cos(angle), math.sin(angle)], dtype=torch.float64)
    assert pairwise([a], [b]).one_minus_cosine.item() == pytest.approx(2 * math.sin(angle / 2) ** 2, rel=1e-6)


def test_float32_gradients_lose_nothing_in_the_sums() -> None:
    a = torch.rand(10**7, generator=torch.Generator().manual_seed(0))
    b = a + 1e-4 * torch.rand(10**7, generator=torch.Generator().manual_seed(1))
    single, double = pairwise([a], [b]), pairwise([a.double()], [b.double()])
    for name in ("length", "l2"):
        torch.testing.assert_close(getattr(single, name), getattr(double, name), rtol=1e-6, atol=0)
    torch.testing.assert_close(single.one_minus_cosine, double.one_minus_cosine, rtol=1e-3, atol=1e-14)


def test_a_zero_gradient_has_no_angle_and_no_relative_difference() -> None:
    found = pairwise([torch.zeros(3)], [torch.ones(3)])
    assert found.l2.item() == pytest.approx(3**0.5)
    assert found.cosine.isnan().all() and found.relative.isnan().all()


def test_pairs_are_compared_one_by_one() -> None:
    a, b = [drawn(2, 2, seed=1), drawn(3, seed=2)], [drawn(2, 2, seed=3), drawn(3, seed=4)]
    together = pairwise(a, b)
    for i in range(2):
        alone = pairwise([a[i]], [b[i]])
        assert together.l2[i] == alone.l2[0] and together.cosine[i] == alone.cosine[0]


def test_tensors_together_are_compared_as_the_vector_that_they_make() -> None:
    a, b = [drawn(2, 2, seed=1), drawn(3, seed=2)], [drawn(2, 2, seed=3), drawn(3, seed=4)]
    together, joined = whole(a, b), pairwise(vectors(a), vectors(b))
    for name in ("length", "l2", "cosine", "one_minus_cosine", "relative"):
        torch.testing.assert_close(getattr(together, name), getattr(joined, name), rtol=1e-14, atol=1e-15)
