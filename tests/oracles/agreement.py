"""Agreement of two numbers, and of gradients with central differences."""

from collections.abc import Callable

import torch
from torch import Tensor

from .measures import difference_gradient
from .network import Layer, gradients, loss_of, parameters, with_parameters


def close(a: Tensor, b: Tensor | float, rtol: float = 1e-10, atol: float = 1e-12) -> None:
    """Assert equality up to rounding, including shape and dtype; a float `b` is converted to `a`'s dtype."""
    torch.testing.assert_close(a, b if isinstance(b, Tensor) else a.new_tensor(b), rtol=rtol, atol=atol)


def agree_with_differences(
    net: list[Layer], x: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
) -> None:
    """Assert that every gradient of `net`, including the penalty, agrees with central differences."""
    values = parameters(net)
    found = gradients(net, x, targets, loss, weight_decay=0.1)
    for i, g in enumerate(found):

        def moved(v: Tensor, i: int = i) -> Tensor:
            changed = with_parameters(net, [*values[:i], v, *values[i + 1 :]])
            return loss_of(changed, x, targets, loss, weight_decay=0.1)

        close(g, difference_gradient(moved, values[i]), rtol=1e-5, atol=1e-6)
