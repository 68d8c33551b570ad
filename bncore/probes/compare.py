"""How two gradients differ: length of the difference, angle, relative length; without cancellation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 4096
WORTH_JOINING = 1 << 18
"""Entries below which joining tensors costs less than going through them one by one."""


@dataclass(frozen=True)
class Comparison:
    """Gradients g and g', compared pair by pair; n results each, (n,), in float64.

    In float32 the lengths are accumulated in float64, so that each number is as good as the entries of g and
    g' are. Where g or g' is zero, cosine and relative difference are nan: they do not exist.
    """

    length: Tensor  # ||g||
    l2: Tensor  # ||g - g'||
    one_minus_cosine: Tensor  # || g/||g|| - g'/||g'|| ||^2 / 2: to eps where 1 - cos is not rounded away
    summed: Tensor  # sum_i ||g_i - g'_i|| over the tensors that were compared as one vector

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
    """Each g[i] with other[i]: one result per pair."""
    lengths, other_lengths = _norms(g), _norms(other)
    apart, turned = _differences(g, other, (lengths / other_lengths).unbind())
    return Comparison(lengths, apart, (turned / lengths).square() / 2, apart)


@torch.no_grad()
def whole(g: Sequence[Tensor], other: Sequence[Tensor], sizes: Sequence[int] = ()) -> Comparison:
    """All of g as one vector with all of `other` as one vector: one result, (1,).

    Arguments:
        sizes: entries of the tensors that `vectors` joined; none given: they are as they were.
    """
    lengths, other_lengths = length(g), length(other)
    parts = _differences(g, other, [(lengths / other_lengths)[0]] * len(g))
    apart, turned = (torch.linalg.vector_norm(part).view(1) for part in parts)
    joined = len(g) == 1 < len(sizes)
    each = _norms((g[0] - other[0]).split(list(sizes))) if joined else parts[0]
    return Comparison(lengths, apart, (turned / lengths).square() / 2, each.sum().view(1))


def length(g: Sequence[Tensor]) -> Tensor:
    """||g|| of all tensors as one vector, (1,), in float64."""
    joined: Tensor = torch.linalg.vector_norm(_norms(g))
    return joined.view(1)


def vectors(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors, or, where they are small enough for the number of operations to count, one vector of all."""
    listed = list(tensors)
    if sum(t.numel() for t in listed) > WORTH_JOINING:
        return listed
    return [torch.cat([t.flatten() for t in listed])]


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
    if t.dtype == torch.float64:
        exact: Tensor = torch.linalg.vector_norm(t)
        return exact
    entries, even = t.flatten(), t.numel() // BLOCK * BLOCK
    blocks = torch.linalg.vector_norm(entries[:even].view(-1, BLOCK), dim=1)
    norm: Tensor = torch.linalg.vector_norm(torch.cat([blocks, entries[even:]]), dtype=torch.float64)
    return norm


def _differences(
    g: Sequence[Tensor], other: Sequence[Tensor], ratios: Sequence[Tensor]
) -> tuple[Tensor, Tensor]:
    """||g - g'|| and ||g - ratio * g'|| of each pair; ratio = ||g|| / ||g'|| takes g' to the length of g."""
    apart, turned = [], []
    for a, b, ratio in zip(g, other, ratios, strict=True):
        apart.append(norm_of(a - b))
        turned.append(norm_of(torch.addcmul(a, b, ratio.to(a), value=-1)))
    return torch.stack(apart), torch.stack(turned)
