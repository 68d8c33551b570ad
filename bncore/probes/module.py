"""The step view of a network that is not a `LayeredNet`: any module and any loss, with one pass per query."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

import torch
from torch import Tensor, nn

from bncore.probes.batches import MicroBatch, copied, reordered, samples_of
from bncore.probes.functional import T, with_tensors
from bncore.probes.layer_map import LayerMap, outputs_seen
from bncore.probes.view import Parameters, StepView, another_order

BatchLoss = Callable[[Any, Any], Tensor]
"""The loss of a model on a batch, a scalar."""


@dataclass(frozen=True, kw_only=True)
class ModuleView(StepView):
    """A step of any module, for the probes that do not require a `LayeredNet`: all but the theory probe.

    Its loss is the weighted sum of `batch_loss` over the step's micro-batches, computed while the module has the
    requested parameters; `batch_loss` may call the module any number of times and read its parameters.

    Its layers are the parameters of two or more dimensions that have a gradient, in the order of the forward pass
    (`layer_map`; without one, in the order of registration, which must then be the same). Parameters between two
    of them (biases, gamma, beta) belong to the earlier one.
    """

    criterion: Any = field(
        init=False, default=None
    )  # these three fields are for losses that are functions of outputs
    inputs: Any = field(init=False, default=None)
    targets: Any = field(init=False, default=None)
    batch_loss: BatchLoss
    """The loss of the module on a micro-batch."""
    micro_batches: tuple[MicroBatch, ...]
    """Micro-batches whose weighted losses sum to the step's loss."""
    layer_map: LayerMap | None = None
    """The layers seen in the forward pass."""
    forwards: Sequence[Any] = ()
    """The step's own passes, if they were traced (`bncore.probes.sequential.TracedForward`)."""
    rates: Mapping[str, float] | None = None
    """Learning rates by parameter, if parameter groups have separate rates; `lr` is then ||rates * g|| / ||g||."""

    @property
    def device(self) -> torch.device:
        return next(iter(self.before.values())).device

    @property
    def weights(self) -> list[str]:
        if self.layer_map is not None:
            return [name for name in self.layer_map.weights if name in self.grads]
        return [name for name, p in self.before.items() if p.ndim >= 2]

    def layer_of(self, name: str) -> int:
        return self._layers[name]

    @cached_property
    def _layers(self) -> dict[str, int]:
        """Layer index of each parameter; -1 before the first weight."""
        names = self.before if self.layer_map is None else self.layer_map.order
        numbers, index, weights = {}, -1, set(self.weights)
        for name in names:
            index += name in weights
            numbers[name] = index
        return numbers

    def rate_of(self, name: str) -> float:
        return self.lr if self.rates is None else self.rates[name]

    @cached_property
    def descent(self) -> Parameters:
        if self.rates is None:
            return self.grads
        return {name: (self.rates[name] / self.lr) * g for name, g in self.grads.items()}

    def within(self, parameters: Parameters, work: Callable[[Any], T]) -> T:
        lent = {name: b.clone() for name, b in self.buffers.items()}  # modules write to their buffers
        with torch.enable_grad():  # a loss may depend on gradients
            return with_tensors(self.net, {**lent, **self.after, **parameters}, work)

    def terms(self, net: nn.Module) -> Iterator[Tensor]:
        """The weighted loss of each micro-batch with the module's current parameters."""
        for micro in self.micro_batches:
            if micro.draws is not None:
                micro.draws.restore()
            loss = self.batch_loss(net, copied(micro.batch))
            yield loss if micro.weight == 1 else micro.weight * loss

    def own_loss_at(self, parameters: Parameters) -> Tensor:
        loss: Tensor = self.within(parameters, lambda net: torch.stack(list(self.terms(net))).sum())
        return loss + self.penalty_at(parameters) if self.penalized else loss

    def mean(self, tensors: Sequence[Tensor]) -> list[Tensor]:
        return self.processes.mean(tensors)

    def loss_at(self, parameters: Parameters) -> Tensor:
        return self.mean([self.own_loss_at(parameters)])[0]

    def gradient_at(
        self, parameters: Parameters, names: Sequence[str] | None = None
    ) -> tuple[Tensor, dict[str, Tensor]]:
        leaves = {name: parameters[name].detach().requires_grad_() for name in names or self.grads}
        theta = {**parameters, **leaves}

        def work(net: nn.Module) -> tuple[Tensor, list[Tensor | None]]:
            return summed_gradient(self.terms(net), list(leaves.values()))

        loss, slopes = self.within(theta, work)
        if self.penalized:
            penalty, pull = summed_gradient([self.penalty_at(theta)], list(leaves.values()))
            loss, slopes = loss + penalty, [_sum(a, b) for a, b in zip(slopes, pull, strict=True)]
        grads = [
            torch.zeros_like(p) if g is None else g for p, g in zip(leaves.values(), slopes, strict=True)
        ]
        loss, *grads = self.mean([loss, *grads])
        return loss, dict(zip(leaves, grads, strict=True))

    @cached_property
    def reorderable(self) -> bool:
        """Whether every tensor of a batch has one entry per sample, nothing is drawn (in another order each sample
        would get another sample's draws), and the loss does not depend on the order."""
        if not all(samples_of(m.batch) > 1 and m.draws is None for m in self.micro_batches):
            return False
        loss = torch.as_tensor(self.loss, dtype=self._reordered[0].dtype, device=self.device)
        return bool(
            torch.isclose(self._reordered[0], loss, rtol=torch.finfo(loss.dtype).eps ** 0.5, atol=0.0)
        )

    @property
    def reordered_grads(self) -> dict[str, Tensor]:
        return self._reordered[1]

    @cached_property
    def _reordered(self) -> tuple[Tensor, dict[str, Tensor]]:
        def shuffled(micro: MicroBatch) -> MicroBatch:
            order = another_order(samples_of(micro.batch), seed=self.seed, step=self.step, device=self.device)
            return replace(micro, batch=reordered(micro.batch, order))

        return replace(self, micro_batches=tuple(map(shuffled, self.micro_batches))).gradient_at(self.before)

    def layer_outputs(self, see: Callable[[int, Tensor], None]) -> None:
        """Call `see` with the number, from 1, and output at theta_t, [N, units, ...], of every layer that has one.

        The output is that of the module's first call in each micro-batch, concatenated.

        Raises:
            ValueError: the layers are unknown.
        """
        if self.layer_map is None:
            raise ValueError("layering: None; expected the layers that a forward pass showed")
        numbers = {name: number for number, name in enumerate(self.weights, start=1)}
        outputs: dict[int, list[Tensor]] = {}

        def see_output(weight: str, output: Tensor) -> None:
            if weight in numbers and len(self.micro_batches) == 1:
                see(numbers[weight], self.processes.gather(output))
            elif weight in numbers:
                outputs.setdefault(numbers[weight], []).append(output)

        def run(net: nn.Module) -> None:
            terms = self.terms(net)
            for _ in self.micro_batches:
                outputs_seen(net, self.layer_map, see_output, lambda: next(terms))  # type: ignore[arg-type]  # its result is not used

        self.within(self.before, run)
        for number, parts in outputs.items():
            see(number, self.processes.gather(torch.cat(parts)))


def summed_gradient(
    terms: Iterator[Tensor] | Sequence[Tensor], leaves: Sequence[Tensor]
) -> tuple[Tensor, list[Tensor | None]]:
    """The sum of the terms and its gradient, computed term by term, so that only one graph is held at a time.

    The gradient is None for leaves that no term depends on.
    """
    total: Tensor | None = None
    grads: list[Tensor | None] = [None] * len(leaves)
    for term in terms:
        slopes = torch.autograd.grad(term, list(leaves), allow_unused=True)
        grads = [_sum(a, b) for a, b in zip(grads, slopes, strict=True)]
        total = term.detach() if total is None else total + term.detach()
    assert total is not None
    return total, grads


def _sum(one: Tensor | None, other: Tensor | None) -> Tensor | None:
    if one is None or other is None:
        return other if one is None else one
    return one + other
