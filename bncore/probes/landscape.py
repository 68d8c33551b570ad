"""Loss and gradient along a direction (appendix A.2.2 of Santurkar et al., 2018)."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import torch
from torch import Tensor

from bncore.config.probes import Landscape, Sharpness
from bncore.probes.base import Measurement, Probe, in_precision_of, require_finite
from bncore.probes.compare import Comparison, length, vectors, whole
from bncore.probes.sharpness import top_eigenvector
from bncore.probes.view import StepView
from bncore.random import ProbeDraws, generator


def _gradient(view: StepView, _: Sharpness) -> dict[str, Tensor]:
    """The gradient; if parameter groups have separate learning rates, each part is scaled by its rate."""
    return dict(view.descent)


def _update(view: StepView, _: Sharpness) -> dict[str, Tensor]:
    """theta_t - theta_{t+1}: the optimizer's actual update, including penalty and momentum."""
    return {name: view.before[name] - view.after[name] for name in view.grads}


def _random(view: StepView, _: Sharpness) -> dict[str, Tensor]:
    """A direction uniform on the sphere, keyed by seed and step."""
    source = generator(view.seed, "probe", step=view.step, part=ProbeDraws.DIRECTION)
    return {
        name: torch.randn(g.shape, generator=source, dtype=g.dtype).to(g.device)
        for name, g in view.grads.items()
    }


def _hessian(view: StepView, search: Sharpness) -> dict[str, Tensor]:
    """The Hessian's top eigenvector, with the sign for which the loss initially falls along the step."""
    pair = top_eigenvector(view, iterations=search.iterations, tolerance=search.tolerance)
    uphill = torch.stack([(pair.vector[name] * g).sum() for name, g in view.grads.items()]).sum()
    sign = torch.where(uphill < 0, -1.0, 1.0)
    return {name: sign * pair.vector[name] for name in view.grads}


DIRECTIONS: dict[str, Callable[[StepView, Sharpness], dict[str, Tensor]]] = {
    "gradient": _gradient,
    "update": _update,
    "random": _random,
    "hessian": _hessian,
}
"""Directions d of the steps theta_t - a d, by name; their lengths are arbitrary."""


