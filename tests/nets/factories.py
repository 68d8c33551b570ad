"""Small specifications and networks for these tests."""

from __future__ import annotations

import torch
from torch import Tensor

from bncore.config.model import DLN, MLP, VGG, Init, Noise, Norm, Spec
from bncore.nets import LayeredNet, NormPosition, build

NORM_KINDS = (
    "none", "batch", "l1", "l2", "linf", "lp:1.5", "lp:3", "lp:40", "layer", "group", "instance",
    "mean_only", "variance_only", "batch_detached", "batch_population",
)  # fmt: skip
BATCH_KINDS = tuple(k for k in NORM_KINDS if k not in ("none", "layer", "group", "instance"))
IMAGE = (3, 32, 32)


def small_vgg(
    norm: Norm | None = None, noise: Noise | None = None, *, seed: int = 0, width: float = 0.0625
) -> LayeredNet:
    """A VGG-11 of 4 to 32 channels in float64."""
    spec = Spec(
        net=VGG(kind="vgg11", width=width),
        norm=norm or Norm(),
        noise=noise or Noise(),
        seed=seed,
        precision="float64",
    )
    return build(spec, inputs=IMAGE, outputs=10)


def small_net(net: DLN | MLP, norm: Norm | None = None, init: Init | None = None) -> LayeredNet:
    """A network on vectors of 6 features with 4 outputs, in float64."""
    spec = Spec(net=net, norm=norm or Norm(), init=init or Init(), precision="float64")
    return build(spec, inputs=(6,), outputs=4)


def norm_position(setting: Norm, channels: int, *, positions: bool = True) -> NormPosition:
    """A norm in float64 with gamma and beta away from 1 and 0."""
    norm = NormPosition(channels, positions=positions, setting=setting, dtype=torch.float64)
    with torch.no_grad():
        norm.weight.copy_(torch.linspace(0.5, 1.5, channels))
        norm.bias.copy_(torch.linspace(-1.0, 1.0, channels))
    return norm


def images(samples: int, *, channels: int = 3, size: int = 32, seed: int = 0) -> Tensor:
    """Gaussian images with a mean and a scale of their own for each channel, in float64."""
    drawn = torch.randn(
        samples, channels, size, size, dtype=torch.float64, generator=torch.Generator().manual_seed(seed)
    )
    ramp = torch.arange(1.0, channels + 1.0, dtype=torch.float64).view(-1, 1, 1)
    return drawn * ramp + ramp / 2


def interleave(chains: list[Tensor]) -> Tensor:
    """Chains as one batch: row i * len(chains) + c is sample i of chain c."""
    return torch.stack(chains, 1).flatten(0, 1)
