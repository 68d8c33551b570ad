"""Loss and gradient along a direction (appendix A.2.2 of Santurkar et al., 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from bncore.probes.base import in_precision_of, require_finite
from bncore.probes.compare import Comparison, length, vectors, whole
from bncore.probes.sharpness import top_eigenvector
from bncore.probes.view import StepView
from bncore.random import generator

DIRECTION_DRAWS = 5
"""The `part` of this module's generators."""


@dataclass(frozen=True)
class Curvature:
    """How the Hessian's top eigenvector is searched for (`bncore.probes.sharpness.top_eigenvector`)."""

    iterations: int
    tolerance: float


def _gradient(view: StepView, _: Curvature) -> dict[str, Tensor]:
    return dict(view.grads)


def _update(view: StepView, _: Curvature) -> dict[str, Tensor]:
    """theta_t - theta_{t+1}, what the optimiser really did, penalty and momentum included."""
    return {name: view.before[name] - view.after[name] for name in view.grads}


def _random(view: StepView, _: Curvature) -> dict[str, Tensor]:
    """Uniform on the sphere, keyed by seed and step."""
    source = generator(view.seed, "probe", step=view.step, part=DIRECTION_DRAWS)
    return {
        name: torch.randn(g.shape, generator=source, dtype=g.dtype).to(g.device)
        for name, g in view.grads.items()
    }


def _hessian(view: StepView, curvature: Curvature) -> dict[str, Tensor]:
    """The Hessian's top eigenvector, of its two signs the one along which the loss falls first."""
    found = top_eigenvector(view, iterations=curvature.iterations, tolerance=curvature.tolerance)
    uphill = torch.stack([(found.vector[name] * g).sum() for name, g in view.grads.items()]).sum()
    sign = torch.where(uphill < 0, -1.0, 1.0)
    return {name: sign * found.vector[name] for name in view.grads}


DIRECTIONS: dict[str, Callable[[StepView, Curvature], dict[str, Tensor]]] = {
    "gradient": _gradient,
    "update": _update,
    "random": _random,
    "hessian": _hessian,
}
"""Directions d of the steps theta_t - a d, by name; their length is no matter."""


