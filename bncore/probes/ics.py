"""Internal covariate shift (Def. 2.1 of Santurkar et al., 2018), for all layers at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor

from bncore.config.model import Loss
from bncore.config.probes import Ics
from bncore.probes.base import Measurement, Probe, in_precision_of, require_finite
from bncore.probes.compare import pairwise
from bncore.probes.growing import BUDGET, activation_share, growing_batch, roomy, spare_steps
from bncore.probes.module import ModuleView
from bncore.probes.moments import moments_suffice, with_few_samples
from bncore.probes.sequential import GrowingSequential
from bncore.probes.view import Parameters, StepView


def layerwise_gradients(view: StepView, new: Parameters, layers: Sequence[int]) -> list[Tensor]:
    """G'_i of Def. 2.1 by definition, one full pass per layer; arguments as for `growing_batch`."""
    gradients: list[Tensor] = []
    for index in layers:
        wanted = view.weights[index]
        mixed = {name: (new if view.layer_of(name) < index else view.before)[name] for name in view.before}
        gradients.append(view.gradient_at(mixed, [wanted])[1][wanted])
    return gradients


def rescaled_update(view: StepView, relative: float) -> Parameters:
    """theta_{t+1} with every weight update rescaled to ||W' - W|| = relative * ||W||.

    gamma, beta and biases are as updated. A weight that did not move stays, because its update has no direction.
    """
    new = dict(view.after)
    old = [view.before[name] for name in view.weights]
    moves = torch._foreach_sub([new[name] for name in view.weights], old)
    for name, start, move in zip(view.weights, old, moves, strict=True):
        size = torch.linalg.vector_norm(move)
        factor = torch.where(size > 0, relative * torch.linalg.vector_norm(start) / size, 0.0)
        new[name] = start + factor * move
    return new


