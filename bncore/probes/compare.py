"""How two gradients differ: length of the difference, angle, relative length; without cancellation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor


@dataclass(frozen=True)
class Comparison:
    """Gradients g and g', compared pair by pair; n results each, (n,), in float64.

    In float32 the lengths are accumulated in float64, so that each number is as good as the entries of g and
    g' are. Where g or g' is zero, cosine and relative difference are nan: they do not exist.
    """

    length: Tensor  # ||g||
    l2: Tensor  # ||g - g'||
    one_minus_cosine: (
        Tensor  # || g/||g|| - g'/||g'|| ||^2 / 2: relative error eps where 1 - cos is not rounded away
    )

    @property
    def cosine(self) -> Tensor:
        """<g, g'> / (||g|| ||g'||)."""
        return 1 - self.one_minus_cosine

    @property
    def relative(self) -> Tensor:
        """||g - g'|| / ||g||."""
        return torch.where(self.length > 0, self.l2 / self.length, torch.nan)


@torch.no_grad()
def pairwise(g: Sequence[Tensor], other: Sequence[Tensor]) -> Comparison:
    """Each g[i] with other[i]: one result a pair."""
    lengths, other_lengths = _norms(g), _norms(other)
    l2 = _norms(torch._foreach_sub(list(g), list(other)))
    return Comparison(lengths, l2, _angle(g, lengths, other, other_lengths))


def flat(g: Iterable[Tensor]) -> Tensor:
    """All of g as one vector, (P,)."""
    return torch.cat([part.flatten() for part in g])


def _norms(tensors: Sequence[Tensor]) -> Tensor:
    return torch.stack(torch._foreach_norm(list(tensors), 2, dtype=torch.float64))


def _angle(g: Sequence[Tensor], lengths: Tensor, other: Sequence[Tensor], other_lengths: Tensor) -> Tensor:
    """|| g/||g|| - g'/||g'|| ||^2 / 2 of each pair."""
    units = torch._foreach_div(list(g), [s.to(t) for s, t in zip(lengths.unbind(), g, strict=True)])
    subtract = torch._foreach_div(
        list(other), [s.to(t) for s, t in zip(other_lengths.unbind(), other, strict=True)]
    )
    torch._foreach_sub_(units, subtract)
    return _norms(units).square() / 2
