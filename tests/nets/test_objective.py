"""The losses and the accuracy."""

from __future__ import annotations

import pytest
import torch

from bncore.config.model import Loss
from bncore.nets import accuracy, criterion

LOGITS = torch.tensor(
    [[2.0, -1.0, 0.5], [0.0, 0.0, 3.0], [1.0, 4.0, -2.0], [0.1, 0.2, 0.3]], dtype=torch.float64
)
CLASSES = torch.tensor([0, 2, 0, 2])


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1 / 4), ("sum", 1.0), ("half_sum", 0.5)])
def test_cross_entropy_is_minus_log_softmax(reduction: str, factor: float) -> None:
    shares = LOGITS.exp() / LOGITS.exp().sum(1, keepdim=True)
    expected = -sum(shares[i, c].log() for i, c in enumerate(CLASSES)) * factor
    torch.testing.assert_close(criterion(Loss(reduction=reduction))(LOGITS, CLASSES), expected)


@pytest.mark.parametrize(("reduction", "factor"), [("mean", 1 / 12), ("sum", 1.0), ("half_sum", 0.5)])
def test_squared_error_counts_every_output_dimension(reduction: str, factor: float) -> None:
    loss = criterion(Loss(kind="squared_error", reduction=reduction))
    torch.testing.assert_close(loss(LOGITS, LOGITS.flip(0)), ((LOGITS - LOGITS.flip(0)) ** 2).sum() * factor)


def test_accuracy_is_the_fraction_right() -> None:
    assert accuracy(LOGITS, CLASSES) == 0.75


def test_a_row_with_nan_is_wrong() -> None:
    broken = LOGITS.clone()
    broken[0, 0] = float("nan")
    assert accuracy(broken, CLASSES) == 0.5
