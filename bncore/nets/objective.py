"""The training loss and the accuracy."""

from __future__ import annotations

from collections.abc import Callable

from torch import Tensor
from torch.nn import functional as F

from bncore.config.model import Loss


def criterion(loss: Loss) -> Callable[[Tensor, Tensor], Tensor]:
    """The data loss as a function of outputs and targets, a scalar tensor; the weight penalty is separate.

    cross_entropy takes logits [samples, classes] and class indices [samples] (int64); squared_error takes two
    tensors of equal shape. `half_sum` is half the sum over samples and output dimensions.
    """
    function = F.cross_entropy if loss.kind == "cross_entropy" else F.mse_loss
    if loss.reduction == "mean":
        return lambda outputs, targets: function(outputs, targets, reduction="mean")
    factor = 0.5 if loss.reduction == "half_sum" else 1.0
    return lambda outputs, targets: function(outputs, targets, reduction="sum") * factor


def decays(parameter: Tensor, decay: str) -> bool:
    """Whether the weight penalty acts on a trained parameter: on ``all``, or only on the layers' ``weights``,
    which are the parameters with two or more dimensions."""
    return decay == "all" or parameter.ndim >= 2


def accuracy(logits: Tensor, targets: Tensor) -> Tensor:
    """Fraction of samples whose largest logit is that of their class, a scalar in the precision of the logits.

    A row with a NaN counts as wrong whatever its target: argmax would return the index of the NaN.
    """
    right = (logits.argmax(1) == targets) & ~logits.isnan().any(1)
    return right.to(logits.dtype).mean()
