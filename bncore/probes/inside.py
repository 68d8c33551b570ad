"""Looking inside a pass: any function of the network, run with other parameters in its place."""

from __future__ import annotations

from collections.abc import Callable
from typing import TypeVar

from torch import nn
from torch.func import functional_call

from bncore.nets import LayeredNet
from bncore.probes.view import Parameters, StepView

T = TypeVar("T")


class _Borrowed(nn.Module):
    """The network and what to do with it, as a module, which is what `functional_call` takes."""

    def __init__(self, net: LayeredNet, work: Callable[[LayeredNet], object]) -> None:
        super().__init__()
        self.net = net
        self.work = work

    def forward(self) -> object:
        return self.work(self.net)


def with_parameters(view: StepView, parameters: Parameters, work: Callable[[LayeredNet], T]) -> T:
    """`work(net)` while the network's parameters are `parameters` and its buffers those of time t.

    `work` may use the layers' methods one by one, where `StepView.outputs_at` gives the outputs alone. The
    network is as before when this returns, and nothing is written to.
    """
    tensors = {f"net.{name}": tensor for name, tensor in {**view.buffers, **parameters}.items()}
    found: T = functional_call(_Borrowed(view.net, work), tensors, ())
    return found
