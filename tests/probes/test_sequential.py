"""ICS of any `nn.Sequential` by the growing batch: the numbers of the definition."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from bncore.nets import LayeredNet
from bncore.probes.batches import MicroBatch, RngState
from bncore.probes.guard import undisturbed
from bncore.probes.ics import layerwise_gradients, rescaled_update
from bncore.probes.module import ModuleView
from bncore.probes.sequential import BY_SAMPLE, GrowingSequential, traced_forwards


class Block(nn.Module):
    """A residual block of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.norm(self.first(x)).tanh())  # type: ignore[no-any-return]


class Drifting(nn.Module):
    """What it does depends on how often it was called."""

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("calls", torch.zeros(()))

    def forward(self, x: Tensor) -> Tensor:
        self.calls += 1
        return x * self.calls


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)),
    "dropout": lambda: nn.Sequential(
        nn.Dropout(0.3), nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)
    ),
    "pictures": lambda: nn.Sequential(
        nn.Unflatten(1, (3, 1)),
        nn.Upsample(scale_factor=4),
        nn.Conv1d(3, 4, 3),
        nn.BatchNorm1d(4),
        nn.ReLU(inplace=True),
        nn.MaxPool1d(2),
        nn.Sequential(nn.Flatten(), nn.Linear(4, 4), nn.LayerNorm(4)),
        nn.Softmax(0),
        nn.Sequential(nn.GELU(), nn.Linear(4, 2)),
    ),
    "blocks": lambda: nn.Sequential(
        nn.Linear(3, 4), Block(), nn.Sequential(nn.ReLU(), Block()), nn.Linear(4, 2)
    ),
}