class IcsProbe(Probe):
    """The ICS probe; it remembers how often it has measured.

    Arguments:
        settings: its settings; the cadence is not read here.
        loss: the view's criterion; None: unknown, so that no shortcut (`bncore.probes.moments`) is taken.
    """

    def __init__(self, settings: Ics, loss: Loss | None = None) -> None:
        self._settings = settings
        self._loss = loss
        self._layers = sorted(set(settings.layers))
        self._measured = 0
        self._limit = 0
        self._budget = 0.0
        self._most = 1

    def measure(self, view: StepView) -> dict[str, Any]:
        """The journal's fields over the chosen layers, each (L,):

        - `layers`: their numbers, from 1;
        - `l2` ||G - G'||, `cosine`, `one_minus_cosine` (accurate even where the cosine rounds to 1), `relative`
          ||G - G'|| / ||G||; cosine and relative are nan at a layer without gradient. For layer 1 they are those
          of equal gradients, since nothing precedes it;
        - `method`: method of evaluation: ``growing batch``; ``moments``, where a few samples with the batch's
          moments replace the batch exactly (`bncore.probes.moments`); or ``layer by layer``, one full pass per
          layer, where the network is neither a `LayeredNet` nor an `nn.Sequential` (`bncore.probes.sequential`);
        - `budget`, if the groups are chosen by the memory that was free at the first measurement: the activations
          that a group may hold, in multiples of a training step's;
        - `group`, once memory has run short: the maximum number of layers computed in one pass since then;
        - `floor`, at every `floor_every`-th measurement: the l2 due to rounding alone, with the batch in another
          order or with the replacement samples, whichever is larger.

        Raises:
            ValueError: a chosen layer does not exist.
            ArithmeticError: a gradient is not finite.
        """
        return self.task(view).done()

    def task(self, view: StepView) -> Measurement:
        """The work that `measure` does; the noise floor is not part of the graph."""
        chosen = self._chosen(view)
        seen, method = self._seen(view)
        sequential = GrowingSequential.of(view) if isinstance(view, ModuleView) else None
        method = "growing batch" if sequential is not None else method
        # G'_1 = G_1 by definition, unless some parameters precede the first layer, such as those of a norm on
        # the inputs.
        nothing_precedes = not isinstance(view, ModuleView) or min(map(view.layer_of, view.before)) >= 0
        equal = chosen[:1] if chosen[0] == 0 and nothing_precedes else []
        rest, limit = chosen[len(equal) :], self._limit
        samples = 0 if isinstance(view, ModuleView) else len(view.inputs)
        if method == "growing batch" and not self._settings.group:
            alike = self._budget or view.processes.count > 1  # each process has different free memory
            spare = None if alike else spare_steps(view.device)
            if spare is not None:
                share_of = sequential.activation_share if sequential else partial(activation_share, view)
                self._budget = roomy(BUDGET, sum(map(share_of, rest)), spare)
        budget = self._budget
        grouping: dict[str, Any] = {"group": self._settings.group, "limit": limit, "budget": budget or BUDGET}

        def compute(step: StepView, _: Sequence[Tensor]) -> dict[str, Tensor]:
            old = [step.grads[step.weights[i]] for i in chosen]
            new = rescaled_update(step, self._settings.rescale) if self._settings.rescale else step.after
            if sequential is not None:
                shifted = sequential.gradients(new, rest, **grouping)
            elif method == "layer by layer":
                shifted = layerwise_gradients(step, new, rest)
            else:
                shifted = growing_batch(step, new, rest, samples=samples, **grouping)
            shifted = old[: len(equal)] + shifted
            if self._settings.penalty:
                pull = [step.weight_decay * step.before[step.weights[i]] for i in chosen]
                old, shifted = list(torch._foreach_add(old, pull)), list(torch._foreach_add(shifted, pull))
            compared = pairwise(old, shifted)
            return {
                "l2": compared.l2,
                "cosine": compared.cosine,
                "one_minus_cosine": compared.one_minus_cosine,
                "relative": compared.relative,
            }

        def finish(tensors: Mapping[str, Tensor]) -> dict[str, Any]:
            require_finite("a gradient", tensors["l2"])
            fields = {**tensors, **self._floor(view, seen, chosen)}
            self._measured += 1
            return {
                "layers": [i + 1 for i in chosen],
                "method": method,
                **({"budget": budget} if budget and method == "growing batch" else {}),
                **({"group": limit} if limit and method in ("growing batch", "moments") else {}),
                **in_precision_of(view, fields),
            }

        return Measurement((*chosen, method, len(equal), samples, limit, budget), seen, (), compute, finish)

    def _seen(self, view: StepView) -> tuple[StepView, str]:
        """The view to evaluate on, and the method."""
        if isinstance(view, ModuleView):
            return view, "layer by layer"
        if self._loss is not None and moments_suffice(view.net, self._loss):
            seen = with_few_samples(view, self._loss)
            return seen, "growing batch" if seen is view else "moments"
        return view, "growing batch"

    def _chosen(self, view: StepView) -> list[int]:
        count = len(view.weights)
        if not count:
            raise ValueError("probes.ics: no layers; expected a parameter of two or more dimensions")
        if self._layers and self._layers[-1] > count:
            raise ValueError(f"probes.ics.layers: {self._layers[-1]}; expected numbers from 1 to {count}")
        chosen = [n - 1 for n in self._layers or range(1, count + 1)]
        self._most = len(chosen)
        return chosen

    def _floor(self, view: StepView, seen: StepView, chosen: Sequence[int]) -> dict[str, Tensor]:
        if (
            not self._settings.floor_every
            or self._measured % self._settings.floor_every
            or not view.reorderable
        ):
            return {}
        old = [view.grads[view.weights[i]] for i in chosen]
        again = [view.reordered_grads] + ([] if seen is view else [seen.gradient_at(view.before)[1]])
        floors = [pairwise(old, [g[view.weights[i]] for i in chosen]).l2 for g in again]
        return {"floor": torch.stack(floors).amax(0)}

    def reduce_memory(self) -> bool:
        """Compute the gradients of half as many layers in one pass from now on, down to one."""
        if self._limit == 1:
            return False
        self._limit = max(1, (self._limit or self._settings.group or self._most) // 2)
        return True

    def repeat(self, event: Mapping[str, Any]) -> None:
        """Use the group size and the budget of that event from now on."""
        self._limit = int(event.get("group", self._limit))
        self._budget = float(event.get("budget", self._budget))

    def state_dict(self) -> dict[str, Any]:
        """Number of measurements so far, group limit and budget."""
        return {"measured": self._measured, "limit": self._limit, "budget": self._budget}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Restore the state returned by `state_dict`."""
        self._measured, self._limit = int(state["measured"]), int(state.get("limit", 0))
        self._budget = float(state.get("budget", 0.0))
