"""Differences of two gradients (length, angle, relative length), computed without cancellation."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

BLOCK = 4096
WORTH_JOINING = 1 << 18
"""Number of entries up to which joining tensors is cheaper than processing them one by one."""


@dataclass(frozen=True)
class Comparison:
    """Pairwise comparison of gradients g and g': n results each, (n,), in float64.

    Lengths of float32 gradients are accumulated in float64, so that each number is as accurate as the entries of
    g and g'. Where g or g' is zero, the cosine and the relative difference are undefined and hence nan.
    """

    length: Tensor  # ||g||
    l2: Tensor  # ||g - g'||
    one_minus_cosine: Tensor  # || g/||g|| - g'/||g'|| ||^2 / 2: to eps, even where the cosine rounds to 1
    summed: Tensor  # sum_i ||g_i - g'_i|| over the tensors compared as one vector

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
    """Compare each g[i] with other[i]: one result per pair."""
    lengths, other_lengths = _norms(g), _norms(other)
    apart, turned = _differences(g, other, (lengths / other_lengths).unbind())
    return Comparison(lengths, apart, (turned / lengths).square() / 2, apart)


@torch.no_grad()
def whole(g: Sequence[Tensor], other: Sequence[Tensor], sizes: Sequence[int] = ()) -> Comparison:
    """Compare all of g with all of `other`, each as one vector: one result, (1,).

    Arguments:
        sizes: numbers of entries of the tensors that `vectors` joined; empty: they were not joined.
    """
    lengths, other_lengths = length(g), length(other)
    parts = _differences(g, other, [(lengths / other_lengths)[0]] * len(g))
    apart, turned = (torch.linalg.vector_norm(part).view(1) for part in parts)
    joined = len(g) == 1 < len(sizes)
    each = _norms((g[0] - other[0]).split(list(sizes))) if joined else parts[0]
    return Comparison(lengths, apart, (turned / lengths).square() / 2, each.sum().view(1))


def length(g: Sequence[Tensor]) -> Tensor:
    """||g|| of all tensors taken as one vector, (1,), in float64."""
    joined: Tensor = torch.linalg.vector_norm(_norms(g))
    return joined.view(1)


def vectors(tensors: Iterable[Tensor]) -> list[Tensor]:
    """The tensors as they are, or joined to one vector if they are small enough for this to be faster."""
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

    For a float32 tensor, blocks are summed in float32, which loses nothing over so few entries, and the blocks'
    norms in float64. Summing all of t in float64 takes 15 times as long, and summing 10^7 entries in float32 is
    wrong from the fourth digit on.
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
    """||g - g'|| and ||g - ratio * g'|| of each pair; ratio = ||g|| / ||g'|| rescales g' to the length of g."""
    apart, turned = [], []
    for a, b, ratio in zip(g, other, ratios, strict=True):
        apart.append(norm_of(a - b))
        turned.append(norm_of(torch.addcmul(a, b, ratio.to(a), value=-1)))
    return torch.stack(apart), torch.stack(turned)
