"""The gradients of Def. 2.1 for many layers at once, by a batch that grows from layer to layer.

Chain i is the network whose layers before i are updated and whose other layers are old; its gradient with respect
to the old W_i is G'_i. At layer i, chain i joins the chains that started earlier, and all of them pass through the
old layers i, ..., k together: one updated prefix, one old suffix, statistics per chain. W_i is a variable only for
chain i, and no chain's gradient propagates beyond its own layer.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from functools import partial

import torch
from torch import Tensor

from bncore.nets import LayeredNet
from bncore.nets.noise import is_channels_last
from bncore.probes.functional import LayerTensors, layer_tensors, with_buffers
from bncore.probes.view import Parameters, StepView

BUDGET = 2.25
"""Default limit on the activations held by a group's chains, in multiples of a training step's activations.

It applies when the free memory is unknown. Measurements showed that the peak memory of a measurement then stays
below 2.5 times that of a training step.
"""


def growing_batch(
    view: StepView,
    new: Parameters,
    layers: Sequence[int],
    *,
    group: int = 0,
    samples: int | None = None,
    limit: int = 0,
    budget: float = BUDGET,
) -> list[Tensor]:
    """G'_i of the chosen layers: the gradient with respect to W_i^t, with the layers before i taken from `new`.

    Arguments:
        new: weights, gammas and betas of the updated prefix, by name.
        layers: layer indices from 0, ascending.
        group: number of layers whose chains are computed in one pass; 0: as many as fit into the memory budget.
        samples: number of samples in the training step that the budget refers to; None: those of the view.
        limit: maximum number of layers per group, even if more would fit; 0: no limit.
        budget: activations that a group's chains may hold, in multiples of a training step's.

    Returns:
        One gradient per layer, shaped like its weight.
    """
    budget *= (samples or len(view.inputs)) / len(view.inputs)
    groups = groups_of(layers, partial(activation_share, view), group=group, limit=limit, budget=budget)
    evaluation = _Growing(view, layer_tensors(view.net, view.before), layer_tensors(view.net, new))
    return with_buffers(view.net, view.buffers, lambda: evaluation.run(groups))


@dataclass(frozen=True)
class _Growing:
    """One evaluation of the growing batch."""

    view: StepView
    old: list[LayerTensors]
    new: list[LayerTensors]

    def run(self, groups: Sequence[Sequence[int]]) -> list[Tensor]:
        gradients: list[Tensor] = []
        prefix, reached = self.view.inputs, 0
        for group in groups:
            leaves, chains = [], None
            for index in range(reached, len(self.old)):
                entering = prefix if index in group else None
                if entering is not None or chains is not None:
                    leaf = self.old[index].weight.detach().requires_grad_(entering is not None)
                    chains = self._old(index, leaf, chains, entering)
                    leaves += [leaf] if entering is not None else []
                if index < group[-1]:
                    with torch.no_grad():
                        prefix = self.view.net.layers[index].compute(prefix, *self.new[index], self.view.how)
            reached = group[-1]
            assert chains is not None
            gradients += torch.autograd.grad(self._loss(chains, len(group)), leaves)
        return gradients

    def _old(self, index: int, weight: Tensor, chains: Tensor | None, entering: Tensor | None) -> Tensor:
        """The old layer on all chains; the entering chain comes last, and only for it is the weight a variable."""
        layer, how = self.view.net.layers[index], self.view.how
        joined, count = None, 0
        if chains is not None:
            count = len(chains) // len(self.view.inputs)
            joined = layer.map(chains, weight.detach(), replace(how, chains=count))
        if entering is not None:
            joined = _join(joined, layer.map(entering, weight, how), count)
            count += 1
        assert joined is not None
        _, gamma, beta = self.old[index]
        return layer.respond(joined, gamma, beta, replace(how, chains=count))

    def _loss(self, outputs: Tensor, chains: int) -> Tensor:
        """The sum of the chains' losses, whose gradient separates: no two chains share a variable."""
        losses: Callable[[Tensor, Tensor], Tensor] = torch.func.vmap(self.view.criterion, in_dims=(1, None))
        return losses(outputs.view(-1, chains, *outputs.shape[1:]), self.view.targets).sum()


def _join(chains: Tensor | None, entering: Tensor, count: int) -> Tensor:
    """`count` chains and the entering one, interleaved by sample (see `ForwardMode.chains`)."""
    if chains is None:
        return entering
    by_sample = chains.view(-1, count, *chains.shape[1:])
    joined = torch.cat([by_sample, entering.unsqueeze(1)], dim=1).flatten(0, 1)
    # Noise is drawn per layout, which must be that of the training step.
    return joined.contiguous(memory_format=torch.channels_last) if is_channels_last(entering) else joined


def _even(layers: Sequence[int], size: int) -> list[Sequence[int]]:
    return [layers[i : i + size] for i in range(0, len(layers), size)]


def activation_share(view: StepView, layer: int) -> float:
    """Share of a training step's activations that a layer's chain holds: those from that layer on."""
    sizes = output_sizes(view.net)
    return sum(sizes[layer:]) / sum(sizes)


def groups_of(
    layers: Sequence[int], share_of: Callable[[int], float], *, group: int, limit: int, budget: float
) -> list[Sequence[int]]:
    """Groups of layers whose chains are computed in one pass; arguments as for `growing_batch`."""
    groups = _even(layers, group) if group else _fitting(layers, share_of, budget)
    return [part for one in groups for part in _even(one, limit or len(one))]


def _fitting(layers: Sequence[int], share_of: Callable[[int], float], budget: float) -> list[Sequence[int]]:
    """Groups of consecutive chosen layers whose activations stay within the budget."""
    groups: list[list[int]] = []
    total = math.inf
    for index in layers:
        chain = share_of(index)
        if total + chain > budget:
            groups.append([])
            total = 0
        groups[-1].append(index)
        total += chain
    return [*groups]


def output_sizes(net: LayeredNet) -> list[int]:
    """Number of values per sample in the output of each layer's map, which a pass has to save for its backward."""
    positions = math.prod(net.inputs[1:])
    sizes = []
    for layer in net.layers:
        positions = positions if layer.convolution else 1
        sizes.append(layer.weight.shape[0] * positions)
        positions //= 4 if layer.pool else 1
    return sizes


SHARE = 1 / 8
"""Share of the free memory that a measurement may use for speed.

Other runs may be using the same GPU, and their training must not run out of memory.
"""


def spare_steps(device: torch.device) -> float | None:
    """Free memory of a GPU, in multiples of this process's peak so far (that of its training steps).

    None on other devices, whose free memory the process cannot measure.
    """
    if device.type != "cuda":
        return None
    free, _ = torch.cuda.mem_get_info(device)
    free += torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
    return free / max(1, torch.cuda.max_memory_allocated(device))


def roomy(least: float, useful: float, spare: float) -> float:
    """The budget of a measurement: `least`, doubled as long as that is useful and the memory suffices.

    It takes only a few values, so that slightly more or less free memory does not change the measurement.

    Arguments:
        least: budget that is always allowed, in training steps.
        useful: largest budget that would be used, in training steps.
        spare: free memory, from `spare_steps`.
    """
    multiple = least
    while multiple < useful and 2 * multiple <= SHARE * spare:
        multiple *= 2
    return multiple