class LandscapeProbe(Probe):
    """The landscape probe; it remembers how often it has measured.

    Arguments:
        settings: its settings; the cadence is not read here.
        search: settings of the search for direction `hessian`.
    """

    def __init__(self, settings: Landscape, search: Sharpness) -> None:
        self._settings = settings
        self._search = search
        self._measured = 0

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields for the loss L and its gradient at theta_t - a d with a = multiple * lr.

        d is the direction scaled to ||d|| = ||g||, so that every direction is probed at the distances a ||g||. L
        is the data loss or, with `penalty`, the loss that the optimizer descends; every number and direction
        refers to L.

        - `direction`; `multiples` (A,); `grad_norm` ||g||; `loss0` L(theta_t); `loss` (A,); `loss_multiples`
          and `loss_between` (B,) of the loss-only points, if there are any;
        - `grad_diff` (A,): ||grad L(theta_t - a d) - g||; `relative` (A,): the same divided by ||g||; `cosine`
          (A,) of the two gradients;
        - `grad_diff_sum` (A,): sum over the parameters i of ||grad_i L(theta_t - a d) - g_i||, which Figs 4b, 10b
          and 11 draw as the gradient's difference [inferred: docs/explanation/paper-settings.md];
        - `loss_min`, `loss_max` over all points, `grad_diff_min`, `grad_diff_max`, `grad_diff_sum_min`,
          `grad_diff_sum_max`;
        - `lipschitz`: max |L(theta_t - a d) - L(theta_t)| / (a ||g||) over all points;
        - `beta`: max grad_diff / (a ||g||); `beta_lr`: beta * lr; and the reference lines for beta:
          `stability_threshold` of the optimizer (2/lr for gradient descent; nan if it has none) and
          `one_over_a_min`, where a_min is the shortest step with a gradient; `two_over_lr` encodes the learning
          rate;
        - `floor`, at every `floor_every`-th measurement: the grad_diff due to the order of the batch alone.

        Raises:
            ArithmeticError: the learning rate or the direction is zero (no distance to divide by), or a loss
                or gradient is not finite.
        """
        return self.task(view).done()

    def task(self, view: StepView) -> Measurement:
        """The work that `measure` does; finding the direction and the noise floor are not part of the graph."""
        if not view.lr > 0:
            raise ArithmeticError(f"the learning rate is {view.lr:g}, so there is no distance to divide by")
        view = view.with_penalty() if self._settings.penalty else view
        kind, device = next(iter(view.before.values())).dtype, view.device
        lengths = [
            multiple * view.lr for multiple in (*self._settings.multiples, *self._settings.loss_multiples)
        ]
        given = (torch.tensor(lengths, dtype=kind, device=device), *self._direction(view))
        return Measurement(None, view, given, self._along, lambda tensors: self._fields(view, tensors))

    def _fields(self, view: StepView, tensors: Mapping[str, Tensor]) -> dict[str, Any]:
        a = torch.tensor(self._settings.multiples, dtype=torch.float64) * view.lr
        b = torch.tensor(self._settings.loss_multiples, dtype=torch.float64) * view.lr
        parts = [tensors[name] for name in ("loss", "size", "l2", "one_minus_cosine", "sum")]
        fetched = torch.cat([*parts, *self._floor(view)]).cpu()
        require_finite("a loss or gradient along the direction", fetched)
        n, m = len(a), len(a) + len(b)
        loss, norm = fetched[:m], fetched[m : m + 1]
        l2, one_minus_cosine, summed, floor = fetched[m + 1 :].tensor_split([n, 2 * n, 3 * n])
        slopes = (loss - view.loss).abs() / (torch.cat([a, b]) * norm)
        beta = (l2 / (a * norm)).max()
        fields = {
            "multiples": torch.tensor(self._settings.multiples, dtype=torch.float64),
            "grad_norm": norm.view(()),
            "loss0": torch.tensor(view.loss, dtype=torch.float64),
            "loss": loss[:n],
            "grad_diff": l2,
            "grad_diff_sum": summed,
            "relative": l2 / norm,
            "cosine": 1 - one_minus_cosine,
            "loss_min": loss.min(),
            "loss_max": loss.max(),
            "grad_diff_min": l2.min(),
            "grad_diff_max": l2.max(),
            "grad_diff_sum_min": summed.min(),
            "grad_diff_sum_max": summed.max(),
            "lipschitz": slopes.max(),
            "beta": beta,
            "beta_lr": beta * view.lr,
            "two_over_lr": torch.tensor(2 / view.lr, dtype=torch.float64),
            "stability_threshold": torch.tensor(view.stability_threshold, dtype=torch.float64),
            "one_over_a_min": 1 / a.min(),
        }
        if m > n:
            fields["loss_multiples"] = torch.tensor(self._settings.loss_multiples, dtype=torch.float64)
            fields["loss_between"] = loss[n:]
        if len(floor):
            fields["floor"] = floor.view(())
        self._measured += 1
        return {"direction": self._settings.direction, **in_precision_of(view, fields)}

    def _direction(self, view: StepView) -> list[Tensor]:
        """d, in the order of the gradients and with ||d|| = ||g||; empty if it is g itself."""
        if self._settings.direction == "gradient" and view.descent is view.grads:
            return []
        direction = list(DIRECTIONS[self._settings.direction](view, self._search).values())
        factor = length(vectors(view.grads.values())) / length(direction)
        return list(torch._foreach_mul(direction, factor.to(direction[0].dtype).view(())))

    def _along(self, view: StepView, given: Sequence[Tensor]) -> dict[str, Tensor]:
        """Losses at all points, (A + B,), ||g||, (1,), and the gradients at the first A points compared with g."""
        lengths, *direction = given
        names, g = list(view.grads), vectors(view.grads.values())
        sizes = [value.numel() for value in view.grads.values()]
        direction = direction or list(view.grads.values())
        moved = {name: torch.empty_like(view.before[name]) for name in names}  # reused for every point
        losses: list[Tensor] = []
        compared: list[Comparison] = []
        for point, back in enumerate(lengths.neg().unbind()):
            for name, d in zip(names, direction, strict=True):
                torch.addcmul(view.before[name], d, back, out=moved[name])
            there = {**view.before, **moved}
            if point < len(self._settings.multiples):
                loss, grads = view.gradient_at(there)
                compared.append(whole(g, vectors(grads.values()), sizes))
            else:
                with torch.no_grad():
                    loss = view.loss_at(there)
            losses.append(loss)
        return {
            "loss": torch.stack(losses).double(),
            "size": length(g),
            "l2": torch.cat([c.l2 for c in compared]),
            "one_minus_cosine": torch.cat([c.one_minus_cosine for c in compared]),
            "sum": torch.cat([c.summed for c in compared]),
        }

    def _floor(self, view: StepView) -> list[Tensor]:
        if (
            not self._settings.floor_every
            or self._measured % self._settings.floor_every
            or not view.reorderable
        ):
            return []
        g = vectors(view.grads.values())
        return [whole(g, vectors(view.reordered_grads.values())).l2]

    def state_dict(self) -> dict[str, Any]:
        """Number of measurements so far."""
        return {"measured": self._measured}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        self._measured = int(state["measured"])
