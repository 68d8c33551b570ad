"""An explicit network: a list of layers of plain float64 tensors, with a hand-written train-mode forward pass."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from torch import Tensor

from .normalize import add_noise, affine, normalize

Loss = Callable[[Tensor, Tensor], Tensor]
TENSORS = ("weight", "bias", "gamma", "beta")  # the trained tensors, in the order of `parameters`


@dataclass(frozen=True)
class Noise:
    """Given draws of Algorithm 1, shaped like the activation they modify (m shifts, s scales)."""

    m: Tensor
    s: Tensor
    position: str = "after_norm"  # or "before_norm", "input" (of this layer)


@dataclass(frozen=True)
class Layer:
    """weight → (noise) → norm with γ, β → (noise) → activation → 2×2 max-pooling."""

    weight: Tensor  # (out, in), or (out, in, 3, 3): convolution, stride 1, padding 1
    bias: Tensor | None = None  # (out,)
    norm: str = "none"
    gamma: Tensor | None = None  # (out,)
    beta: Tensor | None = None  # (out,)
    eps: float = 0.0
    centered: bool = False
    groups: int = 1
    running_mean: Tensor | None = None  # (out,), for batch_population
    running_var: Tensor | None = None  # (out,)
    relu: bool = False
    pool: bool = False
    noise: Noise | None = None


@dataclass(frozen=True)
class Trace:
    """The intermediate values of one layer, each (N, out) or (N, out, H, W)."""

    y: Tensor  # input of the norm
    z: Tensor  # γ ŷ + β
    noisy: Tensor  # z with "after_norm" noise applied
    active: Tensor  # after the activation, before pooling
    output: Tensor


def conv3x3(x: Tensor, weight: Tensor) -> Tensor:
    """y[n,o,r,c] = Σ_{i,u,v} weight[o,i,u,v] x[n,i,r+u−1,c+v−1], with x zero outside the image."""
    n, c, h, w = x.shape
    padded = x.new_zeros(n, c, h + 2, w + 2)
    padded[:, :, 1:-1, 1:-1] = x
    y = x.new_zeros(n, weight.shape[0], h, w)
    for u in range(3):
        for v in range(3):
            y = y + torch.einsum("oi,nihw->nohw", weight[:, :, u, v], padded[:, :, u : u + h, v : v + w])
    return y


def max_pool2x2(a: Tensor) -> Tensor:
    """The largest value of each 2×2 block."""
    top = torch.maximum(a[:, :, 0::2, 0::2], a[:, :, 0::2, 1::2])
    bottom = torch.maximum(a[:, :, 1::2, 0::2], a[:, :, 1::2, 1::2])
    return torch.maximum(top, bottom)


def row_normalized(weight: Tensor) -> Tensor:
    """Weight normalization: each unit's weight divided by its l2 norm, w_j / ||w_j||; γ_j is then its length."""
    return torch.stack([row / (row**2).sum().sqrt() for row in weight])


def mapped(layer: Layer, x: Tensor) -> Tensor:
    """The layer's linear map or convolution of x, with its bias; images are flattened for a linear map."""
    weight = row_normalized(layer.weight) if layer.norm == "weight" else layer.weight
    y = conv3x3(x, weight) if weight.dim() == 4 else x.reshape(len(x), -1) @ weight.T
    return y if layer.bias is None else affine(y, None, layer.bias)


def finish(layer: Layer, y: Tensor, z: Tensor) -> Trace:
    """The rest of the layer: from z = γ ŷ + β to its output."""
    noise = layer.noise
    noisy = add_noise(z, noise.m, noise.s) if noise and noise.position == "after_norm" else z
    active = torch.where(noisy > 0, noisy, torch.zeros_like(noisy)) if layer.relu else noisy
    return Trace(y, z, noisy, active, max_pool2x2(active) if layer.pool else active)


def normed(layer: Layer, y: Tensor) -> Tensor:
    """z = γ ŷ + β with the layer's own norm."""
    y_hat = normalize(
        y, layer.norm, eps=layer.eps, centered=layer.centered, groups=layer.groups,
        running_mean=layer.running_mean, running_var=layer.running_var,
    )  # fmt: skip
    return affine(y_hat, layer.gamma, layer.beta)


def layer_forward(layer: Layer, x: Tensor) -> Trace:
    """Forward pass of one layer in train mode."""
    noise = layer.noise
    if noise and noise.position == "input":
        x = add_noise(x, noise.m, noise.s)
    y = mapped(layer, x)
    if noise and noise.position == "before_norm":
        y = add_noise(y, noise.m, noise.s)
    return finish(layer, y, normed(layer, y))


def trace(layers: Sequence[Layer], x: Tensor) -> list[Trace]:
    """Every layer's values in one train-mode pass."""
    traces = []
    for layer in layers:
        traces.append(layer_forward(layer, x))
        x = traces[-1].output
    return traces


def forward(layers: Sequence[Layer], x: Tensor) -> Tensor:
    """The network's output in train mode."""
    return trace(layers, x)[-1].output


def tail_loss(layers: Sequence[Layer], index: int, targets: Tensor, loss: Loss) -> Callable[[Tensor], Tensor]:
    """The loss as a function of layer `index`'s z = γŷ + β, with everything after it fixed."""

    def of_z(z: Tensor) -> Tensor:
        output = finish(layers[index], z, z).output
        for layer in layers[index + 1 :]:
            output = layer_forward(layer, output).output
        return loss(output, targets)

    return of_z


def parameters(layers: Sequence[Layer]) -> list[Tensor]:
    """The existing ones of weight, bias, gamma, beta, layer by layer."""
    return [t for layer in layers for name in TENSORS if (t := getattr(layer, name)) is not None]


def with_parameters(layers: Sequence[Layer], values: Sequence[Tensor]) -> list[Layer]:
    """The same network with other values, given in the order of `parameters`."""
    left = iter(values)
    made = []
    for layer in layers:
        there = [name for name in TENSORS if getattr(layer, name) is not None]
        fresh: dict[str, Any] = {name: next(left) for name in there}
        made.append(replace(layer, **fresh))
    return made


def loss_of(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss,
    *, weight_decay: float = 0.0, decay: str = "all",
) -> Tensor:  # fmt: skip
    """Data loss, plus the penalty ½ λ Σ ||θ||² if `weight_decay` λ is given, over all parameters or only the
    layers' "weights"."""
    data = loss(forward(layers, x), targets)
    theta = parameters(layers) if decay == "all" else [layer.weight for layer in layers]
    return data + 0.5 * weight_decay * sum((p**2).sum() for p in theta) if weight_decay else data


def gradients(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss,
    *, weight_decay: float = 0.0, decay: str = "all",
) -> list[Tensor]:  # fmt: skip
    """∇ of `loss_of` with respect to every parameter, in the order of `parameters`."""
    leaves = [p.detach().clone().requires_grad_() for p in parameters(layers)]
    value = loss_of(with_parameters(layers, leaves), x, targets, loss, weight_decay=weight_decay, decay=decay)
    found = torch.autograd.grad(value, leaves, allow_unused=True)
    return [torch.zeros_like(p) if g is None else g for p, g in zip(leaves, found, strict=True)]
