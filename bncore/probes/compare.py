"""How two gradients differ: length of the difference, angle, relative length; without cancellation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 4096


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
    if tensors[0].dtype == torch.float64:
        return torch.stack(torch._foreach_norm(list(tensors), 2))
    return torch.stack([norm_of(t) for t in tensors])


def norm_of(t: Tensor) -> Tensor:
    """||t||, 0-d, in float64.

    Of a float32 tensor, blocks are summed in float32, which loses nothing over so few entries, and the blocks
    in float64. To sum all of t in float64 takes 15 times as long, and to sum 10^7 entries in float32 is wrong
    from the fourth digit on.
    """
    flat, whole = t.flatten(), t.numel() // BLOCK * BLOCK
    blocks = torch.linalg.vector_norm(flat[:whole].view(-1, BLOCK), dim=1)
    norm: Tensor = torch.linalg.vector_norm(torch.cat([blocks, flat[whole:]]), dtype=torch.float64)
    return norm


def _angle(g: Sequence[Tensor], lengths: Tensor, other: Sequence[Tensor], other_lengths: Tensor) -> Tensor:
    """|| g/||g|| - g'/||g'|| ||^2 / 2 of each pair."""
    units = torch._foreach_div(list(g), [s.to(t) for s, t in zip(lengths.unbind(), g, strict=True)])
    subtract = torch._foreach_div(
        list(other), [s.to(t) for s, t in zip(other_lengths.unbind(), other, strict=True)]
    )
    torch._foreach_sub_(units, subtract)
    return _norms(units).square() / 2
