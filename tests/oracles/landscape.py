"""Loss and gradient along a direction, one step size at a time (A.2.2)."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from torch import Tensor

from .measures import cosine, distance, length
from .network import Layer, Loss, gradients, loss_of, parameters, with_parameters


@dataclass(frozen=True)
class Landscape:
    """Results along θ − a·d; lists run over the step sizes a."""

    loss: float  # L(θ)
    gradient_norm: float  # ||g||
    steps: list[float]  # a = multiple × lr
    losses: list[float]  # L(θ − a d)
    changes: list[float]  # ||∇L(θ − a d) − g||
    summed_changes: list[float]  # Σ_i ||∇_i L(θ − a d) − g_i|| over the parameters i
    relative_changes: list[float]  # the same / ||g||
    cosines: list[float]  # cos(g, ∇L(θ − a d))
    lipschitz_each: list[float]  # |L(θ − a d) − L(θ)| / (a ||d||)
    beta_each: list[float]  # ||∇L(θ − a d) − g|| / (a ||d||)
    loss_band: tuple[float, float]  # min and max over a
    change_band: tuple[float, float]
    lipschitz: float  # max over a
    beta: float
    beta_lr: float  # β·lr
    lines: tuple[float, float]  # 2/lr and 1/a_min


def landscape(
    layers: Sequence[Layer], x: Tensor, targets: Tensor, loss: Loss,
    *, lr: float, multiples: Sequence[float], direction: Sequence[Tensor] | None = None,
    weight_decay: float = 0.0, decay: str = "all",
) -> Landscape:  # fmt: skip
    """ "Evaluate θ − a·g for step lengths a = multiple × learning rate": loss band, gradient predictiveness
    min and max of ||∇L(θ − a g) − g||, effective β = max_a ||∇L(θ − a g) − g|| / (a ||g||), "the distance
    being a||g||, the probe's length, never the learning rate alone"; Lipschitz max_a |ΔL| / (a ||g||).

    `direction` d replaces g: distances are then a||d||, while g remains the gradient at θ.
    """
    penalty: dict[str, Any] = {"weight_decay": weight_decay, "decay": decay}
    theta = [p.detach() for p in parameters(layers)]
    g = gradients(layers, x, targets, loss, **penalty)
    d = g if direction is None else list(direction)
    start = float(loss_of(layers, x, targets, loss, **penalty))
    steps, losses, changes, summed, cosines = [], [], [], [], []
    for multiple in multiples:
        a = multiple * lr
        moved = with_parameters(layers, [p - a * v for p, v in zip(theta, d, strict=True)])
        there = gradients(moved, x, targets, loss, **penalty)
        steps.append(a)
        losses.append(float(loss_of(moved, x, targets, loss, **penalty)))
        changes.append(distance(there, g))
        summed.append(sum(distance([a], [b]) for a, b in zip(there, g, strict=True)))
        cosines.append(cosine(g, there))
    lipschitz_each = [abs(v - start) / (a * length(d)) for v, a in zip(losses, steps, strict=True)]
    beta_each = [c / (a * length(d)) for c, a in zip(changes, steps, strict=True)]
    return Landscape(
        loss=start, gradient_norm=length(g), steps=steps, losses=losses, changes=changes,
        summed_changes=summed,
        relative_changes=[c / length(g) for c in changes], cosines=cosines,
        lipschitz_each=lipschitz_each, beta_each=beta_each,
        loss_band=(min(losses), max(losses)), change_band=(min(changes), max(changes)),
        lipschitz=max(lipschitz_each), beta=max(beta_each), beta_lr=max(beta_each) * lr,
        lines=(2 / lr, 1 / min(steps)),
    )  # fmt: skip
