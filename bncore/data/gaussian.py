"""Gaussian regression x -> A x (Santurkar et al., 2018, section 2.2)."""

from __future__ import annotations

import torch
from torch import Tensor

from bncore.random import generator


def gaussian_regression(
    seed: int, samples: int, features: int
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test pairs (x, A x) in float64, each (samples, features); A and x are i.i.d. N(0, 1).

    A, the training x and the test x come from keys of their own, so `samples` does not change A.
    """
    matrix, train, test = (
        torch.randn(shape, dtype=torch.float64, generator=generator(seed, "data", layer=part))
        for part, shape in enumerate([(features, features), (samples, features), (samples, features)])
    )
    return (train, train @ matrix.T), (test, test @ matrix.T)
