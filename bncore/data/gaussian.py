"""Gaussian regression x -> A x (Santurkar et al., 2018, section 2.2)."""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor

from bncore.random import generator

TEACHERS: dict[str, Callable[..., Tensor]] = {"gaussian": torch.randn, "uniform": torch.rand}
"""Draws of the entries of A by name: N(0, 1) or U(0, 1)."""


def gaussian_regression(
    seed: int, samples: int, features: int, teacher: str = "gaussian"
) -> tuple[tuple[Tensor, Tensor], tuple[Tensor, Tensor]]:
    """Training and test pairs (x, A x) in float64, each (samples, features); x is i.i.d. N(0, 1), A as `teacher`,
    one of `TEACHERS`, says.

    A, the training x and the test x come from keys of their own, so `samples` does not change A, nor `teacher` x.
    """
    of_matrix, *of_inputs = (generator(seed, "data", layer=part) for part in range(3))
    matrix = TEACHERS[teacher](features, features, dtype=torch.float64, generator=of_matrix)
    train, test = (
        torch.randn(samples, features, dtype=torch.float64, generator=source) for source in of_inputs
    )
    return (train, train @ matrix.T), (test, test @ matrix.T)