def squared(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    noise = 0.1 * torch.randn_like(batch[0])  # a draw before the network's own
    return (net(batch[0] + noise) - batch[1]).square().mean()


def twice(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return squared(net, batch) + net(batch[0]).square().mean()


def part_by_part(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    x = batch[0]
    for part in net:
        x = 2 * part(x)
    return (x - batch[1]).square().mean()


def sloped(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    x = batch[0].clone().requires_grad_()
    (slope,) = torch.autograd.grad(net(x).sum(), x, create_graph=True)
    return slope.square().mean()


def penalized(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
    return squared(net, batch) + 0.1 * sum(p.square().sum() for p in net.parameters())


def view_of(net: nn.Module, loss: Callable[[Any, Any], Tensor] = squared, count: int = 1) -> ModuleView:
    """A step in which every parameter moved, on several micro-batches."""
    torch.manual_seed(2)
    batches = []
    for _ in range(count):
        batch = tuple(torch.randn(6, n, dtype=torch.float64) for n in (3, 2))
        batches.append(MicroBatch(batch, 1 / count, RngState.now()))
        torch.rand(5)
    before = {name: p.detach().clone() for name, p in net.named_parameters()}
    buffers = {name: b.clone() for name, b in net.named_buffers()}
    with torch.no_grad():
        for p in net.parameters():
            p.add_(torch.randn_like(p), alpha=0.1)
    return ModuleView(
        step=0, seed=0, net=cast(LayeredNet, net), batch_loss=loss, micro_batches=tuple(batches),
        before=before, buffers=buffers, grads=dict(before), loss=0.0, lr=0.1,
    )  # fmt: skip


def compared(view: ModuleView, rescale: float = 0.0, group: int = 0) -> None:
    layers = range(1, len(view.weights))
    with undisturbed(view.net, {}):
        new = rescaled_update(view, rescale) if rescale else view.after
        expected = layerwise_gradients(view, new, layers)
        with traced_forwards(view.net) as forwards:
            view.gradient_at(view.before)
        for given in (view, replace(view, forwards=forwards)):
            sequential = GrowingSequential.of(given)
            assert sequential is not None
            found = sequential.gradients(new, layers, group=group, limit=0, budget=2.25)
            for one, other in zip(found, expected, strict=True):
                torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert not any("forward" in vars(module) for module in view.net.modules())


@pytest.mark.parametrize("loss", [squared, penalized])
@pytest.mark.parametrize(("count", "group"), [(1, 0), (3, 0), (1, 9), (1, 1)])
@pytest.mark.parametrize("name", NETS)
def test_they_are_the_gradients_of_whole_passes(name: str, count: int, group: int, loss: Any) -> None:
    torch.manual_seed(1)
    compared(view_of(NETS[name]().double(), loss, count), group=group)


GIVEN = {1: (5, 3, 12), 2: (5, 3, 8, 8), 3: (5, 3, 8, 8, 8)}
MADE: dict[type[nn.Module], tuple[tuple[Any, ...], int]] = {
    nn.Linear: ((12, 4), 1), nn.LayerNorm: ((12,), 1), nn.RMSNorm: ((12,), 1), nn.GroupNorm: ((3, 3), 1),
    nn.Conv1d: ((3, 4, 3), 1), nn.Conv2d: ((3, 4, 3), 2), nn.Conv3d: ((3, 4, 3), 3), nn.Embedding: ((9, 4), 1),
}  # fmt: skip


@pytest.mark.parametrize("kind", BY_SAMPLE)
def test_a_module_of_the_table_treats_each_sample_by_itself(kind: type[nn.Module]) -> None:
    torch.manual_seed(1)
    dimensions = next((d for d in GIVEN if kind.__name__.endswith(f"{d}d")), 1)
    arguments, dimensions = MADE.get(kind, ((2,) if "Pool" in kind.__name__ else (), dimensions))
    module = kind(*arguments).double()
    x = torch.randn(GIVEN[dimensions], dtype=torch.float64)
    x = x.abs().mul(3).long().clamp(max=8) if kind is nn.Embedding else x
    assert BY_SAMPLE[kind](module, x)
    alone = torch.cat([module(sample.unsqueeze(0)) for sample in x])
    torch.testing.assert_close(module(x), alone, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    ("module", "shape"),
    [
        (nn.Linear(3, 3), (3,)), (nn.Conv1d(3, 3, 1), (3, 5)), (nn.LayerNorm(3), (3,)), (nn.Flatten(0), (3, 5)),
        (nn.Embedding(9, 2, max_norm=1.0), (3,)),
    ],
)  # fmt: skip
def test_a_module_that_is_used_otherwise_takes_chains_one_by_one(
    module: nn.Module, shape: tuple[int, ...]
) -> None:
    assert not BY_SAMPLE[type(module)](module, torch.ones(shape))


def test_they_are_computed_under_the_autocast_that_the_loss_opens() -> None:
    def cast(net: Any, batch: tuple[Tensor, Tensor]) -> Tensor:
        with torch.autocast("cpu", torch.bfloat16):
            outputs = net(batch[0].float())
        return (outputs.double() - batch[1]).square().mean()

    torch.manual_seed(1)
    view = view_of(NETS["plain"](), cast)
    sequential = GrowingSequential.of(view)
    assert sequential is not None
    found = sequential.gradients(view.after, [0, 1], group=1, limit=0, budget=1.0)
    for one, other in zip(found, layerwise_gradients(view, view.after, [0, 1]), strict=True):
        assert torch.equal(one, other)


def test_so_they_are_with_a_rescaled_update() -> None:
    torch.manual_seed(1)
    compared(view_of(NETS["blocks"]().double()), rescale=0.01)


def with_a_weight_twice() -> nn.Module:
    first, last = nn.Linear(3, 3), nn.Linear(3, 3)
    last.weight = first.weight
    return nn.Sequential(first, nn.Tanh(), last, nn.Linear(3, 2))


class Own(nn.Sequential):
    """Sequential by name only."""

    def forward(self, x: Tensor) -> Tensor:
        return super().forward(x) + 1.0  # type: ignore[no-any-return]


def with_a_hook() -> nn.Module:
    net = NETS["plain"]()
    next(net.children()).register_forward_hook(lambda *_: None)
    return net


def with_a_layer_twice() -> nn.Module:
    layer = nn.Linear(3, 3)
    return nn.Sequential(layer, nn.Tanh(), layer, nn.Linear(3, 2))


OTHERS: dict[str, tuple[Callable[[], nn.Module], Any]] = {
    "two passes": (NETS["plain"], twice),
    "parts by themselves": (NETS["plain"], part_by_part),
    "a slope": (NETS["plain"], sloped),
    "another forward": (lambda: Own(*NETS["plain"]()), squared),
    "a hook": (with_a_hook, squared),
    "a layer twice": (with_a_layer_twice, squared),
    "a weight twice": (with_a_weight_twice, squared),
}


@pytest.mark.parametrize("name", OTHERS)
def test_other_networks_and_losses_take_whole_passes(name: str) -> None:
    torch.manual_seed(1)
    make, loss = OTHERS[name]
    view = view_of(make().double(), loss)
    with traced_forwards(view.net) as forwards:
        view.gradient_at(view.before)
    for given in (view, replace(view, forwards=forwards)):
        assert GrowingSequential.of(given) is None


def test_so_does_a_module_that_remembers_one_micro_batch_in_the_next() -> None:
    torch.manual_seed(1)
    net = nn.Sequential(nn.Linear(3, 4), Drifting(), nn.Linear(4, 4), nn.ReLU(), nn.Linear(4, 2)).double()
    compared(view_of(net), group=9)
    assert GrowingSequential.of(view_of(net, count=2)) is None
