"""In a sequential network the passes of ICS begin at their layers, with the numbers of the definition."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, cast

import pytest
import torch
from torch import Tensor, nn

from bncore.nets import LayeredNet
from bncore.probes.batches import MicroBatch, RngState
from bncore.probes.guard import undisturbed
from bncore.probes.ics import layerwise_gradients, rescaled_update
from bncore.probes.module import ModuleView
from bncore.probes.suffixes import Suffixes


class Block(nn.Module):
    """A residual block of two layers."""

    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm, self.last = nn.Linear(4, 4), nn.BatchNorm1d(4), nn.Linear(4, 4)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.last(self.norm(self.first(x)).tanh())  # type: ignore[no-any-return]


NETS: dict[str, Callable[[], nn.Module]] = {
    "plain": lambda: nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Tanh(), nn.Linear(4, 2)),
    "dropout": lambda: nn.Sequential(
        nn.Dropout(0.3), nn.Linear(3, 4), nn.Dropout(0.3), nn.Linear(4, 4), nn.Dropout(0.5), nn.Linear(4, 2)
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


def compared(view: ModuleView, rescale: float = 0.0) -> None:
    layers = range(1, len(view.weights))
    with undisturbed(view.net, {}):
        expected = layerwise_gradients(view, layers, rescale=rescale)
        suffixes = Suffixes.of(view)
        assert suffixes is not None
        found = suffixes.gradients(rescaled_update(view, rescale) if rescale else view.after, layers)
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-12, atol=1e-14)
    assert not any("forward" in vars(module) for module in view.net.modules())


@pytest.mark.parametrize("loss", [squared, penalized])
@pytest.mark.parametrize("count", [1, 3])
@pytest.mark.parametrize("name", NETS)
def test_they_are_the_gradients_of_whole_passes(name: str, count: int, loss: Any) -> None:
    torch.manual_seed(1)
    compared(view_of(NETS[name]().double(), loss, count))


def test_so_they_are_with_a_rescaled_update() -> None:
    torch.manual_seed(1)
    compared(view_of(NETS["blocks"]().double()), rescale=0.01)


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


@pytest.mark.parametrize(
    ("make", "loss"),
    [
        (NETS["plain"], twice), (lambda: Own(*NETS["plain"]()), squared), (with_a_hook, squared),
        (with_a_layer_twice, squared),
    ],
    ids=["two passes", "another forward", "a hook", "a layer twice"],
)  # fmt: skip
def test_other_networks_and_losses_take_whole_passes(make: Callable[[], nn.Module], loss: Any) -> None:
    torch.manual_seed(1)
    assert Suffixes.of(view_of(make().double(), loss)) is None
