"""Lengths and angles of lists of tensors, computed entry by entry, and derivatives."""

import math
from collections.abc import Callable, Sequence

import torch
from torch import Tensor


def dot(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """⟨a, b⟩ over all entries of all tensors."""
    return math.fsum(
        u * v
        for s, t in zip(a, b, strict=True)
        for u, v in zip(s.flatten().tolist(), t.flatten().tolist(), strict=True)
    )


def length(a: Sequence[Tensor]) -> float:
    """||a||_2."""
    return math.sqrt(dot(a, a))


def distance(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """||a − b||_2."""
    return length([s - t for s, t in zip(a, b, strict=True)])


def cosine(a: Sequence[Tensor], b: Sequence[Tensor]) -> float:
    """⟨a, b⟩ / (||a|| ||b||); nan if either is zero."""
    lengths = length(a) * length(b)
    return dot(a, b) / lengths if lengths else math.nan


def difference_gradient(f: Callable[[Tensor], Tensor], at: Tensor, step: float = 1e-6) -> Tensor:
    """∇f by central differences, (f(x + h e) − f(x − h e)) / 2h per entry, with error O(h²) + O(1e-16/h)."""
    flat = at.detach().flatten()
    slopes = []
    for i in range(flat.numel()):
        up, down = flat.clone(), flat.clone()
        up[i] += step
        down[i] -= step
        slopes.append((float(f(up.reshape(at.shape))) - float(f(down.reshape(at.shape)))) / (2 * step))
    return torch.tensor(slopes, dtype=at.dtype).reshape(at.shape)


def gradient_of(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """∇f at a point, shaped like the point."""
    leaf = at.detach().clone().requires_grad_()
    return torch.autograd.grad(f(leaf), leaf)[0]


def jacobian(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """The matrix ∂f_i/∂x_j of a vector function at a vector, computed row by row."""
    return torch.stack([gradient_of(lambda v, i=i: f(v)[i], at) for i in range(len(f(at)))])  # type: ignore[misc]


def dense_hessian(f: Callable[[Tensor], Tensor], at: Tensor) -> Tensor:
    """All second derivatives of f at a point, of shape `at.shape` twice, computed row by row."""
    leaf = at.detach().clone().requires_grad_()
    (first,) = torch.autograd.grad(f(leaf), leaf, create_graph=True)
    rows = []
    for slope in first.flatten():
        row = (
            torch.autograd.grad(slope, leaf, retain_graph=True, allow_unused=True)[0]
            if slope.requires_grad
            else None
        )
        rows.append(torch.zeros_like(at) if row is None else row)
    return torch.stack(rows).reshape(*at.shape, *at.shape)