class Landscape:
    """The probe; it remembers how often it measured.

    Arguments:
        multiples: step lengths in learning rates, at least one.
        loss_multiples: further step lengths at which the loss alone is taken.
        direction: one of `DIRECTIONS`.
        floor_every: measure the noise floor at every so many measurements; 0: never.
        curvature: the search that direction `hessian` makes.
    """

    def __init__(
        self,
        *,
        multiples: Sequence[float],
        loss_multiples: Sequence[float],
        direction: str,
        floor_every: int,
        curvature: Curvature,
    ) -> None:
        self.multiples = tuple(multiples)
        self.loss_multiples = tuple(loss_multiples)
        self.direction = direction
        self.floor_every = floor_every
        self.curvature = curvature
        self._measured = 0

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields: the loss L and its gradient at theta_t - a d with a = multiple * lr, where d is
        the direction scaled to ||d|| = ||g||, so that every direction is probed at the distances a ||g||.

        - `direction`; `multiples` (A,); `grad_norm` ||g||; `loss0` L(theta_t); `loss` (A,); `loss_multiples`
          and `loss_between` (B,) of the loss-only points, if there are any;
        - `grad_diff` (A,): ||grad L(theta_t - a d) - g||; `relative` (A,): the same by ||g||; `cosine` (A,)
          of the two gradients;
        - `loss_min`, `loss_max` over all points, `grad_diff_min`, `grad_diff_max`;
        - `lipschitz`: max |L(theta_t - a d) - L(theta_t)| / (a ||g||) over all points;
        - `beta`: max grad_diff / (a ||g||); `beta_lr`: beta * lr; and the lines to draw beside beta,
          `two_over_lr` and `one_over_a_min`, a_min being the shortest step with a gradient;
        - `floor`, at every `floor_every`-th measurement: the grad_diff that the order of the batch makes.

        Raises:
            ArithmeticError: the learning rate or the direction is zero (no distance to divide by), or a loss
            or gradient is not finite.
        """
        g = vectors(view.grads.values())
        size = length(g)
        losses, compared = self._along(view, self._steps(view, size), g)
        a = torch.tensor(self.multiples, dtype=torch.float64) * view.lr
        b = torch.tensor(self.loss_multiples, dtype=torch.float64) * view.lr
        fetched = torch.cat(
            [losses, size, compared.l2, compared.one_minus_cosine, *self._floor(view, g)]
        ).cpu()
        require_finite("a loss or gradient along the direction", fetched)
        n, m = len(a), len(a) + len(b)
        loss, norm = fetched[:m], fetched[m : m + 1]
        l2, angle, floor = fetched[m + 1 :][:n], fetched[m + 1 + n :][:n], fetched[m + 1 + 2 * n :]
        slopes = (loss - view.loss).abs() / (torch.cat([a, b]) * norm)
        beta = (l2 / (a * norm)).max()
        fields = {
            "multiples": torch.tensor(self.multiples, dtype=torch.float64),
            "grad_norm": norm.view(()),
            "loss0": torch.tensor(view.loss, dtype=torch.float64),
            "loss": loss[:n],
            "grad_diff": l2,
            "relative": l2 / norm,
            "cosine": 1 - angle,
            "loss_min": loss.min(),
            "loss_max": loss.max(),
            "grad_diff_min": l2.min(),
            "grad_diff_max": l2.max(),
            "lipschitz": slopes.max(),
            "beta": beta,
            "beta_lr": beta * view.lr,
            "two_over_lr": torch.tensor(2 / view.lr, dtype=torch.float64),
            "one_over_a_min": 1 / a.min(),
        }
        if m > n:
            fields["loss_multiples"] = torch.tensor(self.loss_multiples, dtype=torch.float64)
            fields["loss_between"] = loss[n:]
        if len(floor):
            fields["floor"] = floor.view(())
        self._measured += 1
        return {"direction": self.direction, **in_precision_of(view, fields)}

    def _steps(self, view: StepView, size: Tensor) -> dict[str, Tensor]:
        """d by name, with ||d|| = ||g||; d = g itself for direction `gradient`."""
        if not view.lr > 0:
            raise ArithmeticError(f"the learning rate is {view.lr:g}, so there is no distance to divide by")
        found = DIRECTIONS[self.direction](view, self.curvature)
        if self.direction == "gradient":
            return found
        factor = size / length(list(found.values()))
        scaled = torch._foreach_mul(list(found.values()), factor.to(found[next(iter(found))].dtype).view(()))
        return dict(zip(found, scaled, strict=True))

    def _along(
        self, view: StepView, direction: Mapping[str, Tensor], g: Sequence[Tensor]
    ) -> tuple[Tensor, Comparison]:
        """Losses at all points, (A + B,), and the gradients at the first A compared with g."""
        names = list(direction)
        start = [view.before[name] for name in names]
        moved = [torch.empty_like(t) for t in start]  # one copy of the parameters, moved from point to point
        losses: list[Tensor] = []
        compared: list[Comparison] = []
        for multiple in (*self.multiples, *self.loss_multiples):
            torch._foreach_copy_(moved, start)
            torch._foreach_add_(moved, list(direction.values()), alpha=-multiple * view.lr)
            there = {**view.before, **dict(zip(names, moved, strict=True))}
            if len(compared) < len(self.multiples):
                loss, grads = view.gradient_at(there)
                compared.append(whole(g, vectors(grads.values())))
            else:
                with torch.no_grad():
                    loss = view.loss_at(there)
            losses.append(loss)
        joined = (
            torch.cat([getattr(c, part) for c in compared]) for part in ("length", "l2", "one_minus_cosine")
        )
        return torch.stack(losses).double(), Comparison(*joined)

    def _floor(self, view: StepView, g: Sequence[Tensor]) -> list[Tensor]:
        if not (self.floor_every and view.reorderable) or self._measured % self.floor_every:
            return []
        return [whole(g, vectors(view.reordered_grads.values())).l2]

    def shrink(self, group: int = 0) -> bool:
        """It computes one thing at a time already."""
        return False

    def state_dict(self) -> dict[str, Any]:
        """How often it measured."""
        return {"measured": self._measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Take back what `state_dict` gave."""
        self._measured = int(state["measured"])
