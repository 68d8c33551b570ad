"""The frozen view of one training step that every probe reads (docs/explanation/architecture.md, decision 1)."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import Self

import torch
from torch import Tensor, nn
from torch.func import functional_call

from bncore.nets import ForwardMode, LayeredNet, decays
from bncore.nets.noise import NoiseSource
from bncore.probes.functional import T, layer_tensors, run_layers, with_buffers, with_tensors
from bncore.probes.processes import ALONE, Processes
from bncore.random import ProbeDraws, generator

Parameters = Mapping[str, Tensor]


_QUIET = ForwardMode()


def another_order(samples: int, *, seed: int, step: int, device: torch.device) -> Tensor:
    """A permutation of the samples, (samples,) int64."""
    source = generator(seed, "probe", step=step, part=ProbeDraws.ORDER)
    return torch.randperm(samples, generator=source).to(device)


class Reordered(nn.Module):
    """A network that processes its batch in another order, with each sample keeping its own noise.

    Arguments:
        net: the network; its parameters are this module's, under the prefix ``net.``.
        order: old index of each sample in the new order, (samples,).
    """

    def __init__(self, net: LayeredNet, order: Tensor) -> None:
        super().__init__()
        self.net = net
        self.order = order
        self.back = order.argsort()

    def forward(self, x: Tensor, p: ForwardMode) -> Tensor:
        """Outputs in the new order, [samples, outputs], for `x` in the old order."""
        x = x[self.order]
        for layer in self.net.layers:
            x = self._noisy(layer.noise_input, x, p)
            y = layer.map(x, layer.weight, _QUIET)
            y = self._noisy(layer.noise_before_norm, y, p)
            gamma, beta = layer.affine
            if layer.norm is not None:
                y = layer.norm.normalize(y, gamma, beta, _QUIET)
            elif beta is not None:
                y = y + beta
            x = layer.activate(self._noisy(layer.noise_after_norm, y, p))
        return x

    def _noisy(self, source: NoiseSource | None, a: Tensor, p: ForwardMode) -> Tensor:
        return a if source is None else source.apply(a[self.back], p)[self.order]


@dataclass(frozen=True)
class StepView:
    """Step t after the optimizer's update: theta_t, theta_{t+1}, the batch and the raw gradient.

    Nothing in it may be written to. Everything computed from it uses train-mode batch statistics, the step's
    own noise draws and the buffers of time t, and leaves the live network unchanged.
    """

    step: int
    """The step t."""
    seed: int
    """Seed of the run; probes that draw use the key (seed, "probe", step, ...)."""
    net: LayeredNet
    """The live network, whose parameters are theta_{t+1}."""
    criterion: Callable[[Tensor, Tensor], Tensor]
    """Data loss as a function of outputs and targets."""
    inputs: Tensor
    """Inputs of the step's own batch, (n, ...), as passed to the network."""
    targets: Tensor
    """Targets of the batch."""
    before: Parameters
    """theta_t by name, cloned before the update."""
    buffers: Parameters
    """The buffers of time t by name, cloned before the step's forward pass."""
    grads: Parameters
    """Raw gradient of the data loss at theta_t by name; unused parameters have none."""
    loss: float
    """Data loss at theta_t on the batch."""
    lr: float
    """Learning rate of this update."""
    weight_decay: float = 0.0
    """Coefficient of the weight penalty (wd / 2) * ||theta||^2."""
    decay: str = "all"
    """Parameters that the penalty acts on; see `bncore.nets.decays`."""
    stability: float = math.nan
    """Curvature, including the weight penalty's, above which the optimizer's updates of a quadratic grow
    (`bncore.config.stability`); nan if there is none."""
    penalized: bool = False
    """Whether loss and gradients, including those given here, include the penalty; see `with_penalty`."""
    processes: Processes = ALONE
    """The processes on whose batches the step was made."""

    @cached_property
    def after(self) -> Parameters:
        """theta_{t+1} by name, as the optimizer actually produced it. These are the live tensors: do not write."""
        return {name: p.detach() for name, p in self.net.named_parameters()}

    @property
    def device(self) -> torch.device:
        """Device of the step."""
        return self.inputs.device

    def rate_of(self, name: str) -> float:
        """The learning rate of a parameter."""
        return self.lr

    @property
    def descent(self) -> Parameters:
        """-1 / lr times the update of gradient descent: the gradient itself if there is only one learning rate."""
        return self.grads

    @property
    def stability_threshold(self) -> float:
        """`stability` for this view's loss: less `weight_decay` if the loss does not include the penalty."""
        return self.stability if self.penalized else self.stability - self.weight_decay

    @property
    def weights(self) -> list[str]:
        """Names of the layers' weights W_1, ..., W_k, in order."""
        return [f"layers.{i}.weight" for i in range(len(self.net.layers))]

    def layer_of(self, name: str) -> int:
        """Index, from 0, of the layer that a parameter belongs to."""
        return int(name.split(".")[1])

    @property
    def reorderable(self) -> bool:
        """Whether the batch in another order gives the same gradient up to rounding (`reordered_grads`)."""
        return True

    @property
    def how(self) -> ForwardMode:
        """The mode of this step's forward pass: train-mode statistics, the step's own noise, no tracking."""
        return ForwardMode(training=True, track=False, noise_step=self.step)

    def outputs_at(self, parameters: Parameters) -> Tensor:
        """Network outputs on the step's batch at other parameters; missing names use the live parameters."""
        tensors = layer_tensors(self.net, {**self.after, **parameters})
        return with_buffers(
            self.net, self.buffers, lambda: run_layers(self.net, tensors, self.inputs, self.how)
        )

    def at_theta_t(self, work: Callable[[LayeredNet], T]) -> T:
        """`work(net)` while the network has the parameters and buffers of time t.

        For work that looks into the layers; `outputs_at` gives only the outputs.
        """
        return self.within(self.before, work)

    def within(self, parameters: Parameters, work: Callable[[LayeredNet], T]) -> T:
        """`work(net)` while the network has other parameters and the buffers of time t."""
        return with_tensors(self.net, {**self.buffers, **parameters}, work)

    def with_penalty(self) -> Self:
        """The same step for the loss including the weight penalty."""
        if self.penalized or not self.weight_decay:
            return self
        pull = {name: self.weight_decay * self.before[name] for name in self._decayed}
        grads = {name: g + pull[name] if name in pull else g for name, g in self.grads.items()}
        return replace(
            self, loss=self.loss + self.penalty_at(self.before).item(), grads=grads, penalized=True
        )

    def penalty_at(self, parameters: Parameters) -> Tensor:
        """(wd / 2) * ||theta||^2 at other parameters, a 0-d tensor in float64, differentiable twice."""
        theta = {**self.after, **parameters}
        squares = [theta[name].square().sum(dtype=torch.float64) for name in self._decayed]
        return 0.5 * self.weight_decay * torch.stack(squares).sum()

    @property
    def _decayed(self) -> list[str]:
        """Names of the parameters that the penalty acts on."""
        return [name for name in self.grads if decays(self.before[name], self.decay)]

    def own_loss_at(self, parameters: Parameters) -> Tensor:
        """This process's part of the loss, differentiable; with a single process, the loss itself."""
        return self.loss_at(parameters)

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        """The mean over the processes of quantities that each computed from its own loss."""
        return list(tensors)

    def loss_at(self, parameters: Parameters) -> Tensor:
        """Loss at other parameters, a 0-d tensor on the device; differentiable with a single process."""
        return self.loss_of(self.outputs_at(parameters), self.targets, parameters)

    def loss_of(self, outputs: Tensor, targets: Tensor, parameters: Parameters) -> Tensor:
        """The data loss of outputs, plus the penalty of the parameters if the view includes it."""
        loss = self.criterion(outputs, targets)
        return loss + self.penalty_at(parameters) if self.penalized else loss

    def gradient_at(
        self, parameters: Parameters, names: Sequence[str] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        """Loss at other parameters and its gradient with respect to some of them; default: all those in use."""
        leaves = {name: parameters[name].detach().requires_grad_() for name in names or self.grads}
        loss = self.loss_at({**parameters, **leaves})
        return loss.detach(), dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))

    @cached_property
    def reordered_grads(self) -> dict[str, Tensor]:
        """The gradient at theta_t recomputed with the batch in another order.

        Its distance from `grads` is the noise floor of every difference of gradients.
        """
        leaves = {name: self.before[name].detach().requires_grad_() for name in self.grads}
        order = another_order(len(self.inputs), seed=self.seed, step=self.step, device=self.inputs.device)
        tensors = {f"net.{name}": t for name, t in {**self.buffers, **self.before, **leaves}.items()}
        outputs = functional_call(Reordered(self.net, order), tensors, (self.inputs, self.how))
        loss = self.loss_of(outputs, self.targets[order], {**self.before, **leaves})
        return dict(zip(leaves, torch.autograd.grad(loss, list(leaves.values())), strict=True))
