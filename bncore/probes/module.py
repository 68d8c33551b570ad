"""The view of a network that is no `LayeredNet`: any module in train mode, probed at a pass a question."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from typing import cast

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bncore.nets import LayeredNet
from bncore.probes.reorder import another_order
from bncore.probes.view import Parameters, StepView


@dataclass(frozen=True)
class ModuleView(StepView):
    """A step of any module, for the probes that need no layers of ours: ICS and the landscape.

    Its layers are the parameters of two or more dimensions, in the order in which they are registered, which
    must be that of the forward pass; what is registered between two of them (biases, gamma, beta) belongs to
    the earlier one. The module must be in train mode and draw nothing at random (no dropout).
    """

    @property
    def weights(self) -> list[str]:
        return [name for name, p in self.before.items() if p.ndim >= 2]

    def layer_of(self, name: str) -> int:
        names = list(self.before)
        return sum(names.index(weight) <= names.index(name) for weight in self.weights) - 1

    def outputs_at(self, parameters: Parameters) -> Tensor:
        return self._outputs(parameters, self.inputs)

    @cached_property
    def reordered_grads(self) -> dict[str, Tensor]:
        leaves = {name: self.before[name].detach().requires_grad_() for name in self.grads}
        order = another_order(len(self.inputs), seed=self.seed, step=self.step, device=self.inputs.device)
        loss = self.criterion(
            self._outputs({**self.before, **leaves}, self.inputs[order]), self.targets[order]
        )
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    def _outputs(self, parameters: Parameters, inputs: Tensor) -> Tensor:
        lent = {
            name: b.clone() for name, b in self.buffers.items()
        }  # modules write to the buffers they are lent
        return cast(Tensor, functional_call(self.net, {**lent, **self.after, **parameters}, (inputs,)))


def view_of_module(
    module: nn.Module, criterion: Callable[[Tensor, Tensor], Tensor], batch: tuple[Tensor, Tensor], *,
    step: int, seed: int, before: Parameters, buffers: Parameters, loss: float, lr: float,
    weight_decay: float = 0.0,
) -> ModuleView:  # fmt: skip
    """The view of a step of any module, made after `optimiser.step()` and before the gradients are cleared.

    Arguments:
        module: its parameters being theta_{t+1} and their `grad` the gradient of the data loss at theta_t.
        criterion: the data loss of outputs and targets.
        batch: inputs and targets of the step.
        before, buffers: parameters and buffers by name, cloned before the step's forward pass.
        loss: the data loss at theta_t.

    Raises:
        ValueError: the module is in evaluation mode.
    """
    if not module.training:
        raise ValueError("module: in evaluation mode; expected train mode, as in the step that is measured")
    grads = {name: p.grad for name, p in module.named_parameters() if p.grad is not None}
    return ModuleView(
        step,
        seed,
        cast(LayeredNet, module),
        criterion,
        *batch,
        before,
        buffers,
        grads,
        loss,
        lr,
        weight_decay,
    )
