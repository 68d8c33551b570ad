"""The view of a network that is no `LayeredNet`: any module in train mode, probed at a pass per question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor
from torch.func import functional_call

from bncore.probes.layer_map import LayerMap, outputs_seen
from bncore.probes.reorder import another_order
from bncore.probes.rng_state import RngState
from bncore.probes.view import Parameters, StepView


@dataclass(frozen=True)
class ModuleView(StepView):
    """A step of any module, for the probes that need no layers of ours: all but the theory.

    Its layers are the parameters of two or more dimensions that have a gradient, in the order of the forward pass
    (`layer_map`; without one, in the order in which they are registered, which must then be that); what
    comes between two of them (biases, gamma, beta) belongs to the earlier one. The module must be in train mode.
    """

    layer_map: LayerMap | None = None
    """As the forward pass showed it."""
    draws: RngState | None = None
    """The generators as the step's forward pass met them: every pass made for a probe begins there. None: it
    draws nothing. Whoever measures puts the generators back."""

    @property
    def weights(self) -> list[str]:
        if self.layer_map is not None:
            return [name for name in self.layer_map.weights if name in self.grads]
        return [name for name, p in self.before.items() if p.ndim >= 2]

    def layer_of(self, name: str) -> int:
        return self._layers[name]

    @cached_property
    def _layers(self) -> dict[str, int]:
        """The index of the layer of each parameter; -1 before the first weight."""
        names = self.before if self.layer_map is None else self.layer_map.order
        found, index, weights = {}, -1, set(self.weights)
        for name in names:
            index += name in weights
            found[name] = index
        return found

    @property
    def reorderable(self) -> bool:
        """In another order each sample would meet another sample's draws."""
        return self.draws is None

    def outputs_at(self, parameters: Parameters) -> Tensor:
        return self._outputs(parameters, self.inputs)

    @cached_property
    def reordered_grads(self) -> dict[str, Tensor]:
        leaves = {name: self.before[name].detach().requires_grad_() for name in self.grads}
        order = another_order(len(self.inputs), seed=self.seed, step=self.step, device=self.inputs.device)
        theta = {**self.before, **leaves}
        loss = self.loss_of(self._outputs(theta, self.inputs[order]), self.targets[order], theta)
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def layer_outputs(self, see: Callable[[int, Tensor], None]) -> None:
        """Tell `see` the number, from 1, and the output, [N, units, ...], of every layer that has one, at theta_t.

        Raises:
            ValueError: the layers are not known.
        """
        if self.layer_map is None:
            raise ValueError("layering: None; expected the layers that a forward pass showed")
        numbers = {name: number for number, name in enumerate(self.weights, start=1)}

        def tell(weight: str, output: Tensor) -> None:
            if weight in numbers:
                see(numbers[weight], output)

        outputs_seen(self.net, self.layer_map, tell, lambda: self._outputs(self.before, self.inputs))

    def _outputs(self, parameters: Parameters, inputs: Tensor) -> Tensor:
        if self.draws is not None:
            self.draws.restore()
        # Modules write to the buffers they are lent.
        lent = {name: b.clone() for name, b in self.buffers.items()}
        return cast(Tensor, functional_call(self.net, {**lent, **self.after, **parameters}, (inputs,)))
